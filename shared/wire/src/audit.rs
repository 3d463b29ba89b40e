//! What services write to `ctl.audit` of themselves, as JSON. What a person did is written by whom they asked;
//! what is done to a destination is [`control`](crate::control)'s.

use serde::Serialize;

use crate::headers::rfc3339;

/// Records that were gone from the log before a group had read them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RecordsLost<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    /// The first offset that is gone.
    pub from: i64,
    /// The offset at which reading went on.
    pub to: i64,
}

#[derive(Serialize)]
struct Told<'a> {
    what: &'static str,
    at: String,
    by: &'a str,
    #[serde(flatten)]
    lost: RecordsLost<'a>,
}

impl RecordsLost<'_> {
    /// Returns the record's value; `by` is the service that found it, `at_ms` Unix milliseconds.
    pub fn json(self, by: &str, at_ms: i64) -> Vec<u8> {
        let told = Told { what: "records_lost", at: rfc3339(at_ms), by, lost: self };
        serde_json::to_vec(&told).expect("an audit is made of texts and numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_with_its_place_and_who_found_it() {
        let lost = RecordsLost { group: "g", topic: "raw.a", partition: 1, from: 3, to: 8 };
        let json = String::from_utf8(lost.json("millrace-transform", 0)).expect("JSON is text");
        let expected = r#"{"what":"records_lost","at":"1970-01-01T00:00:00Z","by":"millrace-transform","group":"g","topic":"raw.a","partition":1,"from":3,"to":8}"#;
        assert_eq!(json, expected);
    }
}
