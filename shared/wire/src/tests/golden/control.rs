//! Records of `ctl.state` and `ctl.audit` as they were once written: they read back for ever.
//!
//! A file is `<kind>.<version>.json`, the record's key beside it as `.key`. Neither is ever changed.

use serde_json::{Value, json};

use super::{assert_golden, golden};
use crate::{
    audit::RecordsLost,
    control::{Act, Destinations, Said, Took, Word},
};

const ACTS: [Act; 4] = [Act::Pause, Act::Resume, Act::Disable, Act::Enable];
const AT_MS: i64 = 1_700_000_000_123;
const AT: &str = "2023-11-14T22:13:20.123Z";

/// The files of an act's record in `ctl.state`, and of the one in `ctl.audit`.
fn files(act: Act) -> (&'static str, &'static str) {
    match act {
        Act::Pause => ("destination-paused.1", "audit-destination-paused.1"),
        Act::Resume => ("destination-paused.1", "audit-destination-resumed.1"),
        Act::Disable => ("destination-disabled.1", "audit-destination-disabled.1"),
        Act::Enable => ("destination-disabled.1", "audit-destination-enabled.1"),
    }
}

fn word(act: Act) -> Word {
    let (by, why, event_id) = match act {
        Act::Pause => ("ann", "moves \"tonight\", says Jörg", None),
        Act::Resume => ("bob", "", None),
        Act::Disable => {
            ("millrace-deliver", "it answered 410 Gone to event evt_1", Some("evt_1".to_owned()))
        }
        Act::Enable => ("bob", "its address is right again", None),
    };
    Word { by: by.to_owned(), at_ms: AT_MS, why: why.to_owned(), event_id }
}

/// Takes a golden record, or where there is no value the one that takes it back.
fn take(destinations: &mut Destinations, key: &str, value: Option<&str>) -> Took {
    let key = golden(&format!("{key}.key"));
    let value = value.map(|name| golden(&format!("{name}.json")));
    destinations.take(&key, value.as_deref())
}

#[test]
fn every_word_ever_kept_is_obeyed_and_taken_back() {
    let paused = Said { paused: Some(word(Act::Pause)), disabled: None };
    let disabled = Said { paused: None, disabled: Some(word(Act::Disable)) };
    for (file, said) in [("destination-paused.1", paused), ("destination-disabled.1", disabled)] {
        let mut destinations = Destinations::default();
        assert_eq!(take(&mut destinations, file, Some(file)), Took::Word, "{file}");
        assert_eq!(destinations.of("crm"), said, "{file}");
        assert_eq!(take(&mut destinations, file, None), Took::Word, "{file}");
        assert_eq!(destinations, Destinations::default(), "{file}");
    }
}

#[test]
fn a_word_of_a_later_version_is_obeyed_as_far_as_it_is_known() {
    let mut destinations = Destinations::default();
    // It says until when, which nobody knows of here, and no longer why.
    let took = take(&mut destinations, "destination-paused.1", Some("destination-paused.newer"));
    assert_eq!(took, Took::Word);
    let known = Word { why: String::new(), ..word(Act::Pause) };
    assert_eq!(destinations.of("crm").paused, Some(known));
}

#[test]
fn what_is_said_now_is_among_the_golden_files() {
    for act in ACTS {
        let (kept, audit) = files(act);
        let word = word(act);
        assert_golden(&format!("{kept}.key"), act.key("crm").as_bytes());
        match act {
            Act::Pause | Act::Disable => {
                let value = act.value(&word).expect("it is said");
                assert_golden(&format!("{kept}.json"), &value);
            }
            Act::Resume | Act::Enable => assert_eq!(act.value(&word), None, "it is taken back"),
        }
        assert_golden(&format!("{audit}.json"), &act.audit("crm", &word));
    }
    let lost = RecordsLost { group: "g", topic: "raw.payments", partition: 1, from: 3, to: 8 };
    assert_golden("audit-records-lost.1.json", &lost.json("millrace-transform", AT_MS));
}

#[test]
fn every_audit_ever_written_tells_what_where_when_and_by_whom() {
    let disabled = word(Act::Disable);
    let told = |what: &str, act| {
        let Word { by, why, .. } = word(act);
        json!({ "what": what, "at": AT, "by": by, "destination": "crm", "why": why })
    };
    let mut of_disable = told("destination_disabled", Act::Disable);
    of_disable["event_id"] = json!(disabled.event_id);
    let lost = json!({
        "what": "records_lost", "at": AT, "by": "millrace-transform", "group": "g",
        "topic": "raw.payments", "partition": 1, "from": 3, "to": 8,
    });
    let rows = [
        ("audit-destination-paused.1.json", told("destination_paused", Act::Pause)),
        ("audit-destination-resumed.1.json", told("destination_resumed", Act::Resume)),
        ("audit-destination-disabled.1.json", of_disable),
        ("audit-destination-enabled.1.json", told("destination_enabled", Act::Enable)),
        ("audit-records-lost.1.json", lost),
    ];
    for (file, wanted) in rows {
        let found: Value = serde_json::from_slice(&golden(file)).expect("it is JSON");
        assert_eq!(found, wanted, "{file}");
    }
    assert_eq!(crate::headers::unix_millis(AT), Some(AT_MS));
}
