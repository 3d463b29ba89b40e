//! VRL: compiles, checks and evaluates an operator's programs within a budget.
//!
//! A program sees one event and nothing else: no clock, no chance, no environment, no network, no
//! file. The same event therefore always gives the same request, after a crash and in a replay.
//!
//! What bounds a program: the language has no loops but closures over finite collections, every
//! evaluated expression counts against [`STEPS_MAX`], a body has at most [`BODY_BYTES_MAX`] bytes
//! and [`DEPTH_MAX`] levels, a result at most [`RESULT_BYTES_MAX`] bytes, and functions whose
//! result may be of any size (unpacking, `range`, `set`) or whose time has no bound (`parse_grok`)
//! can't be called. Nothing bounds what a program's own text multiplies: forty lines that double a
//! string are refused only by the memory.

mod error;
mod expression;
mod functions;
mod input;
mod json;
mod program;
mod request;
mod target;

pub use crate::{
    error::{CompileError, Failed},
    input::{Event, Input},
    program::{Program, Use},
    request::{METHODS, Mapped, RESERVED_HEADERS, Request},
};

/// The largest body a program is given.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The largest body a mapping may make.
pub const RESULT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The deepest a JSON body may be nested.
pub const DEPTH_MAX: usize = 127;
/// The most expressions a program may evaluate for one event: well below a second.
pub const STEPS_MAX: u32 = 2_000_000;
