//! Why a request is not believed, and why a configuration is not taken.

/// Which check failed. Meant for the operator: a sender that is told could try its way in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the header {header} is missing: the request is not signed")]
    Unsigned { header: String },
    #[error("{place} is malformed: {detail}")]
    Malformed { place: String, detail: &'static str },
    #[error("no secret is valid at this time: add a new one")]
    NoSecret,
    #[error("the scheme signs the public address and none is configured: set public_url")]
    NoUrl,
    #[error("no signature matches: another secret, or the body or a signed header was changed")]
    Mismatch,
    #[error("signed {age_seconds} s ago, and {allowed_seconds} s are allowed")]
    Stale { age_seconds: i64, allowed_seconds: i64 },
    #[error("signed {ahead_seconds} s in the future, and {allowed_seconds} s are allowed")]
    Future { ahead_seconds: i64, allowed_seconds: i64 },
}

impl Refused {
    pub(crate) fn malformed(place: &str, detail: &'static str) -> Self {
        Self::Malformed { place: place.to_owned(), detail }
    }
}

/// Why options or a secret are refused when they are read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the secret is blank: anyone could sign with it")]
    BlankSecret,
    #[error("the secret is no key of this scheme: {0}")]
    Secret(&'static str),
    #[error("{option} {why}")]
    Option { option: &'static str, why: String },
}

impl ConfigError {
    pub(crate) fn option(option: &'static str, why: impl Into<String>) -> Self {
        Self::Option { option, why: why.into() }
    }
}
