//! Decides what becomes of a catalog that was read: kept, taken, asked about or refused. Pure.
//!
//! It does not know what is asked of whom; only that destinations don't go without a question.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use domain::ids::DestinationName;

use crate::{Catalog, Problems};

/// How long a refused catalog rests before it is asked about again: a look costs less than that.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// What of a catalog counts here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: String,
    pub(crate) destinations: BTreeSet<DestinationName>,
}

impl Seen {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let destinations = catalog.destinations.keys().cloned().collect();
        Self { version: catalog.version.clone(), destinations }
    }
}

/// What is to be done with the catalog that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it is in force, or was refused just now.
    Keep,
    /// Nothing but to tell: it is in force, and the one before it was refused.
    Return,
    /// It comes into force.
    Take,
    /// Others say whether these destinations may go.
    Ask(Vec<DestinationName>),
}

/// What was refused last, until a right catalog is read.
#[derive(Debug, Default)]
pub(crate) struct Adoption {
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    /// None where no catalog could be made of the folder.
    version: Option<String>,
    problems: Problems,
    at: Instant,
}

impl Adoption {
    /// Decides on the catalog that was read, where another is in force.
    pub(crate) fn next(&self, in_force: &Seen, read: &Seen, now: Instant) -> Next {
        if read.version == in_force.version {
            return if self.refused.is_some() { Next::Return } else { Next::Keep };
        }
        let removed = in_force.destinations.difference(&read.destinations);
        let removed: Vec<DestinationName> = removed.cloned().collect();
        if removed.is_empty() {
            return Next::Take;
        }
        let rests = self.refused.as_ref().is_some_and(|refused| {
            refused.version.as_ref() == Some(&read.version) && now < refused.at + ASK_AGAIN
        });
        if rests { Next::Keep } else { Next::Ask(removed) }
    }

    /// Takes note that a right catalog is in force.
    pub(crate) fn settle(&mut self) {
        self.refused = None;
    }

    /// Takes note of a refusal; true when it is news.
    pub(crate) fn refuse(
        &mut self,
        version: Option<String>,
        problems: &Problems,
        now: Instant,
    ) -> bool {
        let told = self.refused.as_ref().is_some_and(|refused| {
            refused.version == version
                && match version {
                    None => refused.problems == *problems,
                    // The reasons hold counts, which change with every answer.
                    Some(_) => matters(&refused.problems).eq(matters(problems)),
                }
        });
        self.refused = Some(Refused { version, problems: problems.clone(), at: now });
        !told
    }
}

fn matters(problems: &Problems) -> impl Iterator<Item = &str> {
    problems.0.iter().map(|problem| problem.what.as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Problem;

    fn seen(version: &str, destinations: &[&str]) -> Seen {
        let destinations = destinations.iter().map(|name| name.parse().unwrap()).collect();
        Seen { version: version.to_owned(), destinations }
    }

    fn problems(what: &str, why: &str) -> Problems {
        let (what, why) = (what.to_owned(), why.to_owned());
        Problems(vec![Problem { file: "f".into(), line: 0, column: 0, what, why, fix: "x".into() }])
    }

    #[test]
    fn only_a_catalog_that_drops_destinations_is_asked_about() {
        let in_force = seen("1", &["crm", "mail"]);
        let mail = Next::Ask(vec!["mail".parse().unwrap()]);
        let rows = [
            (seen("1", &["crm", "mail"]), Next::Keep),
            (seen("2", &["crm", "mail"]), Next::Take),
            (seen("2", &["crm", "mail", "post"]), Next::Take),
            (seen("2", &["crm"]), mail.clone()),
            (seen("2", &["crm", "post"]), mail),
        ];
        for (read, next) in rows {
            let found = Adoption::default().next(&in_force, &read, Instant::now());
            assert_eq!(found, next, "{read:?}");
        }
    }

    #[test]
    fn a_refused_catalog_rests_before_it_is_asked_about_again_and_another_does_not() {
        let (in_force, read) = (seen("1", &["crm"]), seen("2", &[]));
        let (ask, now) = (Next::Ask(vec!["crm".parse().unwrap()]), Instant::now());
        let mut adoption = Adoption::default();
        adoption.refuse(Some("2".to_owned()), &problems("left", "3 records"), now);
        let just_before = now + ASK_AGAIN - Duration::from_millis(1);
        assert_eq!(adoption.next(&in_force, &read, just_before), Next::Keep);
        assert_eq!(adoption.next(&in_force, &read, now + ASK_AGAIN), ask);
        assert_eq!(adoption.next(&in_force, &seen("3", &[]), now), ask);
        assert_eq!(adoption.next(&in_force, &seen("4", &["crm"]), now), Next::Take);
    }

    #[test]
    fn the_catalog_in_force_is_told_once_more_after_a_refusal() {
        let in_force = seen("1", &["crm"]);
        let mut adoption = Adoption::default();
        adoption.refuse(None, &problems("typo", "no such key"), Instant::now());
        assert_eq!(adoption.next(&in_force, &in_force, Instant::now()), Next::Return);
        adoption.settle();
        assert_eq!(adoption.next(&in_force, &in_force, Instant::now()), Next::Keep);
    }

    #[test]
    fn a_refusal_is_news_once_and_counts_that_change_are_none() {
        let two = || Some("2".to_owned());
        let rows = [
            (None, problems("typo", "no such key"), true),
            (None, problems("typo", "no such key"), false),
            (None, problems("typo", "no such file"), true),
            (two(), problems("left", "3 records"), true),
            (two(), problems("left", "2 records"), false),
            (two(), problems("not asked", "no broker"), true),
            (Some("3".to_owned()), problems("not asked", "no broker"), true),
        ];
        let mut adoption = Adoption::default();
        for (version, problems, news) in rows {
            let row = format!("{version:?} {problems}");
            assert_eq!(adoption.refuse(version, &problems, Instant::now()), news, "{row}");
        }
    }
}
