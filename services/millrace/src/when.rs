//! Times as an operator writes them: an age, Unix seconds, or RFC 3339. Pure.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::failure::{Failure, USAGE};

/// Reads a time in milliseconds since 1970; `option` is what it was given for.
pub(crate) fn read(option: &str, text: &str, now_ms: i64) -> Result<i64, Failure> {
    unix_seconds(text).or_else(|| rfc3339(text)).or_else(|| ago(text, now_ms)).ok_or_else(|| {
        let why = format!("{text:?} is no time");
        let remedy = "give an age such as 2h, Unix seconds, or for example 2026-01-05T10:00:00Z";
        Failure::new(format!("read {option}"), why, remedy).code(USAGE)
    })
}

/// Returns the wall clock's time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Writes a time for people, in UTC to the millisecond.
pub(crate) fn written(unix_ms: i64) -> String {
    let nanos = i128::from(unix_ms) * 1_000_000;
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else { return "?".to_owned() };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

fn unix_seconds(text: &str) -> Option<i64> {
    text.parse::<i64>().ok()?.checked_mul(1000)
}

fn rfc3339(text: &str) -> Option<i64> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanos / 1_000_000).ok()
}

fn ago(text: &str, now_ms: i64) -> Option<i64> {
    let age = humantime::parse_duration(text).ok()?;
    now_ms.checked_sub(i64::try_from(age.as_millis()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_seconds_and_a_date_are_times() {
        let now = 1_700_000_000_000;
        for (text, expected) in [
            ("2h", now - 7_200_000),
            ("1700000000", now),
            ("2023-11-14T22:13:20Z", now),
            ("2023-11-14T23:13:20.5+01:00", now + 500),
        ] {
            assert_eq!(read("--since", text, now).ok(), Some(expected), "{text}");
        }
        for bad in ["", "soon", "2h ago", "2023-11-14"] {
            let refused = read("--since", bad, now).expect_err(bad).to_string();
            assert!(refused.contains("--since") && refused.contains("2h"), "{refused}");
        }
    }

    #[test]
    fn a_time_is_written_to_the_millisecond() {
        assert_eq!(written(1_700_000_000_007), "2023-11-14 22:13:20.007");
    }
}
