//! The executable seen from outside: its commands, their output and their exit codes.
#![allow(clippy::unwrap_used)]

mod catalog;
mod dlq;
mod embedded;
mod topics;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Runs the executable to its end.
pub(crate) fn millrace(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(arguments).current_dir(examples().parent().unwrap());
    for (name, value) in variables {
        command.env(name, value);
    }
    command.output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub(crate) fn text(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap()
}

/// Copies the examples, with a change to the catalog's text.
pub(crate) fn changed(folder: &Path, change: impl Fn(&str) -> String) {
    for part in ["", "mappings", "secrets"] {
        fs::create_dir_all(folder.join(part)).unwrap();
        for entry in fs::read_dir(examples().join(part)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                fs::copy(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    let text = fs::read_to_string(examples().join("catalog.yaml")).unwrap();
    fs::write(folder.join("catalog.yaml"), change(&text)).unwrap();
}
