//! What an answer means: delivered, worth another try, or never.
//!
//! The table is data, so that a destination can override a row and a test can walk all of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The destination took it.
    Delivered,
    /// It failed for a reason that may pass; it certainly was not done.
    Retryable,
    /// It will not succeed by trying again.
    Permanent,
    /// It was sent and no answer came: it may have been done.
    Unknown,
}

impl Outcome {
    /// Says whether another attempt can help.
    pub fn may_be_tried_again(self) -> bool {
        match self {
            Self::Retryable | Self::Unknown => true,
            Self::Delivered | Self::Permanent => false,
        }
    }

    /// Returns the label used in metrics, logs and receipts.
    pub fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
            Self::Unknown => "unknown",
        }
    }
}

/// Which outcome a status code has, where a destination says otherwise than [`of_status`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overrides(pub BTreeMap<u16, Outcome>);

impl Overrides {
    /// Returns the outcome of `status`: the override if there is one, else the default row.
    pub fn outcome(&self, status: u16) -> Outcome {
        self.0.get(&status).copied().unwrap_or_else(|| of_status(status))
    }
}

/// Returns the default outcome of an HTTP status.
///
/// The rows are those of the senders' and receivers' common practice: what a proxy or an
/// overloaded server answers is retryable, what speaks of the request itself is permanent. A
/// redirect is permanent because it is never followed with a signed body.
pub fn of_status(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Delivered,
        408 | 425 | 429 => Outcome::Retryable,
        500 | 502 | 503 | 521 | 522 | 523 => Outcome::Retryable,
        // The gateway passed it on and heard nothing: it may have been done.
        504 | 524 => Outcome::Unknown,
        // 501 and 505 say that the server can't; others of the class are taken for passing faults.
        501 | 505 => Outcome::Permanent,
        506..=599 => Outcome::Retryable,
        _ => Outcome::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_has_its_outcome() {
        use Outcome::{Delivered, Permanent, Retryable, Unknown};
        let rows = [
            (Delivered, vec![200, 201, 202, 204, 299]),
            (Permanent, vec![100, 101, 300, 301, 302, 304, 307, 308]),
            (Permanent, vec![400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 451]),
            (Retryable, vec![408, 425, 429]),
            (Retryable, vec![500, 502, 503, 520, 521, 522, 523, 529, 599]),
            (Unknown, vec![504, 524]),
            (Permanent, vec![501, 505, 600, 999]),
        ];
        for (expected, statuses) in rows {
            for status in statuses {
                assert_eq!(of_status(status), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_destination_may_override_a_row() {
        let overrides = Overrides(BTreeMap::from([(409, Outcome::Delivered)]));
        assert_eq!(overrides.outcome(409), Outcome::Delivered);
        assert_eq!(overrides.outcome(404), Outcome::Permanent);
    }
}
