//! The judge judged: each of the three lies fails a run, a true one passes, and no mixture of
//! losses and doubles goes unnoticed.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use proptest::prelude::*;

use super::*;
use crate::receiver::{Fault, Options, Receiver};

fn promises(ids: &[&str]) -> Vec<Promise> {
    // The key is the first letter: a1 and a2 must stay in order, a1 and b1 need not.
    let promise =
        |id: &&str| Promise { id: id.to_string(), key: id[..1].to_owned(), accepted_ms: 0 };
    ids.iter().map(promise).collect()
}

fn takes(ids: &[&str]) -> Vec<Taken> {
    let at = |(place, id): (usize, &&str)| Taken { id: id.to_string(), at_ms: place as u64 };
    ids.iter().enumerate().map(at).collect()
}

fn run(accepted: &[&str], taken: &[&str]) -> Run {
    Run { accepted: promises(accepted), taken: takes(taken), ..Run::default() }
}

fn ids(ids: &[&str]) -> HashSet<String> {
    ids.iter().map(|id| id.to_string()).collect()
}

#[test]
fn a_whole_run_is_good() {
    let report = reconcile(&run(&["a1", "b1", "a2"], &["b1", "a1", "a2"]));
    assert_eq!((report.accepted, report.delivered, report.broken), (3, 3, vec![]));
}

#[test]
fn what_is_nowhere_is_lost() {
    let mut run = run(&["a1", "a2", "a3", "a4", "a5"], &["a1"]);
    (run.filtered, run.unrouted) = (ids(&["a2"]), ids(&["a3"]));
    run.dead_lettered = ids(&["a4"]);
    let report = reconcile(&run);
    assert_eq!((report.filtered, report.unrouted, report.dead_lettered), (1, 1, 1));
    assert_eq!((report.lost, report.lost_ids), (1, vec!["a5".to_owned()]));
    assert_eq!(report.broken, ["1 lost: a5"]);
}

/// A crash before every take, which has left these.
fn crash(may_repeat: &[&str]) -> Crash {
    let may_repeat: Vec<String> = may_repeat.iter().map(|id| id.to_string()).collect();
    Crash { at_ms: 0, left: may_repeat.len() as u64, may_repeat }
}

#[test]
fn doubles_are_counted_against_what_crashes_and_senders_explain() {
    let mut run = run(&["a1", "a2"], &["a1", "a2", "a1", "a2", "a2"]);
    (run.crashes, run.resent) = (vec![crash(&["a1", "a2"])], [("a2".to_owned(), 1)].into());
    let report = reconcile(&run);
    assert_eq!((report.doubled, report.doubled_allowed, report.unexplained), (3, 3, 0));
    assert_eq!((report.reordered_within_key, report.broken), (0, vec![]));
    run.resent.clear();
    assert_eq!(
        reconcile(&run).broken,
        ["1 doubled without a cause: a2", "3 doubled, 2 allowed: a1 a2"]
    );
}

#[test]
fn a_double_of_an_id_that_no_crash_had_left_breaks_a_run_with_few_doubles() {
    let mut run = run(&["a1", "b1"], &["a1", "b1", "b1"]);
    run.crashes = vec![crash(&["a1"; 400])];
    let report = reconcile(&run);
    assert_eq!((report.doubled, report.doubled_allowed), (1, 400));
    assert_eq!(report.unexplained_ids, ["b1"]);
    assert_eq!(report.broken, ["1 doubled without a cause: b1"]);
}

#[test]
fn the_total_of_doubles_is_held_against_what_was_left_whatever_may_repeat() {
    let mut run = run(&["a1", "b1"], &["a1", "b1", "a1", "b1"]);
    run.crashes = vec![Crash { left: 1, ..crash(&["a1", "b1"]) }];
    assert_eq!(reconcile(&run).broken, ["2 doubled, 1 allowed: a1 b1"]);
}

