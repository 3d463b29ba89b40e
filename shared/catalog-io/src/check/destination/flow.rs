//! Checks how much a destination is asked: its rate, how many attempts at a time, its breaker.

use domain::{breaker::Policy, rate::Rate};

use super::{Context, Entry};
use crate::file::{self, Breaker, Text};

const CONCURRENCY_DEFAULT: u32 = 64;
const CONCURRENCY_MIN_DEFAULT: u32 = 1;
/// What a rate may count by, in seconds.
const UNITS: [(&str, f64); 4] = [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];

/// The numbers of a destination that was checked.
pub(super) struct Flow {
    pub(super) rate: Rate,
    pub(super) concurrency: u32,
    pub(super) concurrency_min: u32,
    pub(super) breaker: Policy,
}

pub(super) fn check(
    entry: &Entry<'_>,
    file: &file::Destination,
    context: &mut Context<'_>,
) -> Flow {
    let concurrency = file.concurrency.unwrap_or(CONCURRENCY_DEFAULT);
    let concurrency_min = file.concurrency_min.unwrap_or(CONCURRENCY_MIN_DEFAULT);
    if concurrency_min > concurrency {
        let what = format!("concurrency_min of {concurrency_min} is above concurrency");
        let why = format!("no more than {concurrency} attempts are in flight at a time");
        let fix = format!("write at most {concurrency}, or raise concurrency");
        context.mistake(entry, "/concurrency_min", what, why, fix);
    }
    Flow {
        rate: file
            .rate
            .as_ref()
            .map_or(Rate::UNLIMITED, |text| rate(entry, "/rate", text, context)),
        concurrency,
        concurrency_min,
        breaker: breaker(entry, &file.breaker, context),
    }
}

/// Reads a rate with its unit; one that is none counts as none.
pub(in crate::check) fn rate(
    entry: &Entry<'_>,
    below: &str,
    text: &Text,
    context: &mut Context<'_>,
) -> Rate {
    let (what, why, fix) = match text {
        Text::Text(text) => match read(text) {
            Some(rate) => return rate,
            None => (
                format!("{text:?} is no rate"),
                "a rate is a number above zero, a slash and s, m, h or d; at most 1000000000/s",
                "write e.g. 100/s".to_owned(),
            ),
        },
        Text::Number(number) => (
            format!("rate of {number} has no unit"),
            "per second and per minute are easily mixed up",
            format!("write {number}/s or {number}/m"),
        ),
    };
    context.mistake(entry, below, what, why, fix);
    Rate::UNLIMITED
}

fn read(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let (count, unit) = (count.trim(), unit.trim());
    // Signs and exponents are left to programs.
    if !count.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Rate::per_second(count.parse::<f64>().ok()? / seconds)
}

fn breaker(entry: &Entry<'_>, file: &Breaker, context: &mut Context<'_>) -> Policy {
    let usual = Policy::default();
    let mut time = |key: &str, text: Option<&Text>, default| {
        context.duration(entry, &format!("/breaker/{key}"), text, default)
    };
    let policy = Policy {
        window: time("window", file.window.as_ref(), usual.window),
        open: time("open", file.open.as_ref(), usual.open),
        open_max: time("open_max", file.open_max.as_ref(), usual.open_max),
        attempts_min: file.attempts_min.unwrap_or(usual.attempts_min),
        error_ratio: file.error_ratio.unwrap_or(usual.error_ratio),
    };
    if !(policy.error_ratio > 0.0 && policy.error_ratio <= 1.0) {
        let what = format!("breaker.error_ratio of {} is no part", policy.error_ratio);
        let why = "it is compared with errors divided by attempts, which are between 0 and 1";
        context.mistake(entry, "/breaker/error_ratio", what, why, "write e.g. 0.5 for half");
    }
    if policy.open > policy.open_max {
        let what = "breaker.open is above breaker.open_max";
        let why = "the open time grows from open to open_max";
        context.mistake(entry, "/breaker", what, why, "swap them or raise open_max");
    }
    policy
}
