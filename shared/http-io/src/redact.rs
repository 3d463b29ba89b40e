//! Takes secrets out of an answer before it is written down in a receipt.
//!
//! It looks at names that say what a value is, and for the destination's own secrets wherever they
//! are. It cannot know a secret that neither has a telling name nor is ours.

mod body;

use std::sync::LazyLock;

use http::HeaderMap;
use memchr::memmem::Finder;
use secrecy::{ExposeSecret, SecretString};

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// Shorter texts are not searched for: they would be found everywhere.
const SECRET_BYTES_MIN: usize = 6;

/// Parts of a name that say that its value is a secret; compared in lower case without `-` and `_`.
const TELLING: [&str; 14] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "authentication",
    "cookie",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "session",
    "signature",
];

/// Prepared once: every name of every answer is searched.
static FINDERS: LazyLock<[Finder<'static>; 14]> = LazyLock::new(|| TELLING.map(Finder::new));

/// Secrets to be searched for; prints nothing of them.
#[derive(Default)]
pub struct Secrets(Vec<Finder<'static>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// Prepares the search for each secret.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let texts = secrets.into_iter().map(|s| s.expose_secret().as_bytes());
        let long = texts.filter(|text| text.len() >= SECRET_BYTES_MIN);
        Self(long.map(|text| Finder::new(text).into_owned()).collect())
    }

    /// Replaces every secret in `text`; with `cut` also one whose rest was cut off at the end.
    fn remove(&self, text: &mut Vec<u8>, cut: bool) {
        for finder in &self.0 {
            let mut from = 0;
            while let Some(at) = finder.find(&text[from..]) {
                let start = from + at;
                text.splice(start..start + finder.needle().len(), REDACTED.bytes());
                from = start + REDACTED.len();
            }
            if cut && let Some(start) = cut_off(text, finder.needle()) {
                text.splice(start.., REDACTED.bytes());
            }
        }
    }
}

/// Where the beginning of `secret` stands at the end of `text`.
fn cut_off(text: &[u8], secret: &[u8]) -> Option<usize> {
    let longest = secret.len().saturating_sub(1).min(text.len());
    let length = (SECRET_BYTES_MIN..=longest).rev().find(|n| text.ends_with(&secret[..*n]))?;
    Some(text.len() - length)
}

/// Returns the headers as text, the values of telling names and our own secrets replaced.
pub fn headers(headers: &HeaderMap, secrets: &Secrets) -> Vec<(String, String)> {
    let each = headers.iter();
    each.map(|(name, value)| {
        let text = if value.is_sensitive() || is_telling(name.as_str()) {
            REDACTED.to_owned()
        } else {
            let mut text = value.as_bytes().to_vec();
            secrets.remove(&mut text, false);
            // Without a copy where it is text already.
            String::from_utf8(text)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        };
        (name.as_str().to_owned(), text)
    })
    .collect()
}

/// Returns the body with our own secrets and the values of telling keys (JSON, also cut off, and
/// forms) replaced; `cut` says that it is only the beginning of a longer one.
pub fn body(bytes: &[u8], secrets: &Secrets, cut: bool) -> Vec<u8> {
    let mut text = body::values_of_telling_keys(bytes);
    secrets.remove(&mut text, cut);
    text
}

/// Says whether a name announces a secret.
fn is_telling(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | ' ' | '.'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    FINDERS.iter().any(|word| word.find(plain.as_bytes()).is_some())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn secrets(list: &[&str]) -> Secrets {
        let list: Vec<_> = list.iter().map(|s| SecretString::from(*s)).collect();
        Secrets::new(&list)
    }

    #[test]
    fn headers_that_hold_secrets_are_redacted_and_others_are_kept() {
        let mut given = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "sid=1"),
            ("authorization", "Bearer x"),
            ("x-api-key", "k"),
            ("x-auth-token", "t"),
            ("x-request-id", "req-1"),
            ("echo", "you sent whsec_abcdef!"),
        ] {
            given.insert(name, HeaderValue::from_static(value));
        }
        let shown = headers(&given, &secrets(&["whsec_abcdef"]));
        let shown: Vec<_> = shown.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("set-cookie", REDACTED),
                ("authorization", REDACTED),
                ("x-api-key", REDACTED),
                ("x-auth-token", REDACTED),
                ("x-request-id", "req-1"),
                ("echo", "you sent [redacted]!"),
            ]
        );
    }

    #[test]
    fn our_own_secret_is_found_wherever_it_is() {
        let ours = secrets(&["hunter22", "abc"]);
        assert_eq!(body(b"hunter22 and hunter22", &ours, false), b"[redacted] and [redacted]");
        assert_eq!(
            body(b"abc is too short to search for", &ours, false),
            b"abc is too short to search for"
        );
    }

    #[test]
    fn a_secret_cut_off_at_the_end_is_not_shown_in_part() {
        let ours = secrets(&["hunter22secret"]);
        assert_eq!(body(b"say hunter22", &ours, true), b"say [redacted]");
        assert_eq!(body(b"say hunter22", &ours, false), b"say hunter22");
    }

    #[test]
    fn secrets_print_nothing() {
        assert_eq!(format!("{:?}", secrets(&["hunter22"])), "1 secrets");
    }
}
