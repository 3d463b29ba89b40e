//! The flow by its promises, and against a model of what is in flight.

use domain::{breaker::Ended as Health, limit::Ended as Load};
use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

fn at(millis: u64) -> MonoNanos {
    MonoNanos(millis * MILLI)
}

fn numbers() -> Numbers {
    let breaker = breaker::Policy { attempts_min: 4, ..breaker::Policy::default() };
    Numbers { rate: Rate::UNLIMITED, breaker, floor: 1, ceiling: 8 }
}

fn limited(per_second: f64) -> Numbers {
    Numbers { rate: Rate::per_second(per_second).unwrap(), ..numbers() }
}

/// One that owns everything from the clock's origin on.
fn flow(numbers: Numbers) -> Flow {
    let mut flow = Flow::new(numbers, at(0));
    flow.set_share(Share::WHOLE, at(0));
    flow
}

fn healthy() -> Signals {
    let load = Load::Answered(Duration::from_millis(10));
    Signals { health: Health::Healthy, load, asked: None }
}

fn failed() -> Signals {
    Signals { health: Health::Failed, load: Load::Failed, asked: None }
}

fn asked(millis: u64) -> Signals {
    let asked = Some(Duration::from_millis(millis));
    Signals { health: Health::Healthy, load: Load::Overloaded, asked }
}

fn once(flow: &mut Flow, signals: Signals, now: MonoNanos) -> Option<Change> {
    let permit = flow.admit(now).unwrap();
    flow.ended(permit, signals, now)
}

/// Four failures at `now`, after which the breaker is open for 5 s.
fn broken(now: MonoNanos) -> Flow {
    let mut flow = flow(numbers());
    let changes = [(); 4].map(|()| once(&mut flow, failed(), now));
    assert_eq!(changes, [None, None, None, Some(Change::Opened)]);
    flow
}

fn waits(why: Why, until: Option<u64>) -> Result<Permit, Wait> {
    Err(Wait { why, until: until.map(at) })
}

#[test]
fn no_more_are_in_flight_than_allowed_and_an_end_makes_room() {
    let mut flow = flow(numbers());
    let mut permits: Vec<Permit> = (0..8).map(|_| flow.admit(at(1)).unwrap()).collect();
    assert_eq!(flow.admit(at(1)), waits(Why::Concurrency, None));
    flow.ended(permits.pop().unwrap(), healthy(), at(2));
    assert!(flow.admit(at(2)).is_ok());
}

#[test]
fn a_token_is_taken_by_what_starts_and_by_nothing_else() {
    let mut flow = flow(Numbers { ceiling: 1, ..limited(10.0) });
    assert_eq!(flow.admit(at(0)), waits(Why::Rate, Some(100)));
    let permit = flow.admit(at(100)).unwrap();
    assert_eq!(flow.admit(at(1_000)), waits(Why::Concurrency, None));
    flow.ended(permit, healthy(), at(1_000));
    assert!(flow.admit(at(1_000)).is_ok(), "the wait for the other one cost no token");
}

#[test]
fn of_a_shared_rate_nothing_is_taken_by_what_waits_for_something_else() {
    let mut flow = flow(Numbers { ceiling: 1, ..limited(10.0) });
    let mut shared = Bucket::new(Rate::per_second(20.0).unwrap(), Share::WHOLE, at(0));
    assert_eq!(flow.admit_sharing(&mut shared, at(50)), waits(Why::Rate, Some(100)));
    let permit = flow.admit_sharing(&mut shared, at(100)).unwrap();
    assert_eq!(shared.next_at(at(100)), Some(at(150)), "its burst of 1 was kept for that");
    assert_eq!(flow.admit_sharing(&mut shared, at(300)), waits(Why::Concurrency, None));
    flow.ended(permit, healthy(), at(300));
    assert!(shared.take(at(300)), "another destination's");
    assert_eq!(flow.admit_sharing(&mut shared, at(300)), waits(Why::SharedRate, Some(350)));
    assert!(flow.admit(at(300)).is_ok(), "its own token was not taken");
}

