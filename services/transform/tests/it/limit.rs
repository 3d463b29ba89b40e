//! A record limit that is raised under a running transform, on a real Kafka: the embedded broker tells none.

use std::time::{Duration, Instant};

use domain::dead_letter::Reason;
use kafka_io::{
    Config,
    topics::{Admin, AdminOptions, Change, Spec},
};
use testkit::{Kafka, wait};
use transform::Became;

use crate::world::{Bench, CATALOG, PATIENCE, TOPICS};

const LIMIT: &str = "max.message.bytes";
/// The pace that a dead letter tells, and ample time for a look.
const SEEN_WITHIN: Duration = Duration::from_secs(30 + 15);

async fn make_topics(admin: &Admin) {
    for topic in &TOPICS[..5] {
        let spec = Spec::new(*topic, 1, 1);
        let spec = if *topic == "out.mail" { spec.with(LIMIT, "4000") } else { spec };
        admin.apply(&Change::Create(spec.clone())).await.unwrap();
        let there = async || admin.verify(std::slice::from_ref(&spec)).await.ok();
        wait::until_some("the topic to be there", PATIENCE, there).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_record_limit_holds_without_a_restart() {
    let kafka = Kafka::one().await;
    let config = Config::plain(kafka.bootstrap());
    let admin = Admin::open(&config, AdminOptions::default()).unwrap();
    make_topics(&admin).await;
    let mut bench = Bench::start(config, CATALOG).await;
    let body = format!(r#"{{"kind":"note","text":"{}"}}"#, "x".repeat(5000));
    bench.write(&[bench.event("e1", &body)]);
    let Became::Failed { reason, message } = bench.hear(1).await.remove(0).2 else {
        panic!("it is larger than its topic takes")
    };
    assert_eq!(reason, Reason::InvalidResult);
    assert!(message.contains("out.mail") && message.contains("every 30 s"), "{message}");
    let topic = "out.mail".to_owned();
    let raise = Change::SetConfig { topic, key: LIMIT.into(), from: None, to: "100000".into() };
    admin.apply(&raise).await.unwrap();
    let raised = Instant::now();
    loop {
        bench.write(&[bench.event("e2", &body)]);
        match bench.hear(1).await.remove(0).2 {
            Became::Mapped { .. } => break,
            other => assert!(raised.elapsed() < SEEN_WITHIN, "{other:?}"),
        }
    }
    bench.stop().await;
}