#[test]
fn no_crash_may_leave_more_unfinished_than_was_in_flight_and_five_hundred() {
    let mut run = run(&["a1"], &["a1"]);
    let left = |left| Crash { left, ..Crash::default() };
    (run.in_flight, run.crashes) = (10, vec![left(0), left(510)]);
    assert_eq!(reconcile(&run).broken, Vec::<String>::new());
    run.crashes.push(left(511));
    assert_eq!(reconcile(&run).broken, ["a crash left 511 unfinished, never more than 510"]);
}

#[test]
fn doubles_have_a_ceiling_whatever_is_allowed() {
    let mut run = run(&["a1"], &["a1"; 512]);
    (run.resent, run.in_flight) = ([("a1".to_owned(), 5_000)].into(), 10);
    assert_eq!(reconcile(&run).broken, ["511 doubled, never more than 510"]);
}

#[test]
fn only_the_order_within_a_key_counts() {
    let report = reconcile(&run(&["a1", "b1", "a2", "b2"], &["b1", "b2", "a2", "a1"]));
    assert_eq!((report.reordered_within_key, report.reordered_ids), (1, vec!["a1".to_owned()]));
}

#[test]
fn each_that_comes_after_a_later_one_is_late_and_an_id_counts_from_its_first_acceptance() {
    let late = |accepted: &[&str], taken: &[&str]| reconcile(&run(accepted, taken)).reordered_ids;
    assert_eq!(late(&["a1", "a2", "a3"], &["a3", "a1", "a2"]), ["a1", "a2"]);
    assert_eq!(late(&["a1", "a2", "a1"], &["a1", "a2"]), Vec::<String>::new());
}

#[test]
fn an_id_nobody_accepted_breaks_the_run() {
    assert_eq!(reconcile(&run(&["a1"], &["a1", "x1"])).broken, ["1 never accepted: x1"]);
}

#[test]
fn what_was_filtered_must_not_arrive() {
    let mut run = run(&["a1", "b1"], &["a1", "b1"]);
    run.filtered = ids(&["b1"]);
    assert_eq!(reconcile(&run).broken, ["1 delivered that nobody wanted"]);
}

#[test]
fn a_failpoint_never_hit_breaks_the_run() {
    let mut run = run(&["a1"], &["a1"]);
    run.hits = [("after_flush".to_owned(), 2), ("during_revoke".to_owned(), 0)].into();
    assert_eq!(reconcile(&run).broken, ["failpoints never hit: during_revoke"]);
}

#[test]
fn a_stall_over_the_limit_breaks_the_run() {
    let mut run = run(&["a1", "a2"], &["a1", "a2"]);
    run.taken[1].at_ms = 11_000;
    (run.stall_ms_max, run.key_stall_ms_max) = (Some(10_000), Some(10_000));
    let told = ["everything stood still for 11000 ms", "key a stood still for 11000 ms"];
    assert_eq!(reconcile(&run).broken, told);
    run.down = vec![Down { from_ms: 500, to_ms: 2_000 }];
    assert!(reconcile(&run).broken.is_empty());
}

#[test]
fn a_stall_of_everything_breaks_the_run_also_while_nothing_is_accepted() {
    let mut run = run(&["a1", "a2"], &["a1", "a2"]);
    (run.accepted[1].accepted_ms, run.taken[1].at_ms) = (11_000, 11_000);
    (run.stall_ms_max, run.key_stall_ms_max) = (Some(10_000), Some(10_000));
    assert_eq!(reconcile(&run).broken, ["everything stood still for 11000 ms"]);
}

