//! The line by its promises: in turn, woken in time, and nothing kept by who has gone.

use chassis::Metrics;
use domain::{
    breaker::{self, Ended as Health, State},
    limit::Ended as Load,
    rate::Rate,
};
use tokio::time::{Instant, timeout};

use super::*;
use crate::series::Families;

const SOON: Duration = Duration::from_secs(20);
/// Long enough for what would happen at once, had it not to wait.
const MOMENT: Duration = Duration::from_millis(30);

fn numbers(ceiling: u32) -> Numbers {
    let breaker = breaker::Policy {
        attempts_min: 1,
        open: Duration::from_millis(50),
        ..breaker::Policy::default()
    };
    Numbers { rate: Rate::UNLIMITED, breaker, floor: ceiling, ceiling }
}

fn line(numbers: Numbers) -> Arc<Line> {
    line_at(numbers, Clock::new())
}

fn line_at(numbers: Numbers, clock: Clock) -> Arc<Line> {
    let pace = Families::new(&Metrics::default()).pace.of("crm");
    let line = Line::new("crm", numbers, clock, pace);
    line.set_share(Share::WHOLE);
    line
}

/// Two destinations that share so many attempts a second.
fn sharing(per_second: f64) -> [Arc<Line>; 2] {
    let clock = Clock::new();
    let pool = Arc::new(Pool::new(Rate::per_second(per_second).unwrap(), clock));
    pool.set_share("both", Some(Share::WHOLE));
    [(); 2].map(|()| {
        let line = line_at(numbers(100), clock);
        line.set_pool(Some(pool.clone()));
        line
    })
}

fn signals(health: Health) -> Signals {
    Signals { health, load: Load::Failed, asked: None }
}

async fn leave(line: &Arc<Line>) -> Leave {
    timeout(SOON, line.leave()).await.expect("leave is given in time")
}

async fn has_to_wait(line: &Arc<Line>) -> bool {
    timeout(MOMENT, line.leave()).await.is_err()
}

