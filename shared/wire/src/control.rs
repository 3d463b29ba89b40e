//! What is said of destinations in `ctl.state`, as JSON: paused by an operator, disabled since it
//! answered 410.
//!
//! Each of the two has a key of its own, so that who pauses and who disables in the same moment do
//! not write over each other. The last record of a key counts; one without a value takes back what
//! was said. Pure: who reads and writes the records is `deliver`'s.

use std::collections::BTreeMap;

use domain::{ids::is_name, outcome::Outcome};
use serde::{Deserialize, Serialize};

use crate::headers::rfc3339;

/// The partition of `ctl.state` that holds every word on destinations, so that all have one order.
pub const PARTITION: i32 = 0;

const KEY_PREFIX: &str = "destination/";

/// Who said something of a destination, when and why. Unknown fields are passed over and missing
/// ones are empty, so that it can grow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Word {
    pub by: String,
    /// Unix milliseconds.
    pub at_ms: i64,
    pub why: String,
    /// The event whose delivery was answered so that the destination is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// What is done to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Pause,
    /// Takes a pause back.
    Resume,
    Disable,
    /// Takes back that it is disabled.
    Enable,
}

/// What is said of one destination now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Said {
    pub paused: Option<Word>,
    pub disabled: Option<Word>,
}

/// What is said of all destinations; one of which nothing is said is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destinations(BTreeMap<String, Said>);

/// What a record of `ctl.state` was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Took {
    /// It says something of a destination.
    Word,
    /// It is not about what holds a destination.
    Other,
    /// It should say something and can't be read; what was said before stands.
    Unreadable(String),
}

#[derive(Serialize)]
struct Audit<'a> {
    what: &'static str,
    at: String,
    by: &'a str,
    destination: &'a str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

impl Act {
    /// Returns the key of the record in `ctl.state`.
    pub fn key(self, destination: &str) -> String {
        let of = match self {
            Self::Pause | Self::Resume => "paused",
            Self::Disable | Self::Enable => "disabled",
        };
        format!("{KEY_PREFIX}{destination}/{of}")
    }

    /// Returns the value of the record in `ctl.state`: none where something is taken back.
    pub fn value(self, word: &Word) -> Option<Vec<u8>> {
        match self {
            Self::Pause | Self::Disable => Some(json(word)),
            Self::Resume | Self::Enable => None,
        }
    }

    /// Returns the value of the record in `ctl.audit`.
    pub fn audit(self, destination: &str, word: &Word) -> Vec<u8> {
        let what = match self {
            Self::Pause => "destination_paused",
            Self::Resume => "destination_resumed",
            Self::Disable => "destination_disabled",
            Self::Enable => "destination_enabled",
        };
        json(&Audit { event_id: word.event_id.as_deref(), ..Audit::new(what, destination, word) })
    }

    /// Says whether what was done stands by what is said now.
    pub fn stands(self, said: &Said) -> bool {
        match self {
            Self::Pause => said.paused.is_some(),
            Self::Resume => said.paused.is_none(),
            Self::Disable => said.disabled.is_some(),
            Self::Enable => said.disabled.is_none(),
        }
    }
}

impl<'a> Audit<'a> {
    fn new(what: &'static str, destination: &'a str, word: &'a Word) -> Self {
        let (at, by, why) = (rfc3339(word.at_ms), &word.by, &word.why);
        Self { what, at, by, destination, why, event_id: None, outcome: None, status: None }
    }
}

/// Returns the value of the record in `ctl.audit` of a probe, with what came of it; it changes nothing
/// that is said of the destination.
pub fn audit_of_probe(
    destination: &str,
    word: &Word,
    outcome: Outcome,
    status: Option<u16>,
) -> Vec<u8> {
    let outcome = Some(outcome.label());
    json(&Audit { outcome, status, ..Audit::new("destination_probed", destination, word) })
}

impl Destinations {
    /// Takes the next record of `ctl.state`, in the order of the log.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Took {
        let Some((destination, is_pause)) = std::str::from_utf8(key).ok().and_then(parse) else {
            return Took::Other;
        };
        let word = match value.map(serde_json::from_slice::<Word>).transpose() {
            Ok(word) => word,
            Err(error) => return Took::Unreadable(error.to_string()),
        };
        let said = self.0.entry(destination.to_owned()).or_default();
        *(if is_pause { &mut said.paused } else { &mut said.disabled }) = word;
        if *said == Said::default() {
            self.0.remove(destination);
        }
        Took::Word
    }

    /// Returns what is said of a destination; of most that is nothing.
    pub fn of(&self, destination: &str) -> Said {
        self.0.get(destination).cloned().unwrap_or_default()
    }

    /// Returns the destinations of which something is said, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Said)> {
        self.0.iter().map(|(name, said)| (name.as_str(), said))
    }
}

