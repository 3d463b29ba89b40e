//! Structural checks of the headers that carry signatures.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{ConfigError, Refused};

/// The longest header that is looked at.
const BYTES_MAX: usize = 4 * 1024;

/// The most signatures of one header that are looked at.
pub(crate) const SIGNATURES_MAX: usize = 16;

/// Returns the one value of a header that is signed or signs.
pub(crate) fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Err(Refused::Unsigned { header: name.to_owned() });
    };
    if values.next().is_some() {
        return Err(Refused::malformed(name, "it comes twice"));
    }
    if value.len() > BYTES_MAX {
        return Err(Refused::malformed(name, "it is longer than 4 KiB"));
    }
    match value.to_str() {
        Ok("") => Err(Refused::malformed(name, "it is empty")),
        Ok(text) => Ok(text),
        Err(_) => Err(Refused::malformed(name, "it is not plain text")),
    }
}

/// Returns a header that only names the event: the first of several counts.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    if value.is_empty() || value.len() > BYTES_MAX { None } else { Some(value.to_owned()) }
}

pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), ConfigError> {
    let wrong = || ConfigError::option("header", format!("{name:?} can't hold {value:?}"));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    headers.insert(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_header_comes_once_and_is_short_plain_text() {
        let refused = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-sig", HeaderValue::from_bytes(value).unwrap());
            }
            one(&headers, "X-Sig").map(str::to_owned).err()
        };
        assert_eq!(refused(&[b"a"]), None);
        assert_eq!(refused(&[&[b'a'; BYTES_MAX]]), None);
        assert!(matches!(refused(&[]), Some(Refused::Unsigned { .. })));
        for bad in [&[b"a" as &[u8], b"a"] as &[&[u8]], &[b""], &[b"\xff"], &[&[b'a'; 4097]]] {
            assert!(matches!(refused(bad), Some(Refused::Malformed { .. })), "{bad:?}");
        }
    }
}
