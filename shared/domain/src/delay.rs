//! How long an answer's rate limit headers ask to wait.
//!
//! Data in, decision out: it reads header values, keeps nothing and never shortens anything. What
//! it returns goes the same way as a `Retry-After`: the longer of both is [`crate::retry::Policy`]'s
//! to cut at its maximum, and to lengthen the delay with.
//!
//! | Header | Form | Source |
//! |---|---|---|
//! | `RateLimit` | `"name";r=0;t=30, …` | draft-ietf-httpapi-ratelimit-headers, from -08 |
//! | `RateLimit` | `limit=10, remaining=0, reset=30` | the same, -07 |
//! | `RateLimit-Remaining`, `-Reset` | a count; seconds from now | the same, up to -06 |
//! | `X-RateLimit-Remaining`, `-Reset`, `-Reset-After` | a count; seconds from now, or a date in seconds or milliseconds since 1970 | custom of many APIs |
//! | `X-Rate-Limit-…` | as before | the same, of fewer |

use std::time::Duration;

use crate::time::UnixMillis;

/// From here on a number is a date: 2001 in seconds, or 31 years from now.
const DATE_SECONDS_MIN: f64 = 1e9;
/// From here on it is one in milliseconds: 2001 again, or the year 33658 in seconds.
const DATE_MILLIS_MIN: f64 = 1e12;
/// As long as a wait can be: enough for ever, and far from overflow.
const WAIT_SECONDS_MAX: f64 = 1e12;
/// Header names of each older family, before `remaining` and `reset`.
const FAMILIES: [&str; 3] = ["ratelimit-", "x-ratelimit-", "x-rate-limit-"];

/// What an answer says of its limits: the longest waits it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Until a limit is renewed of which nothing is left.
    spent: Option<Duration>,
    /// Until one is renewed of which it is not said what is left.
    untold: Option<Duration>,
}

/// One limit, as far as it is told.
#[derive(Debug, Clone, Copy, Default)]
struct Quota {
    remaining: Option<f64>,
    reset: Option<Duration>,
}

impl Asked {
    /// Reads the headers that speak of limits; names in any case, in any order, others ignored.
    ///
    /// `now` is what dates are counted from: best the answer's own `Date`, which its clock made too.
    /// What cannot be read asks for nothing.
    pub fn read<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: UnixMillis,
    ) -> Self {
        let mut asked = Self::default();
        let mut families = [Quota::default(); FAMILIES.len()];
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if name == "ratelimit" {
                listed(value, |quota| asked.add(quota));
            }
            for (prefix, quota) in FAMILIES.iter().zip(&mut families) {
                match name.strip_prefix(prefix) {
                    Some("remaining") => quota.remaining = number(value),
                    Some("reset") => quota.renewed(wait(value, now)),
                    Some("reset-after") => quota.renewed(number(value).map(seconds)),
                    Some(_) | None => {}
                }
            }
        }
        families.into_iter().for_each(|quota| asked.add(quota));
        asked
    }

    /// Returns how long to wait before the next request to the same destination and credential.
    ///
    /// A limit of which something is left asks for nothing, also beside a refusal, which then has
    /// another reason. One that does not say counts only if the request `was_refused` (429, 503).
    pub fn wait(self, was_refused: bool) -> Option<Duration> {
        self.spent.max(self.untold.filter(|_| was_refused))
    }

    fn add(&mut self, quota: Quota) {
        match quota.remaining {
            Some(left) if left >= 1.0 => {}
            Some(_) => self.spent = self.spent.max(quota.reset),
            None => self.untold = self.untold.max(quota.reset),
        }
    }
}

impl Quota {
    fn renewed(&mut self, wait: Option<Duration>) {
        self.reset = self.reset.max(wait);
    }
}

/// Reads `RateLimit`: a list of limits with parameters, or one limit as a list of its parameters.
fn listed(value: &str, mut add: impl FnMut(Quota)) {
    if !value.contains(';') {
        return add(quota(value.split(',')));
    }
    value.split(',').for_each(|limit| add(quota(limit.split(';').skip(1))));
}

fn quota<'a>(parameters: impl Iterator<Item = &'a str>) -> Quota {
    let mut quota = Quota::default();
    for (name, value) in parameters.filter_map(|parameter| parameter.split_once('=')) {
        match name.trim() {
            "r" | "remaining" => quota.remaining = number(value),
            "t" | "reset" => quota.renewed(number(value).map(seconds)),
            _ => {}
        }
    }
    quota
}

