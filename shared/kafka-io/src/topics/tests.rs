//! Promises of the plan, as a table.
#![allow(clippy::unwrap_used)]

use super::*;

const DAY: u64 = 86_400_000;

fn spec() -> Spec {
    let spec = Spec::new("raw.github", 6, 3)
        .with(CLEANUP, "delete")
        .with(RETENTION, (7 * DAY).to_string());
    Spec { longest_wait: Some(Duration::from_millis(DAY)), ..spec }
}

fn existing(
    partitions: i32,
    replication: i32,
    config: &[(&str, &str)],
) -> BTreeMap<String, Existing> {
    let config =
        config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    BTreeMap::from([("raw.github".to_owned(), Existing { partitions, replication, config })])
}

fn lines(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::Change(change) => change.to_string(),
        Step::Problem(problem) => format!("refused: {problem}"),
    };
    steps.iter().map(line).collect()
}

#[test]
fn each_difference_gets_its_step() {
    let week = (7 * DAY).to_string();
    let good = [(CLEANUP, "delete"), (RETENTION, week.as_str())];
    type Case = (&'static str, Spec, BTreeMap<String, Existing>, Vec<&'static str>);
    let cases: Vec<Case> = vec![
        ("as wanted", spec(), existing(6, 3, &good), vec![]),
        ("more partitions than wanted", spec(), existing(12, 3, &good), vec![]),
        (
            "longer retention than wanted",
            spec(),
            existing(6, 3, &[good[0], (RETENTION, "-1")]),
            vec![],
        ),
        ("settings unknown", spec(), existing(6, 3, &[]), vec![]),
        (
            "missing",
            spec(),
            BTreeMap::new(),
            vec![
                "create raw.github with 6 partitions, replication 3, cleanup.policy=delete, retention.ms=604800000",
            ],
        ),
        (
            "fewer partitions",
            spec(),
            existing(3, 3, &good),
            vec!["add partitions to raw.github: 3 to 6"],
        ),
        (
            "wrong cleanup",
            spec(),
            existing(6, 3, &[(CLEANUP, "compact"), good[1]]),
            vec!["set cleanup.policy of raw.github from compact to delete"],
        ),
        (
            "same cleanup in another order",
            spec().with(CLEANUP, "compact,delete"),
            existing(6, 3, &[(CLEANUP, "delete, compact"), good[1]]),
            vec![],
        ),
        (
            "shorter retention that the specification raises",
            spec(),
            existing(6, 3, &[good[0], (RETENTION, "1000")]),
            vec!["set retention.ms of raw.github from 1000 to 604800000"],
        ),
        (
            "too little replication",
            spec(),
            existing(6, 1, &good),
            vec![
                "refused: topic raw.github: replication 1 found, 3 wanted; raise it with kafka-reassign-partitions, or lower the wanted replication",
            ],
        ),
        (
            "wanted retention shorter than the longest wait",
            spec().with(RETENTION, "1000"),
            existing(6, 3, &good),
            vec![
                "refused: topic raw.github: retention.ms of 1000 refused: a record may wait here for 86400000 ms and would be gone before it is read; set retention.ms to at least 86400000, or shorten the time a record may wait",
            ],
        ),
    ];
    for (name, spec, existing, expected) in cases {
        assert_eq!(lines(&plan(&[spec], &existing)), expected, "{name}");
    }
}

#[test]
fn found_retention_counts_where_none_is_wanted() {
    let mut spec = spec();
    spec.config.remove(RETENTION);
    let steps = plan(&[spec], &existing(6, 3, &[(CLEANUP, "delete"), (RETENTION, "1000")]));
    assert!(matches!(steps.as_slice(), [Step::Problem(_)]), "{steps:?}");
}

#[test]
fn adding_partitions_to_a_keyed_topic_says_what_it_does_to_order() {
    for (keyed, says) in [(true, true), (false, false)] {
        let steps = plan(&[Spec { keyed, ..spec() }], &existing(3, 3, &[]));
        let [Step::Change(change)] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(
            change.effect().is_some_and(|effect| effect.contains("no longer in order")),
            says
        );
    }
}

#[test]
fn a_missing_topic_is_an_error_that_names_it_what_is_wanted_and_the_command() {
    let problems = problems(&[spec()], &BTreeMap::new());
    let text = problems.first().unwrap().to_string();
    for part in [
        "raw.github",
        "missing",
        "6 partitions",
        "replication 3",
        "cleanup.policy=delete",
        "`millrace topics apply`",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
}
