//! Decisions as they were once written to `ctl.state`: they read back for ever.
//!
//! A file of `golden/` is `<kind>.<version>.json`, the record's key beside it as `.key`. Neither is
//! ever changed; another format gets new files.

use super::*;

const KEY: &str = include_str!("../../golden/decision.1.key");
const DRAINED: &str = include_str!("../../golden/decision-drained.1.json");
const ABANDONED: &str = include_str!("../../golden/decision-abandoned.1.json");
/// With fields that nobody knows of here.
const NEWER: &str = include_str!("../../golden/decision-abandoned.newer.json");
/// A decision that nobody knows of here.
const UNKNOWN: &str = include_str!("../../golden/decision-unknown.newer.json");

fn kept(decision: Decision) -> Kept {
    let (undelivered, dead_letters) = match decision {
        Decision::Drained => (0, 2),
        Decision::Abandoned => (3, 2),
    };
    let (by, at) = ("ann".to_owned(), "2023-11-14T22:13:20.123456789Z".to_owned());
    Kept { decision, by, at, undelivered, dead_letters }
}

/// What is decided on `crm` after these values of its key.
fn decided(values: &[Option<&str>]) -> Option<Decision> {
    let records = values.iter().map(|value| (KEY.as_bytes(), value.map(str::as_bytes)));
    let decisions = decisions(records);
    assert!(decisions.keys().all(|name| name == "crm"), "{decisions:?}");
    decisions.get("crm").copied()
}

#[test]
fn what_is_decided_now_is_among_the_golden_files_and_each_is_obeyed() {
    assert_eq!(key("crm"), KEY);
    for (decision, golden) in [(Decision::Drained, DRAINED), (Decision::Abandoned, ABANDONED)] {
        let written = serde_json::to_string(&kept(decision)).expect("it is plain");
        assert_eq!(written, golden, "make a new version's golden files");
        assert_eq!(serde_json::from_str::<Kept>(golden).expect("it reads"), kept(decision));
        assert_eq!(decided(&[Some(golden)]), Some(decision));
        assert_eq!(decided(&[Some(golden), None]), None, "a tombstone takes it back");
    }
}

#[test]
fn a_later_versions_decision_is_obeyed_if_it_is_known_and_else_asked_for_again() {
    assert_eq!(decided(&[Some(DRAINED), Some(NEWER)]), Some(Decision::Abandoned));
    assert_eq!(decided(&[Some(DRAINED), Some(UNKNOWN)]), None);
}