/// Reads a number that is seconds from now or a date, and tells which by its size.
fn wait(value: &str, now: UnixMillis) -> Option<Duration> {
    let number = number(value)?;
    if number < DATE_SECONDS_MIN {
        return Some(seconds(number));
    }
    let millis = if number < DATE_MILLIS_MIN { number * 1e3 } else { number };
    Some(UnixMillis(millis as i64).since(now))
}

/// Reads digits with at most one point among them; nothing else is a number here.
fn number(value: &str) -> Option<f64> {
    let value = value.trim();
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_plain { value.parse().ok() } else { None }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(WAIT_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        offset_map::Head,
        retry::{Decision, Policy},
    };

    // 2026-11-25T16:00:00Z
    const NOW: UnixMillis = UnixMillis(1_795_622_400_000);

    fn asked(headers: &[(&str, &str)]) -> Asked {
        Asked::read(headers.iter().copied(), NOW)
    }

    #[test]
    fn every_form_is_read() {
        let rows: [(&[(&str, &str)], u64); 13] = [
            (&[("RateLimit", r#""default";r=0;t=30"#)], 30_000),
            (&[("ratelimit", r#""burst";r=0;t=3, "daily";r=0;t=900"#)], 900_000),
            (&[("ratelimit", r#""burst";r=0;t=3, "daily";r=7;t=900"#)], 3_000),
            (&[("RateLimit", "limit=100, remaining=0, reset=5")], 5_000),
            (&[("RateLimit-Reset", "12"), ("RateLimit-Remaining", "0")], 12_000),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795622430")], 30_000),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795622430.25")], 30_250),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1795622430500")], 30_500),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "60")], 60_000),
            (&[("X-Rate-Limit-Remaining", "0"), ("X-Rate-Limit-Reset", " 7 ")], 7_000),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset-After", "1.5")], 1_500),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795622000")], 0),
            (&[("RateLimit", "remaining=0, reset=9, t=3")], 9_000),
        ];
        for (headers, millis) in rows {
            let wait = asked(headers).wait(false);
            assert_eq!(wait, Some(Duration::from_millis(millis)), "{headers:?}");
        }
    }

    #[test]
    fn a_limit_with_something_left_asks_for_nothing_even_beside_a_refusal() {
        let left = asked(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "3600")]);
        assert_eq!((left.wait(false), left.wait(true)), (None, None));
        let untold = asked(&[("x-ratelimit-reset", "60")]);
        assert_eq!((untold.wait(false), untold.wait(true)), (None, Some(Duration::from_secs(60))));
    }

    #[test]
    fn what_cannot_be_read_asks_for_nothing() {
        let nonsense =
            ["", "soon", "-5", "1e3", "inf", "NaN", "0x10", "1.2.3", ".", r#""default""#, "=;=,;"];
        for value in nonsense {
            let names = ["ratelimit", "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"];
            assert_eq!(asked(&names.map(|name| (name, value))).wait(true), None, "{value:?}");
        }
        assert_eq!(asked(&[("x-ratelimit-limit", "5"), ("content-length", "0")]).wait(true), None);
    }

    proptest! {
        #[test]
        fn any_headers_are_read_without_panic_and_only_ever_lengthen_a_delay(
            values in prop::collection::vec(("\\PC{0,20}|[0-9]{1,40}", "[0-9]{0,400}[.;,=rt0-9]{0,9}"), 0..6),
            jitter in 0.0f64..1.0, attempts_made in 1u32..9, after in prop::option::of(0u64..400),
        ) {
            let names = ["RateLimit", "ratelimit-reset", "X-RateLimit-Reset", "x-rate-limit-remaining"];
            let headers = values.iter().flat_map(|(a, b)| [a, b]).map(String::as_str);
            let asked = Asked::read(names.into_iter().cycle().zip(headers), NOW);
            let after = after.map(Duration::from_secs);
            let made = Head { first_attempt_at: NOW, attempts_made, stood_still: Duration::ZERO };
            let plan = |wait| Policy::default().decide(made, wait, jitter, NOW);
            let (alone, both) = (plan(after), plan(after.max(asked.wait(true))));
            if let (Decision::Again { at: alone }, Decision::Again { at: both }) = (alone, both) {
                prop_assert!(both >= alone);
            }
            let again = |decision| matches!(decision, Decision::Again { .. });
            prop_assert!(again(alone) || !again(both));
        }
    }
}
