//! One event's story, found by each id that somebody may have.

use dlq_replayer::{Choice, Error, Filter, Happened, PageOrder, Story, StoryQuery};
use domain::dead_letter::Reason;
use wire::{
    Breaker, Delivery, Envelope, Fallback, HandedOver, Header, Latency, Outcome, Receipt, Recorded,
    Request, headers,
};

use crate::world::{Letter, World, all, delivery, list, replay, wanted};

const SINCE: i64 = 1_600_000_000_000;

fn event(id: &str) -> Envelope {
    let given = Header { name: "x-github-delivery".into(), value: format!("given-{id}") };
    Envelope {
        event_id: id.to_owned(),
        source: "shop".to_owned(),
        event_type: "order.paid".to_owned(),
        subject: None,
        time_ms: SINCE + 1,
        received_ms: SINCE + 2,
        correlation_id: format!("cor-{id}"),
        causation_id: None,
        content_type: "application/json".to_owned(),
        http_headers: vec![given],
        body: br#"{"total":7}"#.to_vec(),
    }
}

fn receipt(id: &str) -> Receipt {
    let delivery = delivery(id);
    Receipt {
        delivery_id: delivery.delivery_id.clone(),
        event_id: delivery.event_id,
        source: delivery.source,
        event_type: delivery.event_type,
        route: delivery.route,
        destination: delivery.destination,
        correlation_id: delivery.correlation_id,
        at_ms: SINCE + 10,
        attempt_number: 1,
        outcome: Outcome::Permanent,
        settled: true,
        status: Some(410),
        error: None,
        latency: Latency {
            connect_ms: Some(0.31),
            first_byte_ms: Some(12.0),
            total_ms: Some(12.04),
            ..Latency::default()
        },
        response_headers: Vec::new(),
        response_body: Some(b"gone".to_vec()),
        response_truncated: false,
        provider_request_id: Some(format!("req-{id}")),
        idempotency_key: delivery.delivery_id,
        next_attempt_ms: None,
        dead_letter_reason: Some("permanent".to_owned()),
        handed_over: None,
        trace_id: None,
        breaker: Breaker::HalfOpen,
    }
}

async fn write<T: Recorded>(world: &World, topic: String, record: &T, headers: headers::Headers) {
    let schema = world.registry.register(&wire::subject(&topic), T::KIND).await.unwrap();
    world.put(&topic, wire::encode(record, schema).unwrap(), headers).await;
}

/// Lets an event be accepted, mapped, refused and given up on.
async fn live_through(world: &World, id: &str, letter: i64) {
    let (names, event, delivery, receipt) = (&world.names, event(id), delivery(id), receipt(id));
    let trace = domain::trace::TraceContext { trace_id: [7; 16], span_id: [1; 8], sampled: true };
    let of_event = headers::cloud_event(&event, Some(trace));
    write(world, names.raw("shop"), &event, of_event).await;
    write(world, names.out("crm"), &delivery, headers::delivery(&delivery, None, None)).await;
    write(world, names.receipts(), &receipt, headers::receipt(&receipt, None, None)).await;
    world.write([Letter { event: id.to_owned(), ..Letter::new(letter) }]).await;
}

async fn tell(world: &World, id: &str) -> Story {
    let query = StoryQuery { id: id.to_owned(), since_ms: SINCE, until_ms: None };
    world.replayer().story(query, |_| {}).await.unwrap()
}

