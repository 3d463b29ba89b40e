//! How a signature is written: strictly, so that a signature has one spelling.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mac::Digest;

/// How a signature is written in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    Hex,
    Base64,
    Base64Unpadded,
    Base64url,
    Base64urlUnpadded,
}

impl Encoding {
    /// Reads a digest of exactly `length` bytes; upper-case hex and non-canonical base64 are none.
    pub(crate) fn decode(self, text: &str, length: usize) -> Option<Digest> {
        let mut buffer = [0; 96];
        let written = match self {
            Self::Hex => hex_lower(text, &mut buffer),
            Self::Base64 => STANDARD.decode_slice(text, &mut buffer).ok(),
            Self::Base64Unpadded => STANDARD_NO_PAD.decode_slice(text, &mut buffer).ok(),
            Self::Base64url => URL_SAFE.decode_slice(text, &mut buffer).ok(),
            Self::Base64urlUnpadded => URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).ok(),
        }?;
        if written == length { Digest::of(&buffer[..written]) } else { None }
    }

    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Unpadded => STANDARD_NO_PAD.encode(bytes),
            Self::Base64url => URL_SAFE.encode(bytes),
            Self::Base64urlUnpadded => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

fn hex_lower(text: &str, buffer: &mut [u8]) -> Option<usize> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let length = text.len() / 2;
    hex::decode_to_slice(text, buffer.get_mut(..length)?).ok()?;
    Some(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Encoding; 5] = [
        Encoding::Hex,
        Encoding::Base64,
        Encoding::Base64Unpadded,
        Encoding::Base64url,
        Encoding::Base64urlUnpadded,
    ];

    #[test]
    fn only_the_canonical_spelling_is_read() {
        let check = |encoding: Encoding, text: &str, length, read: bool| {
            assert_eq!(encoding.decode(text, length).is_some(), read, "{encoding:?} {text:?}");
        };
        check(Encoding::Hex, "0aff", 2, true);
        check(Encoding::Hex, "0AFF", 2, false);
        check(Encoding::Hex, "0af", 1, false);
        check(Encoding::Hex, "0aff", 3, false);
        check(Encoding::Hex, "", 0, true);
        check(Encoding::Hex, &"00".repeat(200), 32, false);
        check(Encoding::Base64, "AQ==", 1, true);
        check(Encoding::Base64, "AR==", 1, false);
        check(Encoding::Base64, "AQ", 1, false);
        check(Encoding::Base64, "AQ==\n", 1, false);
        check(Encoding::Base64, " AQ==", 1, false);
        check(Encoding::Base64, "_w==", 1, false);
        check(Encoding::Base64url, "_w==", 1, true);
        check(Encoding::Base64urlUnpadded, "_w", 1, true);
        check(Encoding::Base64urlUnpadded, "_w==", 1, false);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in prop::collection::vec(any::<u8>(), 0..=64)) {
            for encoding in ALL {
                let read = encoding.decode(&encoding.encode(&bytes), bytes.len()).unwrap();
                prop_assert_eq!(read.as_bytes(), &bytes[..]);
            }
        }
    }
}
