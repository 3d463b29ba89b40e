//! What each service costs while nothing happens.

use std::time::Duration;

use crate::{measure::Report, world::World};

const WATCHED: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(world: &World) {
    let site = world.site("idle").await;
    for name in ["ingest", "transform", "deliver", "dlq-replayer"] {
        let service = site.service(name).await;
        tokio::time::sleep(SETTLE).await;
        let before = service.cpu().unwrap();
        tokio::time::sleep(WATCHED).await;
        let used = service.cpu().unwrap().saturating_sub(before);
        let share = used.as_secs_f64() / WATCHED.as_secs_f64();
        let rss_mib = service.rss_bytes().unwrap() as f64 / 1048576.0;
        println!("{name:<20} idle: {:.2} % of a core, {rss_mib:.0} MiB", share * 100.0);
        Report {
            name: format!("idle-{name}"),
            events: 0,
            events_per_second: 0.0,
            // Of an idle second, in microseconds.
            cpu_us_per_event: share * 1e6,
            floor_cpu_us_per_event: None,
            ratio: None,
            p50_ms: None,
            p99_ms: None,
            rss_mib,
        }
        .write();
    }
}
