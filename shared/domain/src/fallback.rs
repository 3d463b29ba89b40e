//! Where a route's delivery goes that its destination does not take: a second destination, before the
//! dead letter.
//!
//! Pure, and one step long: a delivery that came by a fallback has none of its own, so that nothing goes
//! round.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{dead_letter::Reason, ids::DestinationName};

/// Why a delivery is given up on, as far as a fallback asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Its budget is spent, or its attempts.
    Exhausted,
    /// The destination answered that it will never take it, or may not be reached by the egress rules.
    Permanent,
}

/// What an operator has declared for a route's deliveries that are given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// None of the route's own destinations.
    pub to: DestinationName,
    /// Which fates it is for.
    pub on: Vec<Fate>,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Self; 2] = [Self::Exhausted, Self::Permanent];

    /// Returns the fate that a reason is; `None` where another destination is no remedy, because the
    /// record or what a mapping made of it is at fault.
    pub fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::BudgetSpent | Reason::AttemptsSpent => Some(Self::Exhausted),
            Reason::Permanent | Reason::EgressRefused => Some(Self::Permanent),
            Reason::Undecodable
            | Reason::MappingFailed
            | Reason::InvalidResult
            | Reason::DestinationUnknown
            | Reason::ReplayCap => None,
        }
    }
}

impl Fallback {
    /// Says whether it takes what was given up on for this reason.
    pub fn takes(&self, reason: Reason) -> bool {
        Fate::of(reason).is_some_and(|fate| self.on.contains(&fate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(on: &[Fate]) -> Vec<Reason> {
        let to = "spare".parse().expect("it is a name");
        let fallback = Fallback { to, on: on.to_vec() };
        Reason::ALL.iter().copied().filter(|reason| fallback.takes(*reason)).collect()
    }

    #[test]
    fn a_fallback_takes_what_its_fates_are_and_nothing_that_no_destination_would_mend() {
        use Reason::{AttemptsSpent, BudgetSpent, EgressRefused, Permanent};
        assert_eq!(taken(&Fate::ALL), [Permanent, BudgetSpent, AttemptsSpent, EgressRefused]);
        assert_eq!(taken(&[Fate::Exhausted]), [BudgetSpent, AttemptsSpent]);
        assert_eq!(taken(&[Fate::Permanent]), [Permanent, EgressRefused]);
    }
}