#[tokio::test]
async fn those_who_wait_are_served_in_turn_and_nobody_passes_them() {
    let line = line(numbers(1));
    let first = leave(&line).await;
    let (tell, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..5 {
        let (waiting, tell) = (line.clone(), tell.clone());
        tokio::spawn(async move {
            let leave = waiting.leave().await;
            tell.send(number).unwrap();
            leave.ended(signals(Health::Healthy));
        });
        // On one thread each is in the line before the next begins.
        tokio::task::yield_now().await;
    }
    assert!(line.try_leave().is_none(), "others wait");
    first.ended(signals(Health::Healthy));
    assert!(line.try_leave().is_none(), "others wait still");
    for number in 0..5 {
        assert_eq!(timeout(SOON, served.recv()).await.unwrap(), Some(number));
    }
    drop(leave(&line).await);
}

#[tokio::test]
async fn who_waits_for_the_share_is_woken_when_no_more_is_in_flight_than_it_allows() {
    let line = line(numbers(4));
    let mut leaves = Vec::new();
    for _ in 0..3 {
        leaves.push(leave(&line).await);
    }
    let within = |line: &Arc<Line>| {
        let line = line.clone();
        tokio::spawn(async move { line.within_share().await })
    };
    timeout(SOON, line.within_share()).await.expect("three of four");
    line.set_share(Share { owned: 1, total: 2 });
    let half = within(&line);
    tokio::task::yield_now().await;
    assert!(!half.is_finished(), "three of two");
    leaves.pop();
    timeout(SOON, half).await.expect("two of two").unwrap();
    line.set_share(Share { owned: 0, total: 2 });
    let none = within(&line);
    leaves.pop();
    tokio::task::yield_now().await;
    assert!(!none.is_finished(), "one of none");
    leaves.pop();
    timeout(SOON, none).await.expect("none of none").unwrap();
}

#[tokio::test]
async fn destinations_that_share_a_rate_take_of_it_in_turn_and_no_more_than_it() {
    let lines = sharing(100.0);
    let begun = Instant::now();
    let (tell, mut served) = tokio::sync::mpsc::unbounded_channel();
    // The first one asks with five lanes, the other with one.
    for number in [0, 0, 0, 0, 0, 1] {
        let (line, tell) = (lines[number].clone(), tell.clone());
        tokio::spawn(async move {
            loop {
                line.leave().await.ended(signals(Health::Healthy));
                if tell.send(number).is_err() {
                    return;
                }
            }
        });
    }
    let mut counts = [0_u32; 2];
    for _ in 0..30 {
        counts[timeout(SOON, served.recv()).await.unwrap().unwrap()] += 1;
    }
    // From the clock's beginning on, its burst of 5 included.
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    assert!(counts[0].abs_diff(counts[1]) <= 2, "{counts:?}");
}

#[tokio::test]
async fn who_waits_for_something_of_its_own_keeps_no_turn_of_a_shared_rate() {
    let [held, other] = sharing(50.0);
    held.hold(Some(Hold::Paused));
    let waiting = tokio::spawn({
        let held = held.clone();
        async move { drop(held.leave().await) }
    });
    for _ in 0..5 {
        drop(leave(&other).await);
    }
    assert!(!waiting.is_finished());
    held.hold(None);
    timeout(SOON, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_shares_a_rate_no_longer_waits_for_it_no_longer() {
    let lines = sharing(0.001);
    let waiting = lines.clone().map(|line| {
        assert!(line.try_leave().is_none());
        tokio::spawn(async move { drop(line.leave().await) })
    });
    for line in &lines {
        assert!(has_to_wait(line).await);
    }
    // The one behind first, while the other has the rate's turn.
    for (line, waiting) in lines.iter().zip(waiting).rev() {
        line.set_pool(None);
        timeout(SOON, waiting).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_gives_up_waiting_stops_nobody_behind() {
    let line = line(numbers(1));
    let first = leave(&line).await;
    assert!(has_to_wait(&line).await, "and is gone then");
    drop(first);
    drop(leave(&line).await);
    assert!(line.try_leave().is_some());
}

#[tokio::test]
async fn who_waits_for_a_time_is_woken_then_and_not_before() {
    let line = line(numbers(4));
    let asked = Some(Duration::from_millis(120));
    let begun = Instant::now();
    leave(&line).await.ended(Signals { asked, ..signals(Health::Healthy) });
    assert!(line.is_shut() && line.try_leave().is_none());
    drop(leave(&line).await);
    assert!(begun.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn an_open_breaker_gives_one_probe_and_a_lost_one_is_given_again() {
    let line = line(numbers(4));
    leave(&line).await.ended(signals(Health::Failed));
    assert!(line.is_shut());
    let probe = leave(&line).await;
    assert_eq!(line.flow.lock().breaker(), State::HalfOpen);
    assert!(has_to_wait(&line).await, "a second probe");
    drop(probe);
    let probe = leave(&line).await;
    assert!(line.stood_still() >= Duration::from_millis(50));
    probe.ended(signals(Health::Healthy));
    assert!(!line.is_shut());
    let both = (leave(&line).await, leave(&line).await);
    drop(both);
}

#[tokio::test]
async fn a_hold_keeps_everything_back_until_it_is_lifted() {
    let line = line(numbers(4));
    line.hold(Some(Hold::Paused));
    assert!(line.is_shut() && has_to_wait(&line).await);
    let waiting = tokio::spawn({
        let line = line.clone();
        async move { line.leave().await.ended(signals(Health::Healthy)) }
    });
    tokio::task::yield_now().await;
    line.hold(Some(Hold::Disabled));
    assert!(line.is_shut() && !waiting.is_finished());
    line.hold(None);
    timeout(SOON, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_share_that_grows_wakes_who_waits() {
    let line = line(numbers(1));
    line.set_share(Share { owned: 0, total: 2 });
    line.set_numbers(Numbers { rate: Rate::per_second(1_000.0).unwrap(), ..numbers(2) });
    assert!(has_to_wait(&line).await, "without a share nothing is due");
    let waiting = tokio::spawn({
        let line = line.clone();
        async move { drop(line.leave().await) }
    });
    tokio::task::yield_now().await;
    line.set_share(Share::WHOLE);
    timeout(SOON, waiting).await.unwrap().unwrap();
}
