//! The breaker by its promises, and against a model that keeps every attempt.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> MonoNanos {
    MonoNanos(seconds * SECOND)
}

fn policy() -> Policy {
    Policy { attempts_min: 4, ..Policy::default() }
}

fn attempt(breaker: &mut Breaker, ended: Ended, now: MonoNanos) -> Option<Change> {
    let permit = breaker.admit(now).unwrap();
    breaker.ended(permit, ended, now)
}

fn opened(now: MonoNanos) -> Breaker {
    let mut breaker = Breaker::new(policy());
    let changes = [(); 4].map(|()| attempt(&mut breaker, Ended::Failed, now));
    assert_eq!(changes, [None, None, None, Some(Change::Opened)]);
    breaker
}

#[test]
fn too_few_attempts_never_open_it() {
    let mut breaker = Breaker::new(policy());
    for second in 0..100 {
        assert_eq!(attempt(&mut breaker, Ended::Failed, at(second * 4)), None);
    }
}

#[test]
fn it_opens_at_the_ratio_and_not_before() {
    let mut breaker = Breaker::new(Policy { attempts_min: 1, error_ratio: 0.5, ..policy() });
    for _ in 0..3 {
        attempt(&mut breaker, Ended::Healthy, at(1));
    }
    let mut fail = || attempt(&mut breaker, Ended::Failed, at(1));
    assert_eq!([fail(), fail(), fail()], [None, None, Some(Change::Opened)]);
    assert_eq!(breaker.state(), State::Open { until: at(6) });
}

#[test]
fn another_policy_keeps_the_state_and_what_the_same_window_holds() {
    let mut breaker = opened(at(0));
    breaker.set_policy(Policy { open: Duration::from_secs(1), ..policy() });
    assert_eq!(breaker.state(), State::Open { until: at(5) }, "the open time runs on");
    let mut breaker = Breaker::new(policy());
    for _ in 0..3 {
        attempt(&mut breaker, Ended::Failed, at(1));
    }
    breaker.set_policy(Policy { attempts_min: 5, ..policy() });
    let changes = [(); 2].map(|()| attempt(&mut breaker, Ended::Failed, at(1)));
    assert_eq!(changes, [None, Some(Change::Opened)]);
}

#[test]
fn half_open_lets_one_probe_through_and_its_success_closes() {
    let mut breaker = opened(at(0));
    assert_eq!((breaker.admits(at(4)), breaker.admit(at(4))), (false, None));
    let probe = breaker.admit(at(5)).unwrap();
    assert!(probe.is_probe && breaker.state() == State::HalfOpen);
    assert_eq!(breaker.admit(at(500)), None, "a second probe");
    assert_eq!(breaker.ended(probe, Ended::Healthy, at(6)), Some(Change::Closed));
    assert_eq!(attempt(&mut breaker, Ended::Failed, at(6)), None, "old errors are forgotten");
}

#[test]
fn each_failed_probe_doubles_the_open_time_up_to_its_maximum() {
    let (mut breaker, mut now) = (opened(at(0)), 5);
    for open in [10, 20, 40, 60, 60] {
        assert_eq!(attempt(&mut breaker, Ended::Failed, at(now)), Some(Change::Reopened));
        now += open;
        assert_eq!(breaker.state(), State::Open { until: at(now) });
    }
}

#[test]
fn opening_again_soon_after_closing_stays_open_longer() {
    for (healthy_seconds, open) in [(9, 10), (10, 5)] {
        let mut breaker = opened(at(0));
        assert_eq!(attempt(&mut breaker, Ended::Healthy, at(5)), Some(Change::Closed));
        let now = 5 + healthy_seconds;
        let _ = [(); 4].map(|()| attempt(&mut breaker, Ended::Failed, at(now)));
        assert_eq!(breaker.state(), State::Open { until: at(now + open) });
    }
}

#[test]
fn a_probe_that_says_nothing_leaves_its_place_to_the_next() {
    let mut breaker = opened(at(0));
    let probe = breaker.admit(at(5)).unwrap();
    assert_eq!(breaker.ended(probe, Ended::Untold, at(7)), Some(Change::ProbeReturned));
    assert!(breaker.admit(at(7)).is_some_and(|permit| permit.is_probe));
    assert_eq!(breaker.ended(probe, Ended::Healthy, at(8)), None, "ended twice");
}

