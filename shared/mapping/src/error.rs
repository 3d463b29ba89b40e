//! Why a program does not compile, or failed on an event.

use domain::dead_letter::Reason;

/// Why a text is no program for its purpose, with the place of the mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub struct CompileError {
    /// The compiler's own words, of the first mistake.
    pub message: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Every mistake with its line of the program beneath it, for a terminal.
    pub rendered: String,
}

/// Why a program gave nothing for an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    /// What a dead letter says: `MappingFailed`, or `InvalidResult` for a result that is no request.
    pub reason: Reason,
    /// May hold parts of the event.
    pub message: String,
}

impl Failed {
    pub(crate) fn mapping(message: impl Into<String>) -> Self {
        Self { reason: Reason::MappingFailed, message: message.into() }
    }

    pub(crate) fn result(message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidResult, message: message.into() }
    }
}