/// Finds which destination a key is about, and whether it speaks of a pause.
fn parse(key: &str) -> Option<(&str, bool)> {
    let (destination, of) = key.strip_prefix(KEY_PREFIX)?.split_once('/')?;
    let is_pause = match of {
        "paused" => true,
        "disabled" => false,
        _ => return None,
    };
    is_name(destination).then_some((destination, is_pause))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it is made of texts and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(by: &str) -> Word {
        Word { by: by.to_owned(), at_ms: 7, why: "it is moved".to_owned(), event_id: None }
    }

    fn after(acts: &[(Act, &str, &str)]) -> Destinations {
        let mut destinations = Destinations::default();
        for (act, destination, by) in acts {
            let (key, value) = (act.key(destination), act.value(&word(by)));
            assert_eq!(destinations.take(key.as_bytes(), value.as_deref()), Took::Word, "{key}");
        }
        destinations
    }

    #[test]
    fn the_last_word_counts_and_a_pause_and_a_410_are_said_apart() {
        use Act::{Disable, Enable, Pause, Resume};
        let rows: [(&[_], Option<&str>, Option<&str>); 7] = [
            (&[(Pause, "crm", "ann")], Some("ann"), None),
            (&[(Pause, "crm", "ann"), (Pause, "crm", "bob")], Some("bob"), None),
            (&[(Pause, "crm", "ann"), (Resume, "crm", "bob")], None, None),
            (&[(Pause, "crm", "ann"), (Disable, "crm", "us")], Some("ann"), Some("us")),
            (&[(Disable, "crm", "us"), (Resume, "crm", "bob")], None, Some("us")),
            (&[(Disable, "crm", "us"), (Enable, "crm", "bob")], None, None),
            (&[(Pause, "mail", "ann"), (Enable, "crm", "bob")], None, None),
        ];
        for (acts, paused, disabled) in rows {
            let said = after(acts).of("crm");
            let by = |word: &Option<Word>| word.as_ref().map(|word| word.by.clone());
            let found = (by(&said.paused), by(&said.disabled));
            assert_eq!(found, (paused.map(str::to_owned), disabled.map(str::to_owned)), "{acts:?}");
        }
    }

    #[test]
    fn of_a_destination_that_is_free_again_nothing_is_kept() {
        let acts = [(Act::Pause, "crm", "ann"), (Act::Resume, "crm", "ann")];
        assert_eq!(after(&acts), Destinations::default());
        assert_eq!(after(&acts[..1]).iter().map(|(name, _)| name).collect::<Vec<_>>(), ["crm"]);
    }

    #[test]
    fn what_cannot_be_read_changes_nothing_and_is_told() {
        let paused = after(&[(Act::Pause, "crm", "ann")]);
        let unreadable: [&[u8]; 6] =
            [b"", b"{", b"7", b"null", b"\xff\xfe", br#"{"by":"eve","at_ms":"noon"}"#];
        for value in unreadable {
            let mut destinations = paused.clone();
            let took = destinations.take(b"destination/crm/paused", Some(value));
            assert!(matches!(took, Took::Unreadable(_)), "{value:?}: {took:?}");
            assert_eq!(destinations, paused, "{value:?}");
        }
    }

    #[test]
    fn records_of_others_are_none_of_ours() {
        let mut destinations = Destinations::default();
        let keys: [&[u8]; 8] = [
            b"",
            b"replay/01",
            b"removed-destination/crm",
            b"destination/crm",
            b"destination/crm/probed",
            b"destination/CRM/paused",
            b"destination/crm/paused/x",
            b"destination/\xff/paused",
        ];
        for key in keys {
            assert_eq!(destinations.take(key, Some(b"{}")), Took::Other, "{key:?}");
        }
        assert_eq!(destinations, Destinations::default());
    }

    #[test]
    fn a_word_may_know_more_or_less_than_we_do() {
        let mut destinations = Destinations::default();
        let newer = br#"{"by":"ann","at_ms":1,"why":"w","until_ms":9}"#;
        assert_eq!(destinations.take(b"destination/crm/paused", Some(newer)), Took::Word);
        assert_eq!(destinations.take(b"destination/mail/paused", Some(b"{}")), Took::Word);
        assert_eq!(destinations.of("crm").paused.map(|word| word.by).as_deref(), Some("ann"));
        assert_eq!(destinations.of("mail").paused, Some(Word::default()));
    }

    #[test]
    fn the_bytes_of_a_word_and_of_its_audit_stay_as_they_are() {
        let gone = Word { event_id: Some("evt_1".to_owned()), ..word("millrace-deliver") };
        let text = |value: Vec<u8>| String::from_utf8(value).expect("JSON is text");
        assert_eq!(
            Act::Pause.value(&word("ann")).map(text).as_deref(),
            Some(r#"{"by":"ann","at_ms":7,"why":"it is moved"}"#)
        );
        assert_eq!(
            text(Act::Disable.audit("crm", &gone)),
            r#"{"what":"destination_disabled","at":"1970-01-01T00:00:00.007Z","by":"millrace-deliver","destination":"crm","why":"it is moved","event_id":"evt_1"}"#
        );
        assert_eq!(
            text(audit_of_probe("crm", &word("ann"), Outcome::Permanent, Some(401))),
            r#"{"what":"destination_probed","at":"1970-01-01T00:00:00.007Z","by":"ann","destination":"crm","why":"it is moved","outcome":"permanent","status":401}"#
        );
        assert_eq!(Act::Enable.key("crm"), "destination/crm/disabled");
        assert_eq!(Act::Enable.value(&gone), None);
    }
}
