//! What can go wrong, by what an operator or a caller does about it.

/// The registry did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The client can't be made.
    #[error("registry.{key}: {why}; correct the registry section of the configuration")]
    Config { key: &'static str, why: String },
    /// No answer, or one that says to come again.
    #[error("could not {doing} at the registry: {why}; check that {url} is reachable")]
    Unavailable { doing: String, why: String, url: String },
    /// A schema of ours does not go with those of the subject.
    #[error(
        "the schema of {record} is incompatible with subject {subject:?}: {why}; records in the topic could not be read by every version: run the version of Millrace that wrote them, or change the schema by adding fields with defaults only"
    )]
    Incompatible { subject: String, record: &'static str, why: String },
    /// It answered no.
    #[error(
        "could not {doing} at the registry: it answered {code}: {why}; check the registry's address and this user's rights"
    )]
    Refused { doing: String, code: u32, why: String },
}

impl Error {
    /// Says whether the same question may be answered later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// A value was not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Its schema has not been fetched yet; [`Registry::decode`](crate::Registry::decode) does.
    #[error("schema {0} has not been fetched yet")]
    Unknown(u32),
    /// It never decodes: a dead letter.
    #[error("{0}")]
    Undecodable(String),
    /// The registry did not tell its schema: to be tried again, never a dead letter.
    #[error("{0}")]
    Unavailable(String),
}

impl From<wire::DecodeError> for DecodeError {
    fn from(error: wire::DecodeError) -> Self {
        Self::Undecodable(error.to_string())
    }
}
