//! Reads `Retry-After`, in both of its forms, and the answer's date. How far they are believed is the
//! caller's to decide.

use std::time::{Duration, UNIX_EPOCH};

use domain::time::UnixMillis;
use http::{
    HeaderMap,
    header::{DATE, RETRY_AFTER},
};

/// Returns how long the server asks to wait from `now`; a date that has passed gives zero, and
/// anything that is neither seconds nor an HTTP date gives `None`.
pub fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit is for ever, not nothing.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX / 1_000)));
    }
    Some(read(text)?.since(now))
}

/// Returns when the server made the answer, by its own clock: what the dates in it count from.
pub fn date(headers: &HeaderMap) -> Option<UnixMillis> {
    read(headers.get(DATE)?.to_str().ok()?.trim())
}

fn read(text: &str) -> Option<UnixMillis> {
    let at = httpdate::parse_http_date(text).ok()?;
    Some(UnixMillis(i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn both_forms_are_read_and_nonsense_is_nothing() {
        // 2015-10-21T07:28:00Z
        let now = UnixMillis(1_445_412_480_000);
        let rows = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::MAX / 1_000)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ];
        for (text, seconds) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn an_answers_date_is_its_own_clocks() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT"));
        assert_eq!(date(&headers), Some(UnixMillis(1_445_412_480_000)));
        headers.insert(DATE, HeaderValue::from_static("today"));
        assert_eq!((date(&headers), date(&HeaderMap::new())), (None, None));
    }
}
