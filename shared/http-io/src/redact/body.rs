//! Finds values of telling keys in JSON and forms, byte by byte, so that a text that is cut off or
//! not quite JSON is redacted too. It does not parse: what it does not understand stays.

use super::{REDACTED, is_telling};

/// Returns `text` with the values of telling keys replaced.
pub(super) fn values_of_telling_keys(text: &[u8]) -> Vec<u8> {
    let looks_like_json = text.iter().any(|b| matches!(b, b'{' | b'['));
    if looks_like_json { json(text) } else { form(text) }
}

fn json(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'"' {
            out.push(text[at]);
            at += 1;
            continue;
        }
        let end = string_end(text, at);
        out.extend_from_slice(&text[at..end]);
        let value = after_colon(text, end);
        if let Some(value) = value.filter(|_| is_telling_key(&text[at..end])) {
            out.extend_from_slice(&text[end..value]);
            at = value_end(text, value);
            out.push(b'"');
            out.extend_from_slice(REDACTED.as_bytes());
            out.push(b'"');
        } else {
            at = end;
        }
    }
    out
}

/// Returns the position after the string that begins at `start`, or the text's end.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Returns where the value begins if what follows `end` is a colon.
fn after_colon(text: &[u8], end: usize) -> Option<usize> {
    let colon = skip_space(text, end);
    (text.get(colon) == Some(&b':')).then(|| skip_space(text, colon + 1))
}

fn skip_space(text: &[u8], from: usize) -> usize {
    let space = text[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    from + space
}

/// A key may be written with escapes; one that is no JSON string is taken as it stands.
fn is_telling_key(quoted: &[u8]) -> bool {
    let escaped = quoted.contains(&b'\\');
    let unescaped = escaped.then(|| serde_json::from_slice::<String>(quoted).ok()).flatten();
    let plain = || String::from_utf8_lossy(quoted).into_owned();
    is_telling(&unescaped.unwrap_or_else(plain))
}

/// Returns the position after the value: a string, a whole object or array, or a bare word.
fn value_end(text: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string_end(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return if depth == 1 { at + 1 } else { at },
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// `name=value` pairs between `&`, white space or `;`.
fn form(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let separates = |b: &u8| matches!(b, b'&' | b';') || b.is_ascii_whitespace();
    for part in text.split_inclusive(separates) {
        let (pair, separator) = match part.last() {
            Some(last) if separates(last) => part.split_at(part.len() - 1),
            _ => (part, &[][..]),
        };
        match pair.iter().position(|b| *b == b'=') {
            Some(equals) if is_telling(&String::from_utf8_lossy(&pair[..equals])) => {
                out.extend_from_slice(&pair[..=equals]);
                out.extend_from_slice(REDACTED.as_bytes());
            }
            _ => out.extend_from_slice(pair),
        }
        out.extend_from_slice(separator);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_telling_keys_are_replaced_whatever_their_shape() {
        let rows = [
            (r#"{"id":1,"access_token":"abc"}"#, r#"{"id":1,"access_token":"[redacted]"}"#),
            (r#"{"Password" : 12 , "a":2}"#, r#"{"Password" : "[redacted]", "a":2}"#),
            (r#"{"secret":{"a":["x","}"]},"b":1}"#, r#"{"secret":"[redacted]","b":1}"#),
            (r#"{"client-secret":null}"#, r#"{"client-secret":"[redacted]"}"#),
            (r#"{"note":"token","x":1}"#, r#"{"note":"token","x":1}"#),
            (r#"{"\u0074oken":"abc"}"#, r#"{"\u0074oken":"[redacted]"}"#),
            (r#"{"a":"say \"token\": no"}"#, r#"{"a":"say \"token\": no"}"#),
            // Cut off in the middle of the value.
            (r#"{"token":"abcdefg"#, r#"{"token":"[redacted]""#),
            (r#"{"token":{"a":"b"#, r#"{"token":"[redacted]""#),
            ("access_token=abc&id=1", "access_token=[redacted]&id=1"),
            ("plain text", "plain text"),
            ("", ""),
        ];
        for (given, expected) in rows {
            let shown = values_of_telling_keys(given.as_bytes());
            assert_eq!(String::from_utf8(shown).unwrap(), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            values_of_telling_keys(&bytes);
        }

        #[test]
        fn any_cut_of_a_text_hides_the_value(at in 0usize..60) {
            let text = br#"{"user":{"name":"x"},"api_key":"K1K2K3K4K5K6","after":[1,2]}"#;
            let shown = values_of_telling_keys(&text[..at.min(text.len())]);
            prop_assert!(!shown.windows(2).any(|w| w == b"K1"));
        }
    }
}
