//! The map against a plain set, its text against itself, and its size against every order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn head(first_attempt_at: i64, attempts_made: u32, stood_still: u64) -> Head {
    Head {
        first_attempt_at: UnixMillis(first_attempt_at),
        attempts_made,
        stood_still: Duration::from_millis(stood_still),
    }
}

fn heads() -> impl Strategy<Value = Head> {
    let usual = (1_700_000_000_000i64..1_700_600_000_000, 1u32..50, 0u64..90_000);
    let any = (any::<i64>(), any::<u32>(), any::<u64>());
    prop_oneof![usual, any].prop_map(|(at, made, stood)| head(at, made, stood))
}

/// Written by the first version, at [`GOLDEN_AT`]; never to be changed.
const GOLDEN: &str = include_str!("../../golden/offset-map.1.txt");
/// The same without retrying records, at 7.
const GOLDEN_RUNS: &str = include_str!("../../golden/offset-map.1.runs.txt");
/// The first with one bit changed since.
const GOLDEN_DAMAGED: &str = include_str!("../../golden/offset-map.1.damaged.txt");
/// The first as a version would write it that is not there yet, its checksum right.
const GOLDEN_UNKNOWN: &str = include_str!("../../golden/offset-map.255.txt");
const GOLDEN_AT: i64 = 1000;

/// Maps as deliveries make them: offsets from the commit point, some completed, some retrying.
fn maps(span: i64, changes: usize) -> impl Strategy<Value = OffsetMap> {
    let commit_point = prop_oneof![0i64..1_000_000, (i64::MAX - span)..i64::MAX];
    let done = prop::collection::vec((0..span, 1..20i64), 0..changes);
    let retrying = prop::collection::vec((0..span, heads()), 0..changes / 4);
    (commit_point, done, retrying).prop_map(|(commit_point, done, retrying)| {
        let mut map = OffsetMap::new(commit_point);
        for (at, length) in done {
            let first = commit_point.saturating_add(at);
            map.complete(first..first.saturating_add(length));
        }
        for (at, head) in retrying {
            map.retrying(commit_point.saturating_add(at), head);
        }
        map
    })
}

fn decoded(map: &OffsetMap) -> Result<OffsetMap, DecodeError> {
    OffsetMap::decode(map.commit_point(), &map.encode().text)
}

fn complete_each(map: &mut OffsetMap, offsets: impl IntoIterator<Item = i64>) {
    for offset in offsets {
        map.complete(offset..offset + 1);
    }
}

#[test]
fn the_commit_point_passes_only_what_is_completed_without_a_gap() {
    let mut map = OffsetMap::new(10);
    assert!(!map.complete(11..12));
    assert!(!map.complete(14..15));
    assert_eq!((map.commit_point(), map.is_done(10), map.is_done(14)), (10, false, true));
    assert!(map.complete(10..11));
    assert_eq!((map.commit_point(), map.is_done(11), map.is_done(12)), (12, true, false));
    // 12 and 13 were markers: the reader got 14 after 11.
    assert!(map.complete(12..15));
    assert_eq!((map.commit_point(), map.runs().count()), (15, 0));
}

#[test]
fn one_stuck_record_among_a_million_costs_a_few_bytes() {
    let mut map = OffsetMap::new(0);
    map.complete(1..1_000_000);
    map.retrying(0, head(1_764_000_000_000, 7, 0));
    assert!(map.encode().text.len() < 48, "{}", map.encode().text.len());
    assert_eq!(decoded(&map), Ok(map));
}

#[test]
fn a_settled_record_is_no_longer_retrying() {
    let mut map = OffsetMap::new(0);
    map.retrying(3, head(1, 1, 0));
    map.retrying(5, head(2, 1, 0));
    map.complete(3..4);
    map.retrying(3, head(9, 9, 0));
    assert_eq!((map.head(3), map.head(5)), (None, Some(head(2, 1, 0))));
    map.advance(6);
    assert_eq!(map.heads(), 0);
}

#[test]
fn metadata_that_is_no_map_is_told_by_its_kind() {
    let mut map = OffsetMap::new(7);
    map.complete(9..12);
    let text = map.encode().text;
    let of = |text: &str| OffsetMap::decode(7, text).unwrap_err();
    assert_eq!(OffsetMap::decode(7, ""), Ok(OffsetMap::new(7)), "a commit without a map");
    assert_eq!(OffsetMap::decode(8, &text), Err(DecodeError::Damaged), "of another commit point");
    assert_eq!(of("told by hand!"), DecodeError::NotText);
    assert_eq!(of("AQ"), DecodeError::NotText);
    assert_eq!(of(&"A".repeat(4097)), DecodeError::TooLong(4097));
    assert_eq!(of(&codec::seal(7, 2, &[])), DecodeError::UnknownVersion(2));
    assert_eq!(of(&codec::seal(7, 1, &[])), DecodeError::Malformed);
}

