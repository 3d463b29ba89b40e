//! Topics are planned, made, changed and verified.

use std::collections::BTreeMap;

use kafka_io::topics::{AdminError, AdminOptions, Change, Spec, Step, plan};
use kafka_io::{Config, topics::Admin};

use crate::cluster::Cluster;

async fn apply_plan(cluster: &Cluster, wanted: &[Spec]) -> Vec<Change> {
    let names: Vec<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
    let steps = plan(wanted, &cluster.admin.describe(&names).await.unwrap());
    let mut changes = Vec::new();
    for step in steps {
        let Step::Change(change) = step else { panic!("{step:?}") };
        cluster.admin.apply(&change).await.unwrap();
        changes.push(change);
    }
    changes
}

async fn verified(cluster: &Cluster, wanted: &[Spec]) {
    let there = || async { cluster.admin.verify(wanted).await.ok() };
    testkit::wait::until_some("topics are as wanted", crate::cluster::PATIENCE, there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_planned_made_changed_and_verified() {
    let cluster = Cluster::one().await;
    let first = [
        cluster
            .spec("raw.github", 2)
            .with("retention.ms", "604800000")
            .with("cleanup.policy", "delete"),
        cluster.spec("ctl.state", 1).with("cleanup.policy", "compact"),
    ];

    let missing = cluster.admin.verify(&first).await.unwrap_err().to_string();
    for part in ["raw.github", "ctl.state", "missing", "2 partitions", "`millrace topics apply`"] {
        assert!(missing.contains(part), "{part} not in {missing}");
    }
    let none = cluster.admin.describe(&["raw.github"]).await.unwrap();
    assert_eq!(none, BTreeMap::new(), "asking for a topic must not make it");

    assert_eq!(apply_plan(&cluster, &first).await.len(), 2);
    verified(&cluster, &first).await;
    assert_eq!(apply_plan(&cluster, &first).await, [], "what is as wanted is left alone");

    let second =
        [cluster.spec("raw.github", 4).with("retention.ms", "1209600000"), first[1].clone()];
    assert_eq!(apply_plan(&cluster, &second).await.len(), 2);
    verified(&cluster, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_one_thing_leaves_the_others() {
    let cluster = Cluster::one().await;
    let spec =
        cluster.spec("t", 1).with("segment.bytes", "1048576").with("max.message.bytes", "5000");
    cluster.create(spec).await;
    let wanted = [cluster.spec("t", 1).with("retention.ms", "7200000000")];
    apply_plan(&cluster, &wanted).await;
    verified(&cluster, &wanted).await;
    let found = cluster.admin.describe(&["t"]).await.unwrap().remove("t").unwrap();
    for (key, value) in [("segment.bytes", "1048576"), ("max.message.bytes", "5000")] {
        assert_eq!(found.config.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_refuses_names_the_topic_and_the_command() {
    let cluster = Cluster::one().await;
    let too_many = Spec::new("raw.github", 1, 3);
    let error = cluster.admin.apply(&Change::Create(too_many)).await.unwrap_err().to_string();
    for part in ["raw.github", "replication 3", "`millrace topics apply`"] {
        assert!(error.contains(part), "{part} not in {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_an_error_in_time() {
    let options = AdminOptions { timeout: std::time::Duration::from_millis(500), broker: None };
    // Port 9 (discard) is not listened to.
    let admin = Admin::open(&Config::plain("127.0.0.1:9"), options).unwrap();
    assert!(matches!(admin.describe(&["t"]).await, Err(AdminError::Ask { .. })));
}
