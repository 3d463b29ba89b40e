//! Checks how failed attempts are tried again: delays, budget, greatest age.

use std::time::Duration;

use domain::retry::{BASE_DEFAULT, CAP_DEFAULT, Delays, Policy};

use super::{Context, Entry};
use crate::file::{Retry, Text};

pub(super) fn check(entry: &Entry<'_>, retry: &Retry, context: &mut Context<'_>) -> Policy {
    let usual = Policy::default();
    let delays = match &retry.delays {
        Some(listed) => fixed(entry, retry, listed, context),
        None => doubling(entry, retry, context),
    };
    let mut time = |key: &str, text: Option<&Text>, default| {
        context.duration(entry, &format!("/retry/{key}"), text, default)
    };
    let budget = retry.budget.as_ref().map(|text| time("budget", Some(text), usual.budget));
    let least = usual.max_age.max(budget.unwrap_or_default());
    let max_age = time("max_age", retry.max_age.as_ref(), least);
    let budget = budget.unwrap_or(match delays {
        // The list itself says how long it takes.
        Delays::Fixed(_) => max_age,
        Delays::Doubling { .. } => usual.budget.min(max_age),
    });
    let policy = Policy {
        delays,
        budget,
        max_age,
        attempts_max: retry.attempts.unwrap_or(usual.attempts_max),
        retry_after_max: time(
            "retry_after_max",
            retry.retry_after_max.as_ref(),
            usual.retry_after_max,
        ),
    };
    within(entry, &policy, context);
    policy
}

fn doubling(entry: &Entry<'_>, retry: &Retry, context: &mut Context<'_>) -> Delays {
    let base = context.duration(entry, "/retry/base", retry.base.as_ref(), BASE_DEFAULT);
    let cap = context.duration(entry, "/retry/cap", retry.cap.as_ref(), CAP_DEFAULT);
    if base > cap {
        let why = "the delay grows from base to cap";
        context.mistake(entry, "/retry", "retry.base is above retry.cap", why, "swap or raise cap");
    }
    Delays::Doubling { base, cap }
}

fn fixed(entry: &Entry<'_>, retry: &Retry, listed: &[Text], context: &mut Context<'_>) -> Delays {
    for (key, text) in [("base", &retry.base), ("cap", &retry.cap)] {
        if text.is_some() {
            let what = format!("retry.{key} says nothing beside retry.delays");
            let fix = format!("remove {key}, or the list");
            context.mistake(entry, &format!("/retry/{key}"), what, "the list has each delay", fix);
        }
    }
    let attempts = u32::try_from(listed.len()).unwrap_or(u32::MAX).saturating_add(1);
    if let Some(wanted) = retry.attempts.filter(|wanted| *wanted > attempts) {
        let what = format!("retry.attempts of {wanted} is more than retry.delays gives");
        let why = format!("with {} delays there are {attempts} attempts", listed.len());
        context.mistake(entry, "/retry/attempts", what, why, "add delays, or remove attempts");
    }
    let each = listed.iter().enumerate().map(|(place, text)| {
        // One that can't be read counts nothing below, so that it is one mistake.
        context.duration(entry, &format!("/retry/delays/{place}"), Some(text), Duration::ZERO)
    });
    Delays::Fixed(each.collect())
}

/// Checks that nothing which was asked for is cut off by something else.
fn within(entry: &Entry<'_>, policy: &Policy, context: &mut Context<'_>) {
    if policy.budget > policy.max_age {
        let what = "retry.budget is above retry.max_age";
        let why = "no attempt starts later than max_age after the first";
        context.mistake(entry, "/retry/budget", what, why, "shorten budget or raise max_age");
    }
    let Delays::Fixed(delays) = &policy.delays else { return };
    let all = delays.iter().fold(Duration::ZERO, |sum, delay| sum.saturating_add(*delay));
    if all > policy.budget {
        let what = format!("retry.delays are {} in all", humantime::format_duration(all));
        let budget = humantime::format_duration(policy.budget);
        let why = format!("no attempt starts later than {budget} after the first");
        let fix = "shorten the list, or raise budget and max_age";
        context.mistake(entry, "/retry/delays", what, why, fix);
    }
}