#[test]
fn what_an_answer_asks_for_holds_everything_and_only_ever_longer() {
    let mut flow = flow(numbers());
    let (first, second) = (flow.admit(at(1)).unwrap(), flow.admit(at(1)).unwrap());
    flow.ended(first, asked(7_000), at(1_000));
    flow.ended(second, asked(2_000), at(1_000));
    assert_eq!(flow.admit(at(2_000)), waits(Why::Asked, Some(8_000)));
    assert!(flow.is_shut(at(7_999)) && !flow.is_shut(at(8_000)));
    assert!(flow.admit(at(8_000)).is_ok());
}

#[test]
fn an_open_breaker_lets_one_probe_through_and_its_success_begins_at_the_floor() {
    let mut flow = broken(at(1));
    assert_eq!(flow.admit(at(2)), waits(Why::Breaker, Some(5_001)));
    assert!(flow.is_shut(at(5_000)));
    let probe = flow.admit(at(5_001)).unwrap();
    assert!(probe.is_probe());
    assert_eq!(flow.admit(at(9_000)), waits(Why::Breaker, None), "a second probe");
    assert_eq!(flow.ended(probe, healthy(), at(9_000)), Some(Change::Closed));
    assert_eq!((flow.allowed(), flow.breaker()), (1, State::Closed));
}

#[test]
fn a_probe_that_tells_nothing_is_followed_by_another() {
    let mut flow = broken(at(1));
    let probe = flow.admit(at(5_001)).unwrap();
    assert_eq!(flow.ended(probe, Signals::NONE, at(6_000)), Some(Change::ProbeReturned));
    assert!(flow.admit(at(6_000)).is_ok_and(|permit| permit.is_probe()));
}

#[test]
fn while_an_operator_holds_it_nothing_starts_and_what_is_in_flight_ends() {
    for hold in [Hold::Paused, Hold::Disabled] {
        let mut flow = flow(numbers());
        let permit = flow.admit(at(1)).unwrap();
        flow.hold(Some(hold), at(2));
        assert_eq!(flow.admit(at(9_000)), waits(Why::Held, None));
        assert!(flow.is_shut(at(9_000)));
        flow.ended(permit, healthy(), at(9_000));
        flow.hold(None, at(9_001));
        assert!(flow.admit(at(9_001)).is_ok());
    }
}

#[test]
fn the_standstill_clock_goes_while_it_is_held_or_the_breaker_is_not_closed() {
    let mut flow = flow(numbers());
    flow.hold(Some(Hold::Paused), at(1_000));
    assert_eq!(flow.stood_still(at(3_000)), Duration::from_secs(2));
    flow.hold(Some(Hold::Disabled), at(4_000));
    flow.hold(None, at(6_000));
    assert_eq!(flow.stood_still(at(9_000)), Duration::from_secs(5));
    for _ in 0..4 {
        once(&mut flow, failed(), at(10_000));
    }
    let probe = flow.admit(at(15_000)).unwrap();
    assert_eq!(flow.stood_still(at(16_000)), Duration::from_secs(11), "a probe is under way");
    flow.hold(Some(Hold::Paused), at(16_500));
    flow.ended(probe, healthy(), at(17_000));
    assert_eq!(flow.stood_still(at(18_000)), Duration::from_secs(13), "held, though healthy");
    flow.hold(None, at(18_000));
    assert_eq!(flow.stood_still(at(99_000)), Duration::from_secs(13));
}