#[test]
fn version_1_is_written_and_read_for_ever() {
    let mut map = OffsetMap::new(GOLDEN_AT);
    map.complete(1001..1005);
    map.complete(1007..1010);
    map.retrying(1000, head(1_764_000_000_000, 3, 1_500));
    map.retrying(1006, head(1_764_000_007_000, 1, 0));
    let mut runs = OffsetMap::new(7);
    runs.complete(9..12);
    for (golden, map) in [(GOLDEN, map), (GOLDEN_RUNS, runs)] {
        assert_eq!(map.encode().text, golden);
        assert_eq!(OffsetMap::decode(map.commit_point(), golden), Ok(map), "{golden}");
    }
}

#[test]
fn a_golden_map_that_is_damaged_or_of_an_unknown_version_is_told_by_its_kind() {
    let of = |golden| OffsetMap::decode(GOLDEN_AT, golden).unwrap_err();
    assert_eq!(of(GOLDEN_DAMAGED), DecodeError::Damaged);
    assert_eq!(of(GOLDEN_UNKNOWN), DecodeError::UnknownVersion(255));
    // No other commit's metadata either: it says of which one it is.
    assert_eq!(OffsetMap::decode(GOLDEN_AT + 1, GOLDEN), Err(DecodeError::Damaged));
}

#[test]
fn a_map_too_large_leaves_out_heads_first_and_then_the_furthest_runs() {
    let mut map = OffsetMap::new(0);
    (0..2_000).for_each(|n| map.retrying(n * 4, head(n, 1, 0)));
    complete_each(&mut map, (0..5_000).map(|n| n * 4 + 1));
    let encoded = map.encode();
    assert!(encoded.runs_left_out == 0 && encoded.heads_left_out > 0, "{encoded:?}");
    complete_each(&mut map, (5_000..9_000).map(|n| n * 4 + 1));
    let encoded = map.encode();
    assert!(encoded.runs_left_out > 0 && encoded.heads_left_out == 2_000, "{encoded:?}");
    assert!(!map.usage(0, 1).fits());
    let after = decoded(&map).unwrap();
    assert!(after.is_done(1) && !after.is_done(35_997), "the furthest are left out");
}

#[test]
fn three_quarters_full_is_high_by_bytes_and_by_span() {
    let mut map = OffsetMap::new(0);
    map.complete(1..2);
    assert!(!map.usage(749, 1_000).is_high());
    assert!(map.usage(750, 1_000).is_high());
    complete_each(&mut map, (1..4_700).map(|n| n * 2 + 1));
    assert!(map.usage(0, u64::MAX).bytes < HIGH);
    complete_each(&mut map, (4_700..9_300).map(|n| n * 2 + 1));
    let usage = map.usage(0, u64::MAX);
    assert!(usage.is_high() && usage.fits(), "{usage:?}");
}

/// What the map is asked to do, with offsets relative to its first commit point.
#[derive(Debug, Clone)]
enum Step {
    Complete {
        first: i64,
        length: i64,
    },
    Retry {
        offset: i64,
        head: Head,
    },
    Advance {
        offset: i64,
    },
    /// A crash: what is left is what was written.
    Restart,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..120i64, 1..4i64).prop_map(|(first, length)| Step::Complete { first, length }),
        2 => (0..120i64, heads()).prop_map(|(offset, head)| Step::Retry { offset, head }),
        1 => (0..40i64).prop_map(|offset| Step::Advance { offset }),
        1 => Just(Step::Restart),
    ]
}

/// The same, with one entry per offset.
#[derive(Default)]
struct Model {
    done: BTreeSet<i64>,
    heads: BTreeMap<i64, Head>,
}

impl Model {
    fn complete(&mut self, offsets: Range<i64>) {
        for offset in offsets {
            self.done.insert(offset);
            self.heads.remove(&offset);
        }
    }

    fn commit_point(&self) -> i64 {
        (0..).find(|offset| !self.done.contains(offset)).unwrap()
    }
}

