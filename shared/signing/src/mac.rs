//! HMAC over parts of a message, compared in constant time.

use hmac::{Hmac, Mac};
use schemars::JsonSchema;
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

/// The hash below the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(crate) fn digest_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A digest of up to 64 bytes, without an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest {
    bytes: [u8; 64],
    length: usize,
}

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self { bytes: [0; 64], length: bytes.len() };
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Says whether any of `claimed` is this one, looking at all of them.
    pub(crate) fn is_among(&self, claimed: &[Digest]) -> Choice {
        let none = Choice::from(0);
        claimed.iter().fold(none, |hit, other| hit | self.as_bytes().ct_eq(other.as_bytes()))
    }
}

/// Computes the HMAC of the parts, one after the other.
pub(crate) fn hmac(algorithm: Algorithm, key: &[u8], parts: &[&[u8]]) -> Digest {
    match algorithm {
        Algorithm::Sha1 => digest::<Hmac<sha1::Sha1>>(key, parts),
        Algorithm::Sha256 => digest::<Hmac<sha2::Sha256>>(key, parts),
        Algorithm::Sha512 => digest::<Hmac<sha2::Sha512>>(key, parts),
    }
}

fn digest<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    Digest::of(&mac.finalize().into_bytes()).expect("no digest here is longer than 64 bytes")
}
