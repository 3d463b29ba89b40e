//! What a command prints: lines on standard output.
//!
//! A reader that has gone away (`millrace … | head`) does not stop a command half way: what it
//! still prints is lost, what it still does is done.

use std::{fmt, io::Write as _, process::ExitCode};

use serde::Serialize;

use crate::failure::Failure;

/// Prints one line, written as for `format!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;

pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _reader_is_gone = out.write_fmt(format_args!("{text}\n"));
    let _reader_is_gone = out.flush();
}

/// Prints a value as JSON for another program.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|e| Failure::new("print the outcome as JSON", e, ""))?;
    say!("{text}");
    Ok(ExitCode::SUCCESS)
}