#[test]
fn an_attempt_begun_before_it_opened_says_nothing_afterwards() {
    let mut breaker = Breaker::new(policy());
    let early = breaker.admit(at(0)).unwrap();
    let _ = [(); 4].map(|()| attempt(&mut breaker, Ended::Failed, at(1)));
    assert_eq!(breaker.ended(early, Ended::Healthy, at(2)), None);
    let _probe = breaker.admit(at(6)).unwrap();
    assert_eq!(breaker.ended(early, Ended::Failed, at(7)), None);
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[test]
fn an_operators_probe_ends_the_open_time() {
    let mut breaker = opened(at(0));
    assert!(breaker.probe_now(at(1)) && breaker.admit(at(1)).is_some());
    assert!(!breaker.probe_now(at(1)), "it is half open");
}

/// A breaker that keeps every attempt and looks through all of them.
struct Model {
    policy: Policy,
    attempts: Vec<(MonoNanos, bool)>,
    state: State,
    opened: u32,
    closed_at: Option<MonoNanos>,
}

impl Model {
    fn counted(&mut self, failed: bool, now: MonoNanos) {
        self.attempts.push((now, failed));
        let bucket = |at: MonoNanos| at.0 / (self.policy.window.as_nanos() as u64 / 10);
        let recent = self.attempts.iter().filter(|(at, _)| bucket(*at) + 10 > bucket(now));
        let (all, errors) = recent.fold((0, 0), |(n, f), (_, failed)| (n + 1, f + *failed as u32));
        if failed
            && all >= self.policy.attempts_min
            && f64::from(errors) / f64::from(all) >= self.policy.error_ratio
        {
            let again = self.closed_at.is_some_and(|at| now.since(at) < self.policy.window);
            self.opened = if again { self.opened } else { 0 };
            self.open(now);
        }
    }

    fn open(&mut self, now: MonoNanos) {
        let factor = 2u32.pow(self.opened.min(20));
        self.opened += 1;
        let open = (self.policy.open * factor).min(self.policy.open_max);
        self.state = State::Open { until: now.plus(open) };
    }

    fn ended(&mut self, ended: Ended, now: MonoNanos) {
        match (self.state, ended) {
            (State::Closed, Ended::Untold) => {}
            (State::Closed, _) => self.counted(ended == Ended::Failed, now),
            (State::HalfOpen, Ended::Failed) => self.open(now),
            (State::HalfOpen, Ended::Untold) => self.state = State::Open { until: now },
            (State::HalfOpen, Ended::Healthy) => {
                self.state = State::Closed;
                self.attempts.clear();
                self.closed_at = Some(now);
            }
            (State::Open { .. }, _) => unreachable!("nothing is in flight that counts"),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Begin,
    End(prop::sample::Index, Ended),
    ProbeNow,
}

fn steps() -> impl Strategy<Value = Step> {
    let ended = prop_oneof![
        2 => Just(Ended::Healthy), 3 => Just(Ended::Failed), 1 => Just(Ended::Untold)
    ];
    prop_oneof![
        3 => (0u64..4_000).prop_map(Step::Wait),
        10 => Just(Step::Begin),
        9 => (any::<prop::sample::Index>(), ended).prop_map(|(which, e)| Step::End(which, e)),
        1 => Just(Step::ProbeNow),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_breaker_does_that_keeps_everything(
        steps in prop::collection::vec(steps(), 0..400),
        attempts_min in 1u32..8, ratio in 1u32..=10,
    ) {
        let policy =
            Policy { attempts_min, error_ratio: f64::from(ratio) / 10.0, ..Policy::default() };
        let mut breaker = Breaker::new(policy);
        let mut model =
            Model { policy, attempts: vec![], state: State::Closed, opened: 0, closed_at: None };
        // In flight, with how many states the model had been in at the start.
        let (mut flight, mut turn, mut now): (Vec<(Permit, u32)>, _, _) = (vec![], 0, MonoNanos(0));
        for step in steps {
            let before = model.state;
            match step {
                Step::Wait(millis) => now = now.plus(Duration::from_millis(millis)),
                Step::Begin => {
                    let may = match model.state {
                        State::Closed => true,
                        State::Open { until } => now >= until,
                        State::HalfOpen => false,
                    };
                    prop_assert_eq!(breaker.admits(now), may);
                    let permit = breaker.admit(now);
                    prop_assert_eq!(permit.is_some(), may);
                    if may && model.state != State::Closed {
                        model.state = State::HalfOpen;
                        turn += 1;
                    }
                    flight.extend(permit.map(|permit| (permit, turn)));
                }
                Step::End(_, _) if flight.is_empty() => {}
                Step::End(which, ended) => {
                    let (permit, of_turn) = flight.swap_remove(which.index(flight.len()));
                    let change = breaker.ended(permit, ended, now);
                    if of_turn == turn {
                        model.ended(ended, now);
                        turn += u32::from(model.state != before);
                    }
                    prop_assert_eq!(change.is_some(), model.state != before);
                }
                Step::ProbeNow => {
                    let open = breaker.probe_now(now);
                    if let State::Open { until } = &mut model.state {
                        *until = now.min(*until);
                    }
                    prop_assert_eq!(open, model.state != State::Closed && model.state != State::HalfOpen);
                }
            }
            prop_assert_eq!(breaker.state(), model.state);
            let probes = flight.iter().filter(|(permit, of)| permit.is_probe && *of == turn).count();
            prop_assert_eq!(probes, usize::from(model.state == State::HalfOpen));
        }
    }
}
