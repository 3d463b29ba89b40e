//! Dead letters put through again, on the embedded broker.

use chassis::Hook;
use dlq_replayer::{Choice, Ended, Error, Filter, Job, PageOrder, Status};
use tokio_util::sync::CancellationToken;
use wire::headers;

use crate::world::{AMPLE, Letter, World, all, counts, list, replay, text, wanted};

#[tokio::test(flavor = "multi_thread")]
async fn every_letter_goes_into_its_lane_once_as_it_was() {
    let world = World::embedded().await;
    let letter = |number: i64| Letter { partition: (number % 2) as i32, ..Letter::new(number) };
    world.write((0..10).map(letter)).await;
    world.write([letter(9)]).await;
    let job = replay(&world.replayer(), all()).await;
    let wanted = counts(|counts| {
        (counts.scanned, counts.chosen, counts.republished, counts.doubles) = (11, 10, 10, 1);
    });
    assert_eq!((job.status, job.counts), (Status::Done, wanted));
    let records = world.read(world.names.out_replay("crm")).await;
    assert_eq!(records.len(), 10);
    let letters = world.read(world.letters()).await;
    for record in &records {
        let event = text(record, headers::CE_ID);
        let letter = letters.iter().find(|letter| text(letter, headers::CE_ID) == event).unwrap();
        assert_eq!((&record.key, &record.value), (&letter.key, &letter.value));
        assert_eq!(record.partition, letter.partition);
        assert_eq!(headers::replay_count(&record.headers), 1);
        assert_eq!(text(record, headers::REPLAY_JOB), job.id.as_str());
        assert_eq!(text(record, headers::REPLAY_BY), "ann");
        assert!(record.headers.iter().all(|(name, _)| !name.starts_with(headers::DLQ_PREFIX)));
    }
    let audit = world.read(world.names.audit()).await;
    let told = audit.iter().map(|record| record.value.as_deref().unwrap());
    let told: Vec<serde_json::Value> = told.map(|v| serde_json::from_slice(v).unwrap()).collect();
    let what: Vec<&str> = told.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["replay_started", "replay_finished"]);
    assert_eq!(
        (told[1]["by"].as_str(), &told[1]["counts"]["republished"]),
        (Some("ann"), &10.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replayed_is_shown_and_left_out_unless_asked_for_again() {
    let world = World::embedded().await;
    world.write((0..3).map(Letter::new)).await;
    let replayer = world.replayer();
    let first = replay(&replayer, all()).await;
    world.write([Letter::new(3)]).await;
    let shown = list(&replayer, Filter::default(), PageOrder::Oldest, 10).await;
    let by: Vec<bool> = shown.iter().map(|l| l.replayed_by.as_ref() == Some(&first.id)).collect();
    assert_eq!(by, [true, true, true, false]);
    let second = replay(&replayer, all()).await;
    assert_eq!((second.counts.republished, second.counts.replayed_before), (1, 3));
    let again = replay(&replayer, dlq_replayer::Wanted { again: true, ..all() }).await;
    assert_eq!((again.counts.republished, again.counts.replayed_before), (4, 0));
    assert_eq!(world.lane().await.len(), 3 + 1 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_named_by_id_are_replayed_and_their_doubles_count_with_them() {
    let world = World::embedded().await;
    let ids = world.write([0, 1, 2, 1, 3].map(Letter::new)).await;
    let replayer = world.replayer();
    let chosen = Choice::Ids(vec![ids[1].clone(), ids[4].clone()]);
    let job = replay(&replayer, wanted(chosen)).await;
    assert_eq!((job.counts.republished, job.counts.doubles), (2, 1));
    assert_eq!(world.lane().await, ["evt-1", "evt-3"]);
    let rest = replay(&replayer, all()).await;
    assert_eq!((rest.counts.republished, rest.counts.replayed_before), (2, 2));
    let missing = wanted(Choice::Ids(vec!["t.dlq.deliver.crm/0/99".parse().unwrap()]));
    assert!(matches!(replayer.start(missing).await, Err(Error::NoSuchLetter(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_replayed_too_often_is_set_aside_and_can_still_be_shown_and_replayed() {
    let world = World::embedded().await;
    world
        .write([Letter { replays: 3, ..Letter::new(0) }, Letter { replays: 2, ..Letter::new(1) }])
        .await;
    let replayer = world.replayer();
    let job = replay(&replayer, all()).await;
    assert_eq!((job.counts.quarantined, job.counts.republished), (1, 1));
    assert_eq!(world.lane().await, ["evt-1"]);
    let quarantine = Filter { topics: vec![world.names.quarantine()], ..Filter::default() };
    let aside = list(&replayer, quarantine.clone(), PageOrder::Newest, 10).await;
    assert_eq!(aside.len(), 1);
    assert_eq!((aside[0].event_id.as_str(), aside[0].replay_count), ("evt-0", 3));
    let shown = replayer.show(&aside[0].id).await.unwrap();
    assert_eq!(shown.decoded.unwrap()["event_id"], "evt-0");
    // Whoever has mended the cause raises the cap, and it goes where it came from.
    let raised = dlq_replayer::Wanted { replays_max: 9, ..wanted(Choice::Filter(quarantine)) };
    assert_eq!(replay(&replayer, raised).await.counts.republished, 1);
    assert_eq!(world.lane().await, ["evt-1", "evt-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_come_after_the_start_are_none_of_the_jobs_business() {
    let world = World::embedded().await;
    world.write((0..3).map(Letter::new)).await;
    let replayer = world.replayer();
    let job = replayer.start(all()).await.unwrap();
    world.write((3..6).map(Letter::new)).await;
    replayer.run_job(&job.id, CancellationToken::new(), |_| {}).await.unwrap();
    assert_eq!(world.lane().await, ["evt-0", "evt-1", "evt-2"]);
    // A job that is done stays done.
    let ended = replayer.run_job(&job.id, CancellationToken::new(), |_| {}).await.unwrap();
    assert!(matches!(ended, Ended::Done(job) if job.counts.republished == 3));
    assert_eq!(world.lane().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_job_goes_on_where_it_stopped() {
    let world = World::embedded().await;
    world.write((0..2500).map(Letter::new)).await;
    let replayer = world.replayer();
    let job = replayer.start(all()).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = replayer.run_job(&job.id, stop, |_| {}).await.unwrap();
    assert_eq!(ended, Ended::Stopped);
    let other = world.replayer();
    let ended = other.run_job(&job.id, CancellationToken::new(), |_| {}).await.unwrap();
    assert!(matches!(&ended, Ended::Done(job) if job.counts.republished == 2500), "{ended:?}");
    let mut lane = world.lane().await;
    lane.sort();
    lane.dedup();
    assert_eq!((lane.len(), world.lane().await.len()), (2500, 2500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_job_is_heard_of_while_it_passes_over_what_is_done() {
    let world = World::embedded().await;
    world.write((0..2500).map(Letter::new)).await;
    let of = |failpoint| world.replayer().with_hook(Hook::parse(failpoint).unwrap());
    // Its transactions are slow, so that what it has done is recorded before it is stopped.
    let first = of("replay.after_commit=delay:1100ms");
    let job = first.start(all()).await.unwrap();
    let (stop, token) = (CancellationToken::new(), CancellationToken::new());
    let stopping = stop.clone();
    let told = move |progress: &dlq_replayer::Progress| {
        if progress.passed >= 1000 {
            stopping.cancel();
        }
    };
    assert_eq!(first.run_job(&job.id, stop, told).await.unwrap(), Ended::Stopped);
    // Passing over a thousand letters takes it more than two heartbeats.
    let second = of("replay.passed_over=delay:5ms");
    let ended = second.run_job(&job.id, token, |_| {}).await.unwrap();
    let Ended::Done(done) = ended else { panic!("{ended:?}") };
    let state = world.read(world.names.state()).await;
    let told = state.iter().map(|record| record.value.as_deref().unwrap());
    let jobs: Vec<Job> = told.map(|value| serde_json::from_slice(value).unwrap()).collect();
    let passing: Vec<&Job> = jobs.iter().filter(|job| job.runner == done.runner).collect();
    let passing = &passing[..passing.len() - 1];
    assert!(passing.len() >= 3, "claimed and heard of twice: {passing:?}");
    let scanned: Vec<u64> = passing.iter().map(|job| job.counts.scanned).collect();
    assert!(scanned[0] > 0 && scanned.is_sorted(), "what was done is taken back: {scanned:?}");
    assert_eq!((done.status, done.counts.republished), (Status::Done, 2500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_which_too_much_fails_ends_and_claims_no_more_than_it_passed() {
    let world = World::embedded().await;
    let home = (headers::DLQ_SOURCE_TOPIC.to_owned(), "t.dlq.deliver.gone".into());
    let quarantine = world.names.quarantine();
    let puts = (0..1005).map(|_| world.put(&quarantine, "x".into(), vec![home.clone()]));
    futures::future::join_all(puts).await;
    let replayer = world.replayer();
    let filter = Filter { topics: vec![quarantine], ..Filter::default() };
    let job = replay(&replayer, wanted(Choice::Filter(filter.clone()))).await;
    assert_eq!((job.counts.failed, job.cut_short, job.ranges[0].to), (1000, true, 1000));
    let rest = replayer.dry_run(wanted(Choice::Filter(filter)), |_| {}).await.unwrap();
    assert_eq!((rest.chosen, rest.replayed_before), (1005, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_stops_while_the_cluster_is_away() {
    let world = World::embedded().await;
    world.write((0..3).map(Letter::new)).await;
    let replayer = world.replayer();
    let job = replayer.start(all()).await.unwrap();
    world.broker.as_ref().unwrap().down().unwrap();
    let stop = CancellationToken::new();
    let (told, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let (id, runner, token) = (job.id.clone(), replayer.clone(), stop.clone());
    let running = tokio::spawn(async move {
        let told = move |progress: &dlq_replayer::Progress| {
            let _ = told.send(progress.waiting.clone());
        };
        runner.run_job(&id, token, told).await
    });
    assert!(waits.recv().await.unwrap().is_some_and(|why| !why.is_empty()));
    stop.cancel();
    let ended = tokio::time::timeout(AMPLE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(ended, Ended::Stopped);
    world.broker.as_ref().unwrap().up().unwrap();
    let ended = replayer.run_job(&job.id, CancellationToken::new(), |_| {}).await.unwrap();
    assert!(matches!(ended, Ended::Done(job) if job.counts.republished == 3));
}
