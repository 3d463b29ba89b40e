//! The headers of a delivery that goes to a fallback, and what they say of the one before it.
//!
//! The record's own headers stay byte for byte and in their order, those about replays among them, so
//! that a replay of what fails there too is counted on.

use std::fmt;

use bytes::Bytes;
use domain::{dead_letter::Reason, trace::TraceContext};

use super::{
    DELIVERY_ID, DESTINATION, FALLBACK_DELIVERY_ID, FALLBACK_ERROR_MESSAGE, FALLBACK_FROM,
    FALLBACK_PREFIX, FALLBACK_REASON, Headers, TRACEPARENT, fixed, owned, scrub, text,
    without_ours,
};

/// The delivery that was given up on, as the one in its place tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallen<'a> {
    /// Its destination.
    pub from: &'a str,
    pub delivery_id: &'a str,
    pub reason: Reason,
    /// For a person; shortened and scrubbed when written.
    pub message: &'a str,
}

/// The delivery in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Successor<'a> {
    pub delivery_id: &'a str,
    pub destination: &'a str,
    /// This hop's context; without one the record's stays, by which others link to it.
    pub trace: Option<TraceContext>,
}

impl fmt::Display for Fallen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} gave up: {}: {}", self.from, self.reason, self.message)
    }
}

/// Returns the headers of the delivery that takes the place of one that had `original`.
pub fn fallback(
    original: &[(String, Bytes)],
    fallen: &Fallen<'_>,
    successor: &Successor<'_>,
) -> Headers {
    let mut headers = without_ours(original);
    headers.retain(|(name, _)| {
        let is_replaced = match name.as_str() {
            DELIVERY_ID | DESTINATION => true,
            TRACEPARENT => successor.trace.is_some(),
            name => name.starts_with(FALLBACK_PREFIX),
        };
        !is_replaced
    });
    if let Some(trace) = successor.trace {
        headers.push((TRACEPARENT.to_owned(), trace.to_string().into()));
    }
    headers.extend([
        owned(DELIVERY_ID, successor.delivery_id),
        owned(DESTINATION, successor.destination),
        owned(FALLBACK_FROM, fallen.from),
        owned(FALLBACK_DELIVERY_ID, fallen.delivery_id),
        fixed(FALLBACK_REASON, fallen.reason.label()),
        (FALLBACK_ERROR_MESSAGE.to_owned(), scrub(fallen.message).into()),
    ]);
    headers
}

/// Reads whose place a delivery takes; `None` for one that a route made.
///
/// The header of the destination decides: a reason that only a later version knows is read as
/// [`Reason::Permanent`], and what else is missing as empty.
pub fn fallen(headers: &[(String, Bytes)]) -> Option<Fallen<'_>> {
    let of = |name| text(headers, name);
    Some(Fallen {
        from: of(FALLBACK_FROM)?,
        delivery_id: of(FALLBACK_DELIVERY_ID).unwrap_or_default(),
        reason: of(FALLBACK_REASON).and_then(|r| r.parse().ok()).unwrap_or(Reason::Permanent),
        message: of(FALLBACK_ERROR_MESSAGE).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{CE_ID, DLQ_REASON, REPLAY_COUNT, replay_count};

    const FALLEN: Fallen<'_> = Fallen {
        from: "crm",
        delivery_id: "mr_1",
        reason: Reason::BudgetSpent,
        message: "the destination answered 503\nat https://u:p@crm.example/x",
    };

    fn pair(name: &str, value: &str) -> (String, Bytes) {
        owned(name, value)
    }

    #[test]
    fn a_fallbacks_record_keeps_its_headers_and_says_whose_place_it_takes() {
        let original = [
            pair("x", "y"),
            pair(CE_ID, "evt_1"),
            pair(TRACEPARENT, "old"),
            pair(DELIVERY_ID, "mr_1"),
            pair(DESTINATION, "crm"),
            pair(DLQ_REASON, "permanent"),
            pair(REPLAY_COUNT, "2"),
        ];
        let trace = TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };
        let spare = Successor { delivery_id: "mr_2", destination: "spare", trace: Some(trace) };
        let headers = fallback(&original, &FALLEN, &spare);
        assert_eq!(headers[..3], [pair("x", "y"), pair(CE_ID, "evt_1"), pair(REPLAY_COUNT, "2")]);
        let rows = [
            (DELIVERY_ID, "mr_2"),
            (DESTINATION, "spare"),
            (TRACEPARENT, "00-01010101010101010101010101010101-0202020202020202-01"),
        ];
        for (name, value) in rows {
            let all: Vec<_> = headers.iter().filter(|(found, _)| found == name).collect();
            assert_eq!(all, [&pair(name, value)]);
        }
        assert_eq!((replay_count(&headers), text(&headers, DLQ_REASON)), (2, None));
        let told = fallen(&headers).map(|fallen| fallen.to_string());
        let wanted =
            "crm gave up: budget_spent: the destination answered 503 at https://***@crm.example/x";
        assert_eq!(told.as_deref(), Some(wanted));
        assert_eq!(fallen(&original), None);
    }

    #[test]
    fn a_second_fallback_replaces_the_first_and_without_a_trace_the_old_one_stays() {
        let spare = Successor { delivery_id: "mr_2", destination: "spare", trace: None };
        let first = fallback(&[pair(TRACEPARENT, "old")], &FALLEN, &spare);
        let other = Fallen { from: "spare", ..FALLEN };
        let second = fallback(&first, &other, &spare);
        assert_eq!((second.len(), text(&second, TRACEPARENT)), (first.len(), Some("old")));
        assert_eq!(fallen(&second).map(|fallen| fallen.from), Some("spare"));
    }

    #[test]
    fn a_reason_of_a_later_version_is_still_a_fallbacks() {
        let headers = [pair(FALLBACK_FROM, "crm"), pair(FALLBACK_REASON, "newer")];
        assert_eq!(fallen(&headers).map(|fallen| fallen.reason), Some(Reason::Permanent));
    }
}
