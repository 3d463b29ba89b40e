//! The secrets of a source: rotation is a list of them, each with an end.

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::Refused;

/// A shared secret or public key; printing it prints nothing.
#[derive(Debug, Clone)]
pub struct Secret {
    pub value: SecretString,
    /// Unix seconds from which on it no longer counts.
    pub valid_until: Option<i64>,
}

impl Secret {
    /// Returns a secret without an end.
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: SecretString::from(value.into()), valid_until: None }
    }

    fn is_valid_at(&self, now_unix: i64) -> bool {
        self.valid_until.is_none_or(|until| now_unix < until)
    }
}

const NONE: u64 = u64::MAX;

/// Returns the first valid secret that matches; all are tried, so that time tells nothing.
pub(crate) fn matching(
    secrets: &[Secret],
    now_unix: i64,
    matches: impl Fn(&str) -> Choice,
) -> Result<usize, Refused> {
    let mut found = NONE;
    let mut any_valid = false;
    for (index, secret) in secrets.iter().enumerate() {
        if !secret.is_valid_at(now_unix) {
            continue;
        }
        any_valid = true;
        let hit = matches(secret.value.expose_secret()) & found.ct_eq(&NONE);
        found.conditional_assign(&(index as u64), hit);
    }
    match found {
        _ if !any_valid => Err(Refused::NoSecret),
        NONE => Err(Refused::Mismatch),
        index => Ok(index as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_counts_until_its_end() {
        let mut old = Secret::new("old");
        old.valid_until = Some(100);
        let secrets = [old, Secret::new("new")];
        let is = |wanted: &'static str| move |s: &str| s.as_bytes().ct_eq(wanted.as_bytes());
        assert_eq!(matching(&secrets, 99, is("old")), Ok(0));
        assert_eq!(matching(&secrets, 100, is("old")), Err(Refused::Mismatch));
        assert_eq!(matching(&secrets, 100, is("new")), Ok(1));
        assert_eq!(matching(&secrets[..1], 100, is("old")), Err(Refused::NoSecret));
        assert_eq!(matching(&[], 0, is("old")), Err(Refused::NoSecret));
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", Secret::new("hush")).contains("hush"));
    }
}