#[test]
fn a_changed_catalog_keeps_the_state_and_adds_no_token() {
    let mut flow = flow(limited(10.0));
    let permits = [100, 200].map(|millis| flow.admit(at(millis)).unwrap());
    flow.set_numbers(Numbers { ceiling: 2, ..limited(1_000.0) }, at(200));
    assert_eq!(flow.admit(at(200)), waits(Why::Concurrency, None), "two are in flight still");
    for permit in permits {
        flow.ended(permit, healthy(), at(200));
    }
    assert_eq!(flow.admit(at(200)), waits(Why::Rate, Some(201)));
    let mut flow = broken(at(1));
    flow.set_numbers(Numbers { ceiling: 9, ..numbers() }, at(2));
    assert_eq!(flow.admit(at(2)), waits(Why::Breaker, Some(5_001)));
}

#[test]
fn a_first_rate_begins_without_a_token_and_keeps_what_was_asked_for() {
    let mut flow = flow(numbers());
    once(&mut flow, asked(500), at(1_000));
    flow.set_numbers(limited(100.0), at(1_000));
    assert_eq!(flow.admit(at(1_000)), waits(Why::Asked, Some(1_500)));
    let mut flow = self::flow(numbers());
    flow.set_numbers(limited(100.0), at(1_000));
    assert_eq!(flow.admit(at(1_000)), waits(Why::Rate, Some(1_010)));
}

#[test]
fn a_process_takes_its_share_of_everything_and_refills_nothing() {
    let share = |owned| Share { owned, total: 6 };
    let mut flow = Flow::new(Numbers { ceiling: 12, ..limited(60.0) }, at(0));
    assert_eq!(flow.admit(at(60_000)), waits(Why::Rate, None), "it owns nothing yet");
    flow.set_share(share(2), at(60_000));
    assert_eq!(flow.allowed(), 4);
    assert_eq!(flow.admit(at(60_000)), waits(Why::Rate, Some(60_050)));
    for (owned, allowed) in [(6, 12), (0, 12), (3, 6), (1, 2)] {
        flow.set_share(share(owned), at(60_000));
        assert_eq!(flow.allowed(), allowed, "{owned} of 6");
        assert!(flow.admit(at(60_000)).is_err());
    }
}

/// What happens to a flow.
#[derive(Debug, Clone)]
enum Event {
    Passes(u64),
    Start,
    Ends(prop::sample::Index, Signals),
    Held(bool),
    Share(u32),
    Ceiling(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let load = prop_oneof![
        (0u64..500).prop_map(|millis| Load::Answered(Duration::from_millis(millis))),
        Just(Load::Overloaded),
        Just(Load::Failed),
    ];
    let health = prop_oneof![3 => Just(Health::Failed), 2 => Just(Health::Healthy), 1 => Just(Health::Untold)];
    let asked = prop_oneof![5 => Just(None), 1 => (0u64..3_000).prop_map(Some)];
    let signals = (health, load, asked).prop_map(|(health, load, asked)| Signals {
        health,
        load,
        asked: asked.map(Duration::from_millis),
    });
    prop_oneof![
        6 => (0u64..1_500).prop_map(Event::Passes),
        12 => Just(Event::Start),
        8 => (any::<prop::sample::Index>(), signals).prop_map(|(which, s)| Event::Ends(which, s)),
        1 => any::<bool>().prop_map(Event::Held),
        1 => (0u32..=6).prop_map(Event::Share),
        1 => (1u32..=20).prop_map(Event::Ceiling),
    ]
}

/// A flow, and what is known of it from outside.
struct Model {
    flow: Flow,
    now: MonoNanos,
    in_flight: Vec<Permit>,
    starts: Vec<u64>,
}

impl Model {
    const PER_SECOND: f64 = 50.0;

    fn new() -> Self {
        let flow = flow(limited(Self::PER_SECOND));
        Self { flow, now: at(0), in_flight: Vec::new(), starts: Vec::new() }
    }

