//! Why a record was given up on.
//!
//! The words are labels of metrics, filters of the operator's commands and headers in the log, so
//! they never change their meaning.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal),+ $(,)?) => {
        /// The reason in one word; the details are text beside it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $label)] $variant),+
        }

        impl Reason {
            /// Every reason, in the order of the docs.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the word used in headers, filters and metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }

        impl FromStr for Reason {
            type Err = UnknownReason;
            fn from_str(text: &str) -> Result<Self, UnknownReason> {
                match text {
                    $($label => Ok(Self::$variant),)+
                    _ => Err(UnknownReason(text.to_owned())),
                }
            }
        }
    };
}

reasons! {
    /// The record's bytes are no record of ours, or its schema is unknown.
    Undecodable = "undecodable",
    /// The mapping failed on this event.
    MappingFailed = "mapping_failed",
    /// The mapping's result can't be sent: too large, or not a request.
    InvalidResult = "invalid_result",
    /// The destination answered that it will never take it.
    Permanent = "permanent",
    /// Each attempt within the budget failed.
    BudgetSpent = "budget_spent",
    /// As many attempts as allowed have failed.
    AttemptsSpent = "attempts_spent",
    /// The egress rules forbid the destination's address.
    EgressRefused = "egress_refused",
    /// The catalog no longer has the destination.
    DestinationUnknown = "destination_unknown",
    /// It was replayed more often than allowed.
    ReplayCap = "replay_cap",
}

/// A word that names no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a dead-letter reason: use one of {list}", list = labels())]
pub struct UnknownReason(pub String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

fn labels() -> String {
    Reason::ALL.iter().map(|r| r.label()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_from_its_word() {
        for reason in Reason::ALL {
            assert_eq!(reason.label().parse::<Reason>(), Ok(*reason));
        }
    }

    #[test]
    fn an_unknown_word_is_told_what_would_do() {
        let error = "bad".parse::<Reason>().expect_err("no such reason").to_string();
        assert!(error.contains("mapping_failed"), "{error}");
    }
}