proptest! {
    #[test]
    fn the_map_is_the_set_of_what_was_completed(
        steps in prop::collection::vec(steps(), 0..120), base in 0i64..1_000
    ) {
        let (mut map, mut model) = (OffsetMap::new(base), Model::default());
        for step in steps {
            let before = map.commit_point();
            match step {
                Step::Complete { first, length } => {
                    let moved = map.complete(base + first..base + first + length);
                    model.complete(first..first + length);
                    prop_assert_eq!(moved, map.commit_point() > before);
                }
                Step::Retry { offset, head } => {
                    map.retrying(base + offset, head);
                    if !model.done.contains(&offset) {
                        model.heads.insert(offset, head);
                    }
                }
                Step::Advance { offset } => {
                    map.advance(base + offset);
                    model.complete(0..offset);
                }
                Step::Restart => map = decoded(&map).unwrap(),
            }
            prop_assert_eq!(map.commit_point(), base + model.commit_point());
            for offset in 0..130 {
                prop_assert_eq!(map.is_done(base + offset), model.done.contains(&offset));
                prop_assert_eq!(map.head(base + offset), model.heads.get(&offset).copied());
            }
        }
    }

    #[test]
    fn what_is_written_is_read(map in maps(40_000, 400)) {
        let encoded = map.encode();
        prop_assert!(encoded.text.len() <= BYTES_MAX);
        prop_assert_eq!(encoded.runs_left_out + encoded.heads_left_out, 0);
        prop_assert_eq!(decoded(&map), Ok(map.clone()));
        let bits = (encoded.text.len() as u64 * 6 / 8).saturating_sub(5) * 8;
        let full = map.usage(0, 1).bytes * codec::BITS_MAX as f64;
        prop_assert!(encoded.text.is_empty() || (full - bits as f64).abs() < 8.0);
    }

    #[test]
    fn what_is_left_out_was_never_done_by_mistake(map in maps(2_000_000, 9_000)) {
        let encoded = map.encode();
        prop_assert!(encoded.text.len() <= BYTES_MAX);
        prop_assert_eq!(encoded.runs_left_out + encoded.heads_left_out == 0, map.usage(0, 1).fits());
        let read = decoded(&map).unwrap();
        prop_assert!(read.runs().eq(map.runs().take(map.runs.len() - encoded.runs_left_out)));
        prop_assert!(read.heads.iter().all(|(offset, head)| map.head(*offset) == Some(*head)));
        prop_assert_eq!(read.heads(), map.heads() - encoded.heads_left_out);
    }

    #[test]
    fn any_text_is_read_without_panic_and_none_is_taken_for_a_map(
        text in "\\PC{0,80}|[A-Za-z0-9+/]{0,400}", commit_point in any::<i64>()
    ) {
        prop_assert!(text.is_empty() || OffsetMap::decode(commit_point, &text).is_err());
    }

    #[test]
    fn any_body_with_a_fitting_checksum_is_read_without_panic(
        body in prop::collection::vec(any::<u8>(), 0..200), runs in 0u8..4, heads in 0u8..4,
        commit_point in prop_oneof![0..9i64, (i64::MAX - 9)..=i64::MAX],
    ) {
        let counts = [0, runs, 0, heads];
        for body in [&body[..], &[&counts[..], &body].concat()] {
            let text = codec::seal(commit_point, 1, body);
            if let Ok(map) = OffsetMap::decode(commit_point, &text) {
                prop_assert_eq!(decoded(&map), Ok(map));
            }
        }
    }

    #[test]
    fn no_changed_letter_goes_unnoticed(
        map in maps(500, 40), at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9+/]"
    ) {
        let mut text = map.encode().text;
        if !text.is_empty() {
            let at = at.index(text.len());
            text.replace_range(at..=at, &letter);
            let same = text == map.encode().text;
            prop_assert_eq!(OffsetMap::decode(map.commit_point(), &text).is_ok(), same);
        }
    }

    #[test]
    fn a_log_that_begins_later_takes_nothing_from_what_is_above(
        map in maps(400, 60), by in 0i64..500
    ) {
        let begin = map.commit_point().saturating_add(by);
        let mut moved = map.clone();
        moved.advance(begin);
        prop_assert!(moved.commit_point() >= begin.max(map.commit_point()));
        for offset in begin..begin.saturating_add(500) {
            prop_assert_eq!(moved.is_done(offset), map.is_done(offset));
            prop_assert_eq!(moved.head(offset), map.head(offset));
        }
    }

    /// So that three quarters full and at most 3,000 open never overflows.
    #[test]
    fn an_open_offset_adds_two_bits_at_most(
        before in prop::collection::vec(1..600i64, 0..300),
        later in prop::collection::vec(1..600i64, 0..600),
    ) {
        let mut map = OffsetMap::new(0);
        complete_each(&mut map, before);
        let worst = map.usage(600, 1).bytes_at_worst;
        for offset in later {
            map.complete(offset..offset + 1);
            prop_assert!(map.usage(600, 1).bytes <= worst);
        }
    }
}
