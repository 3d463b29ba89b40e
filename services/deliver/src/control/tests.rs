//! What holds a destination, as the log and this replica say it, one after the other.

use std::{collections::BTreeMap, sync::Arc};

use catalog_io::Catalog;

use super::*;
use crate::{gate::Owned, series::Families};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

struct World {
    control: Control,
    gates: Gates,
    said: Destinations,
    next: i64,
    /// Who owns nothing of a destination sends nothing.
    _lane: Owned,
}

impl World {
    fn new() -> Self {
        let (names, metrics) = (Names::new(""), Metrics::default());
        let gates = Gates::new(names.clone(), Families::new(&metrics));
        let destination = crate::testing::destination("https://crm.example");
        let destinations = BTreeMap::from([(destination.spec.name.clone(), Arc::new(destination))]);
        let (sources, routes) = (BTreeMap::new(), Vec::new());
        gates.adopt(&Catalog { version: "1".to_owned(), sources, routes, destinations });
        let control = Control::new(names, &metrics);
        let lane = gates.of("crm").own();
        Self { control, gates, said: Destinations::default(), next: 0, _lane: lane }
    }

    /// Somebody writes to the log, and it is read; returns the offset.
    fn acts(&mut self, act: Act) -> i64 {
        let value = act.value(&Word::default());
        self.said.take(act.key("crm").as_bytes(), value.as_deref());
        self.next += 1;
        self.reads();
        self.next - 1
    }

    fn reads(&self) {
        self.control.obey(&self.gates, self.said.clone(), self.next, NOW);
    }

    fn answers_410(&self, begun: UnixMillis) {
        self.control.gone(&self.gates.of("crm"), "evt_1", begun, NOW);
    }

    fn sends(&self) -> bool {
        self.gates.of("crm").try_slot().is_some()
    }
}

#[test]
fn what_is_paused_or_disabled_is_held_until_both_are_taken_back() {
    let mut world = World::new();
    assert!(world.sends());
    let rows = [
        (Act::Pause, false),
        (Act::Disable, false),
        (Act::Resume, false),
        (Act::Enable, true),
        (Act::Disable, false),
        (Act::Pause, false),
        (Act::Enable, false),
        (Act::Resume, true),
    ];
    for (place, (act, sends)) in rows.into_iter().enumerate() {
        world.acts(act);
        assert_eq!(world.sends(), sends, "{place}: {act:?}");
    }
}

#[test]
fn a_410_holds_at_once_and_is_written_once() {
    let world = World::new();
    world.answers_410(NOW);
    world.answers_410(NOW);
    assert!(!world.sends());
    let (name, record) = world.control.unwritten().expect("it is to be written");
    assert_eq!((name.as_str(), &*record.topic), ("crm", "ctl.state"));
    let written = Written { partition: 0, offset: 5 };
    world.control.written(&name, written);
    assert!(world.control.unwritten().is_none());
    assert_eq!(&*world.control.unaudited().expect("so is the audit").topic, "ctl.audit");
    world.control.audited();
    assert!(world.control.unaudited().is_none());
}

#[test]
fn a_410_holds_while_the_log_was_not_read_up_to_it() {
    let mut world = World::new();
    world.answers_410(NOW);
    // Others write and are read; what was found here is not in the log yet.
    world.acts(Act::Pause);
    world.acts(Act::Resume);
    assert!(!world.sends());
    world.control.written("crm", Written { partition: 0, offset: 2 });
    world.reads();
    assert!(!world.sends());
    assert_eq!(world.acts(Act::Disable), 2);
    assert!(!world.sends());
    world.acts(Act::Enable);
    assert!(world.sends());
}

#[test]
fn what_was_sent_before_somebody_enabled_it_does_not_disable_it_again() {
    let mut world = World::new();
    world.acts(Act::Disable);
    world.acts(Act::Enable);
    world.answers_410(UnixMillis(NOW.0 - 1));
    assert!(world.sends());
    world.answers_410(NOW);
    assert!(!world.sends());
}

#[tokio::test]
async fn who_waits_for_a_slot_gets_it_when_the_destination_is_let_go() {
    let mut world = World::new();
    world.acts(Act::Pause);
    let gate = world.gates.of("crm");
    let waiting = tokio::spawn(async move { drop(gate.slot().await) });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    world.acts(Act::Resume);
    waiting.await.expect("it has its slot");
}

#[test]
fn each_record_lies_where_its_readers_look_for_it() {
    let (names, word) = (Names::new("p."), Word::default());
    let kept = records::kept(&names, Act::Disable, "crm", &word);
    assert_eq!((&*kept.topic, kept.partition), ("p.ctl.state", Some(wire::control::PARTITION)));
    assert_eq!(kept.key.as_deref(), Some(Act::Disable.key("crm").as_bytes()));
    assert_eq!(kept.value.map(Vec::from), Act::Disable.value(&word));
    assert_eq!(records::kept(&names, Act::Enable, "crm", &word).value, None);
    let audited = records::audited(&names, Act::Enable, "crm", &word);
    assert_eq!((&*audited.topic, audited.partition), ("p.ctl.audit", None));
    assert_eq!(audited.key.as_deref(), Some(&b"crm"[..]));
    assert_eq!(audited.value.map(Vec::from), Some(Act::Enable.audit("crm", &word)));
}
