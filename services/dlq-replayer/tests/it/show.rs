//! Dead letters listed, shown and counted.

use dlq_replayer::{Error, Filter, PageOrder, Summary};
use domain::dead_letter::Reason;

use crate::world::{Letter, World, all, counts, list};

fn events(letters: &[Summary]) -> Vec<&str> {
    letters.iter().map(|letter| letter.event_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_letter_once_newest_or_oldest_first() {
    let world = World::embedded().await;
    let in_turn = |number: i64| Letter { partition: (number % 2) as i32, ..Letter::new(number) };
    world.write((0..25).map(in_turn)).await;
    // Two letters of one origin are one.
    world.write([Letter { event: "evt-24".into(), ..in_turn(24) }]).await;
    let replayer = world.replayer();
    let newest = list(&replayer, Filter::default(), PageOrder::Newest, 7).await;
    let wanted: Vec<String> = (0..25).rev().map(|number| format!("evt-{number}")).collect();
    assert_eq!(events(&newest), wanted);
    let mut oldest = list(&replayer, Filter::default(), PageOrder::Oldest, 7).await;
    assert_eq!(oldest.len(), 25);
    assert!(oldest.is_sorted_by_key(|letter| letter.id.clone()));
    oldest.sort_by_key(|letter| std::cmp::Reverse(letter.at_ms));
    assert_eq!(events(&oldest), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_narrows_list_and_count_alike() {
    let world = World::embedded().await;
    let spent = |number| Letter { reason: Reason::BudgetSpent, ..Letter::new(number) };
    world.write((0..10).map(Letter::new).chain((10..14).map(spent))).await;
    let replayer = world.replayer();
    let rows = [
        (Filter { reasons: vec![Reason::BudgetSpent], ..Filter::default() }, 4),
        (Filter { since_ms: Some(1_700_000_000_012), ..Filter::default() }, 2),
        (Filter { until_ms: Some(1_700_000_000_003), ..Filter::default() }, 3),
        (Filter { destinations: vec!["crm".into()], ..Filter::default() }, 14),
        (Filter { destinations: vec!["erp".into()], ..Filter::default() }, 0),
        (Filter { sources: vec!["shop".into()], ..Filter::default() }, 14),
        (Filter { topics: vec![world.letters()], ..Filter::default() }, 14),
    ];
    for (filter, wanted) in rows {
        let shown = list(&replayer, filter.clone(), PageOrder::Newest, 3).await;
        assert_eq!(shown.len(), wanted, "{filter:?}");
        let choice = dlq_replayer::Choice::Filter(filter.clone());
        let counted = replayer.dry_run(crate::world::wanted(choice), |_| {}).await.unwrap();
        assert_eq!(counted.republished, wanted as u64, "{filter:?}");
    }
    let unknown = Filter { topics: vec!["t.dlq.deliver.none".into()], ..Filter::default() };
    let query = dlq_replayer::Query { filter: unknown, ..Default::default() };
    assert!(matches!(replayer.list(query).await, Err(Error::Asked(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_shown_with_its_reason_its_origin_and_its_decoded_value() {
    let world = World::embedded().await;
    let ids = world.write([Letter::new(7)]).await;
    let replayer = world.replayer();
    let shown = replayer.show(&ids[0]).await.unwrap();
    assert_eq!(shown.summary.id, ids[0]);
    assert_eq!(shown.summary.reason, Some(Reason::Permanent));
    assert_eq!(shown.summary.origin.unwrap().to_string(), "t.out.crm/0/7");
    assert_eq!(shown.key.as_deref(), Some("evt-7"));
    let decoded = shown.decoded.unwrap();
    assert_eq!(decoded["request"]["body"]["total"], 7);
    assert_eq!(decoded["event_id"], "evt-7");
    for missing in ["t.dlq.deliver.crm/0/99", "t.dlq.deliver.crm/9/0", "t.dlq.deliver.none/0/0"] {
        let id = missing.parse().unwrap();
        let refused = replayer.show(&id).await;
        assert!(matches!(refused, Err(Error::NoSuchLetter(_))), "{missing}: {refused:?}");
    }
    let other = replayer.show(&"t.out.crm/0/0".parse().unwrap()).await;
    assert!(matches!(other, Err(Error::Asked(_))), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_changes_nothing() {
    let world = World::embedded().await;
    world.write((0..6).map(Letter::new)).await;
    world.write([Letter::new(5), Letter { replays: 3, ..Letter::new(6) }]).await;
    let replayer = world.replayer();
    let counted = replayer.dry_run(all(), |_| {}).await.unwrap();
    let wanted = counts(|counts| {
        (counts.scanned, counts.chosen, counts.republished) = (8, 7, 6);
        (counts.doubles, counts.quarantined) = (1, 1);
    });
    assert_eq!(counted, wanted);
    assert!(world.lane().await.is_empty());
    assert!(replayer.jobs().await.unwrap().is_empty());
}