fn happened(story: &Story) -> Vec<Happened> {
    story.entries.iter().map(|entry| entry.happened).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_found_by_every_id_and_holds_nothing_of_others() {
    let world = World::embedded().await;
    live_through(&world, "evt-a", 0).await;
    live_through(&world, "evt-ab", 1).await;
    replay(&world.replayer(), all()).await;
    let whole = [
        Happened::Accepted,
        Happened::Mapped,
        Happened::Attempted,
        Happened::DeadLettered,
        Happened::ReplayedToDeliver,
    ];
    for id in ["evt-a", "cor-evt-a", "given-evt-a", "req-evt-a"] {
        let story = tell(&world, id).await;
        assert_eq!(happened(&story), whole, "{id}");
        assert!(story.entries.iter().all(|entry| entry.event_id == "evt-a"), "{id}");
        assert!(story.complete);
        assert_eq!(story.trace_ids, ["07".repeat(16)]);
    }
    let of_delivery = tell(&world, "del-evt-a").await;
    assert_eq!(happened(&of_delivery), whole[1..]);
    let story = tell(&world, "evt-a").await;
    let told: Vec<&str> = story.entries.iter().map(|entry| entry.told.as_str()).collect();
    assert_eq!(told[0], "order.paid from shop");
    assert_eq!(told[1], "to crm by shop-to-crm");
    assert_eq!(
        told[2],
        "to crm, attempt 1: permanent, 410, the last; 12.0 ms (connect 0.3, first byte 12.0); their id req-evt-a; the breaker's probe"
    );
    assert_eq!(told[3], "permanent: 410 gone");
    assert!(told[4].starts_with("by ann, job "), "{}", told[4]);
    let details = story.entries[2].details.as_ref().unwrap();
    assert_eq!(
        (&details["response_body"], &details["breaker"]),
        (&"gone".into(), &"half_open".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_tells_of_the_fallback_and_why_by_either_deliverys_id() {
    let world = World::embedded().await;
    let (names, given_up) = (&world.names, delivery("evt-a"));
    let fallen = headers::Fallen {
        from: "crm",
        delivery_id: &given_up.delivery_id,
        reason: Reason::BudgetSpent,
        message: "the destination answered 503",
    };
    let request = Some(Request { body: b"note".to_vec(), ..given_up.request.clone() });
    let (to, mapping_version) = ("spare".to_owned(), String::new());
    let fallback = Fallback { to, mapping_version, key: None, error: None, request };
    let spare = Delivery {
        delivery_id: "del-spare".to_owned(),
        destination: "spare".to_owned(),
        created_ms: SINCE + 11,
        fallback: Some(fallback),
        ..given_up.clone()
    };
    let to = headers::Successor { delivery_id: "del-spare", destination: "spare", trace: None };
    let of_crm = headers::delivery(&given_up, None, None);
    let of_spare = headers::fallback(&of_crm, &fallen, &to);
    let handed_over = HandedOver {
        destination: "spare".to_owned(),
        delivery_id: "del-spare".to_owned(),
        reason: "budget_spent".to_owned(),
    };
    let receipt = Receipt {
        outcome: Outcome::Retryable,
        status: Some(503),
        dead_letter_reason: None,
        handed_over: Some(handed_over),
        ..receipt("evt-a")
    };
    write(&world, names.out("crm"), &given_up, of_crm).await;
    write(&world, names.receipts(), &receipt, headers::receipt(&receipt, None, None)).await;
    write(&world, names.out("spare"), &spare, of_spare).await;
    let story = tell(&world, "evt-a").await;
    let whole = [Happened::Mapped, Happened::Attempted, Happened::HandedOver];
    assert_eq!(happened(&story), whole);
    let told: Vec<&str> = story.entries.iter().map(|entry| entry.told.as_str()).collect();
    let handed = "to crm, attempt 1: retryable, 503, the last: handed over to spare; ";
    assert!(told[1].starts_with(handed), "{}", told[1]);
    let why = "crm gave up: budget_spent: the destination answered 503";
    assert_eq!(told[2], format!("to spare by shop-to-crm: {why}"));
    let details = story.entries[2].details.as_ref().unwrap();
    assert_eq!(details["fallback"]["request"]["body"], "note");
    assert_eq!(happened(&tell(&world, "del-evt-a").await), whole);
    assert_eq!(happened(&tell(&world, "del-spare").await), [Happened::HandedOver]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_bounded_in_time_and_unknown_ids_have_an_empty_one() {
    let world = World::embedded().await;
    live_through(&world, "evt-a", 0).await;
    assert_eq!(tell(&world, "nobody").await.entries, []);
    let late = StoryQuery { id: "evt-a".into(), since_ms: SINCE, until_ms: Some(SINCE + 1) };
    assert_eq!(world.replayer().story(late, |_| {}).await.unwrap().entries, []);
    for (id, until_ms) in [("", None), ("evt-a", Some(SINCE))] {
        let query = StoryQuery { id: id.into(), since_ms: SINCE, until_ms };
        let refused = world.replayer().story(query, |_| {}).await;
        assert!(matches!(refused, Err(Error::Asked(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_id_is_found_among_many_bodies_that_happen_to_hold_it() {
    let world = World::embedded().await;
    let topic = world.names.raw("shop");
    let schema = world.registry.register(&wire::subject(&topic), Envelope::KIND).await.unwrap();
    let other = Envelope { body: br#"{"total":42}"#.to_vec(), ..event("evt-other") };
    let other = wire::encode(&other, schema).unwrap();
    let writes = (0..1100).map(|_| world.put(&topic, other.clone(), Vec::new()));
    futures::future::join_all(writes).await;
    live_through(&world, "42", 0).await;
    let story = tell(&world, "42").await;
    let whole = [Happened::Accepted, Happened::Mapped, Happened::Attempted, Happened::DeadLettered];
    assert_eq!((happened(&story), story.complete), (whole.to_vec(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_of_more_than_a_thousand_entries_is_told_as_not_complete() {
    let world = World::embedded().await;
    let letter = |number| Letter { event: "evt-a".to_owned(), ..Letter::new(number) };
    world.write((0..1000).map(letter)).await;
    let story = tell(&world, "evt-a").await;
    assert_eq!((story.entries.len(), story.complete), (1000, true));
    world.write([letter(1000)]).await;
    let story = tell(&world, "evt-a").await;
    assert_eq!((story.entries.len(), story.complete), (1000, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_of_the_time_when_it_was_given_up_on() {
    let world = World::embedded().await;
    let letter = Letter {
        event: "evt-a".to_owned(),
        written_ms: Some(SINCE - 1000),
        at_ms: SINCE + 50,
        ..Letter::new(0)
    };
    world.write([letter]).await;
    let replayer = world.replayer();
    for (since_ms, until_ms, count) in
        [(SINCE, SINCE + 51, 1), (SINCE - 2000, SINCE + 50, 0), (SINCE + 51, SINCE + 99, 0)]
    {
        let query = StoryQuery { id: "evt-a".into(), since_ms, until_ms: Some(until_ms) };
        let story = replayer.story(query, |_| {}).await.unwrap();
        let filter =
            Filter { since_ms: Some(since_ms), until_ms: Some(until_ms), ..Filter::default() };
        let listed = list(&replayer, filter.clone(), PageOrder::Newest, 9).await;
        let counted = replayer.dry_run(wanted(Choice::Filter(filter)), |_| {}).await.unwrap();
        let found = (story.entries.len(), listed.len(), counted.chosen);
        assert_eq!(found, (count, count, count as u64), "{since_ms} {until_ms}");
        assert!(story.complete);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_shown_by_its_headers() {
    let world = World::embedded().await;
    let event = event("evt-a");
    let headers = headers::cloud_event(&event, None);
    world.put(&world.names.raw("shop"), bytes::Bytes::from_static(b"no avro"), headers).await;
    let story = tell(&world, "evt-a").await;
    assert_eq!(happened(&story), [Happened::Accepted]);
    assert_eq!(story.entries[0].details, None);
}
