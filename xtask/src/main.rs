//! The house's own commands: `cargo xtask house` checks what no compiler checks.
//! It builds nothing, and changes nothing but its ratchet, and that only downwards.
#![allow(clippy::print_stdout)] // a command prints

mod house;

use std::{path::Path, process::ExitCode};

const USAGE: &str = "\
cargo xtask house             checks the workspace against the rules of the house
cargo xtask house --tighten   the same, after lowering the ratchet to what is true now";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let root = root.expect("xtask lies one folder below the root");
    let outcome = match arguments[..] {
        ["house"] => house::check(root),
        ["house", "--tighten"] => house::tighten(root).and_then(|()| house::check(root)),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            println!("house: {problem}");
            ExitCode::from(2)
        }
    }
}