#[test]
fn one_key_that_stands_still_among_many_that_flow_breaks_the_run() {
    let name = |number: usize| format!("{}{number}", ["b", "c", "d", "e"][number % 4]);
    let mut run = run(&["a1", "a2"], &["a1", "a2"]);
    for at_ms in (0..30_000).step_by(50) {
        let id = name(at_ms / 50);
        let key = id[..1].to_owned();
        let at_ms = at_ms as u64;
        run.accepted.push(Promise { id: id.clone(), key, accepted_ms: at_ms });
        run.taken.push(Taken { id, at_ms });
    }
    (run.stall_ms_max, run.key_stall_ms_max) = (Some(10_000), Some(10_000));
    (run.taken[0].at_ms, run.taken[1].at_ms) = (9_000, 19_000);
    let report = reconcile(&run);
    assert_eq!((report.longest_key_stall_ms, report.broken), (10_000, vec![]));
    run.taken[1].at_ms = 19_001;
    let report = reconcile(&run);
    assert_eq!(report.longest_stall_key.as_deref(), Some("a"));
    assert_eq!(report.broken, ["key a stood still for 10001 ms"]);
    run.down = vec![Down { from_ms: 18_000, to_ms: 18_100 }];
    assert!(reconcile(&run).broken.is_empty());
}

#[test]
fn a_run_without_events_shows_nothing() {
    assert_eq!(reconcile(&Run::default()).broken.len(), 1);
}

/// Sends four ids of two keys to a receiver that lies, and gives what is broken.
async fn broken_by(fault: Option<Fault>) -> Vec<String> {
    let accepted = ["a1", "b1", "a2", "b2"];
    let receiver = Receiver::with(Options { fault, ..Options::default() }).await;
    for id in accepted {
        let post = Request::post("/").header("webhook-id", id).header("x-key", &id[..1]);
        let post = post.body(Full::default()).unwrap();
        crate::request(receiver.address(), post, Duration::from_secs(10)).await.unwrap();
    }
    let taken = taken(&receiver.arrivals(), |arrival| arrival.id.clone());
    reconcile(&Run { accepted: promises(&accepted), taken, ..Run::default() }).broken
}

#[tokio::test]
async fn a_receiver_that_lies_fails_the_run() {
    assert!(broken_by(None).await.is_empty());
    assert_eq!(broken_by(Some(Fault::SwallowOne(2))).await, ["1 lost: b1"]);
    assert_eq!(
        broken_by(Some(Fault::DoubleOne(3))).await,
        ["1 doubled without a cause: a2", "1 doubled, 0 allowed: a2"]
    );
    assert_eq!(broken_by(Some(Fault::SwapTwo(1))).await, ["1 reordered within their key: a1"]);
}

#[test]
fn the_report_is_written_for_others_to_read() {
    let report = reconcile(&Run { scenario: "of-the-judge".to_owned(), ..run(&["a1"], &["a1"]) });
    let path = report.write().unwrap();
    let read: Report = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(read, report);
    fs::remove_file(path).unwrap();
}

proptest! {
    #[test]
    fn losses_and_doubles_are_counted_exactly(
        times in prop::collection::vec(0_usize..4, 1..60),
        shuffle in any::<u64>(),
    ) {
        let name = |place: usize| format!("{}{place}", char::from(b'a' + (place % 3) as u8));
        let accepted: Vec<String> = (0..times.len()).map(name).collect();
        let mut taken: Vec<String> = times
            .iter()
            .enumerate()
            .flat_map(|(place, times)| std::iter::repeat_n(name(place), *times))
            .collect();
        let in_order = {
            let (accepted, taken): (Vec<_>, Vec<_>) =
                (accepted.iter().map(String::as_str).collect(), taken.iter().map(String::as_str).collect());
            reconcile(&run(&accepted, &taken)).reordered_within_key
        };
        prop_assert_eq!(in_order, 0);
        let length = taken.len().max(1);
        taken.rotate_left(shuffle as usize % length);
        let (accepted, taken): (Vec<_>, Vec<_>) =
            (accepted.iter().map(String::as_str).collect(), taken.iter().map(String::as_str).collect());
        let report = reconcile(&run(&accepted, &taken));
        prop_assert_eq!(report.lost as usize, times.iter().filter(|times| **times == 0).count());
        prop_assert_eq!(report.doubled as usize, times.iter().map(|times| times.saturating_sub(1)).sum::<usize>());
        prop_assert_eq!(report.delivered + report.lost, report.accepted);
        prop_assert_eq!(report.broken.is_empty(), report.lost + report.doubled + report.reordered_within_key == 0);
    }
}