    fn apply(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Passes(millis) => self.now = now.plus(Duration::from_millis(millis)),
            Event::Start => {
                let _ = self.start();
            }
            Event::Ends(which, signals) => {
                if !self.in_flight.is_empty() {
                    let permit = self.in_flight.swap_remove(which.index(self.in_flight.len()));
                    self.flow.ended(permit, signals, now);
                }
            }
            Event::Held(held) => self.flow.hold(held.then_some(Hold::Paused), now),
            Event::Share(owned) => self.flow.set_share(Share { owned, total: 6 }, now),
            Event::Ceiling(ceiling) => {
                let numbers = Numbers { ceiling, ..limited(Self::PER_SECOND) };
                self.flow.set_numbers(numbers, now);
            }
        }
    }

    fn start(&mut self) -> Result<(), Wait> {
        let stood_still = self.flow.is_shut(self.now);
        let permit = self.flow.admit(self.now)?;
        assert!(!stood_still, "one started while it was shut");
        self.in_flight.push(permit);
        self.starts.push(self.now.0);
        assert!(self.in_flight.len() <= self.flow.allowed() as usize, "more than allowed");
        let probes = self.in_flight.iter().filter(|permit| permit.is_probe()).count();
        let is_open = self.flow.breaker() != State::Closed;
        assert!(!is_open || probes >= 1, "one that is no probe started with the breaker open");
        Ok(())
    }

    /// Heals everything and says how many of `count` attempts were made within so many steps.
    fn heal(&mut self, count: usize) -> usize {
        self.flow.hold(None, self.now);
        self.flow.set_share(Share { owned: 6, total: 6 }, self.now);
        let mut started = 0;
        for _ in 0..count * 20 {
            match self.start() {
                Ok(()) => started += 1,
                Err(Wait { until: Some(until), .. }) => {
                    assert!(until > self.now, "it would ask again and again");
                    self.now = until;
                }
                Err(Wait { until: None, why }) => {
                    let permit = self.in_flight.pop().unwrap_or_else(|| panic!("{why:?} for ever"));
                    self.flow.ended(permit, healthy(), self.now);
                }
            }
            if started == count {
                break;
            }
        }
        started
    }
}

/// The most starts in any second, its end not included.
fn most_in_a_second(starts: &[u64]) -> usize {
    let within = |from: usize| starts.partition_point(|at| *at < starts[from] + SECOND) - from;
    (0..starts.len()).map(within).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn whatever_happens_it_keeps_its_bounds_and_recovers(
        events in prop::collection::vec(event(), 0..400),
    ) {
        let mut model = Model::new();
        for event in events {
            let clock = model.flow.stood_still(model.now);
            model.apply(event);
            prop_assert!(model.flow.stood_still(model.now) >= clock);
        }
        prop_assert_eq!(model.heal(40), 40);
        let rate = Rate::per_second(Model::PER_SECOND).unwrap();
        let most = Model::PER_SECOND + rate.burst();
        prop_assert!(most_in_a_second(&model.starts) as f64 <= most);
    }

    #[test]
    fn never_is_a_second_probe_under_way(
        ends in prop::collection::vec((0u64..20_000, prop::option::of(0u8..3)), 1..60),
    ) {
        let (mut flow, mut now) = (broken(at(1)), at(1));
        let mut probe: Option<Permit> = None;
        for (millis, end) in ends {
            now = now.plus(Duration::from_millis(millis));
            let is_half_open = flow.breaker() == State::HalfOpen;
            prop_assert_eq!(is_half_open, probe.is_some());
            match flow.admit(now) {
                Ok(permit) if flow.breaker() == State::HalfOpen => {
                    prop_assert!(permit.is_probe() && probe.is_none());
                    probe = Some(permit);
                }
                Ok(permit) => {
                    prop_assert!(!permit.is_probe());
                    flow.ended(permit, failed(), now);
                }
                Err(_) => {}
            }
            if let (Some(end), true) = (end, probe.is_some()) {
                let signals = [healthy(), failed(), Signals::NONE][usize::from(end)];
                flow.ended(probe.take().unwrap(), signals, now);
            }
        }
    }
}
