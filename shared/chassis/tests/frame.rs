//! A process from start to end, seen from outside: its admin port, its spans, how it ends.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use chassis::{
    Ended, Frame, Kind, Process, admin,
    config::{self, Defaults, Layers},
    frame::{self, Build, Config, Shutdown, Telemetry, Work},
    log,
};
use serde::Deserialize;
use testkit::{OtlpSink, get, wait};

const WITHIN: Duration = Duration::from_secs(10);
const BUILD: Build = Build { version: "1.2.3", revision: "abc" };

#[derive(Deserialize)]
struct Whole {
    instance: String,
    admin: admin::Config,
    log: log::Config,
    telemetry: Telemetry,
    shutdown: Shutdown,
}

fn config(endpoint: &str) -> Config {
    let defaults = [Defaults { section: "", text: frame::DEFAULTS }];
    let layers = Layers { defaults: &defaults, file: None, environment: vec![] };
    let whole: Whole = config::load(&layers, |_| vec![]).unwrap().config;
    let mut config = Config {
        instance: whole.instance,
        admin: whole.admin,
        log: whole.log,
        telemetry: whole.telemetry,
        shutdown: whole.shutdown,
    };
    assert_eq!(config.findings(), []);
    config.admin.listen = "127.0.0.1:0".parse().unwrap();
    config.telemetry.otlp_endpoint = endpoint.to_owned();
    config
}

fn until_stop(process: &Process) -> Work {
    let stop = process.stop.clone();
    let run = Box::pin(async move {
        stop.cancelled().await;
        Ok(())
    });
    Work { service: process.name, run }
}

async fn status(admin: SocketAddr, path: &str) -> (u16, String) {
    let reply = get(admin, path, WITHIN).await.unwrap();
    (reply.status.as_u16(), reply.text())
}

async fn until_status(admin: SocketAddr, path: &str, wanted: u16) {
    wait::until_some(path, WITHIN, || async move {
        (status(admin, path).await.0 == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_admin_port_tells_how_the_process_is_until_it_ends() {
    let mut frame = Frame::start(config(""), BUILD).await.unwrap();
    let (admin, stop) = (frame.admin_address(), frame.stop());
    let process = frame.process("millrace-ingest").unwrap();
    process.metrics.counter("millrace_things_total", "Things.").inc();
    assert_eq!(status(admin, "/livez").await.0, 200);
    assert_eq!(status(admin, "/startupz").await.0, 503);
    assert_eq!(status(admin, "/other").await.0, 404);
    let running = tokio::spawn(frame.run(vec![until_stop(&process)]));
    until_status(admin, "/startupz", 200).await;
    let (code, body) = status(admin, "/readyz").await;
    assert!(code == 503 && body.contains("millrace-ingest"), "{body}");
    process.ready.set("broker", Err("connection refused".into()));
    let (_, body) = status(admin, "/readyz").await;
    assert!(body.contains(r#""condition":"broker""#) && body.contains("refused"), "{body}");
    process.ready.set("broker", Ok(()));
    assert_eq!(status(admin, "/readyz").await.0, 200);
    let (_, metrics) = status(admin, "/metrics").await;
    for line in [
        r#"millrace_build_info{revision="abc",version="1.2.3"} 1"#,
        "millrace_things_total 1",
        "process_resident_memory_bytes",
        r#"millrace_telemetry_dropped_total{signal="traces"} 0"#,
        "millrace_tokio_alive_tasks",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(get(admin, "/livez", WITHIN).await.is_err());
}

#[tokio::test]
async fn a_service_that_ends_by_itself_ends_the_process_and_the_others_drain() {
    let mut frame = Frame::start(config(""), BUILD).await.unwrap();
    let one = frame.process("millrace-ingest").unwrap();
    let run = Box::pin(async { Err("the port is taken".to_owned()) });
    let failing = Work { service: "millrace-deliver", run };
    let ended = frame.run(vec![until_stop(&one), failing]).await.unwrap_err();
    assert!(
        matches!(&ended, Ended::Failed { service: "millrace-deliver", why } if why.contains("taken"))
    );
    assert_eq!(ended.code(), 1);
}

#[tokio::test]
async fn what_does_not_drain_in_time_is_named_and_cut_off() {
    let mut config = config("");
    config.shutdown.timeout_seconds = 0;
    let frame = Frame::start(config, BUILD).await.unwrap();
    frame.stop().cancel();
    let run = Box::pin(std::future::pending());
    let ended = frame.run(vec![Work { service: "millrace-deliver", run }]).await.unwrap_err();
    assert!(ended.to_string().contains("millrace-deliver"), "{ended}");
    assert_eq!(ended.code(), 3);
}

#[tokio::test]
async fn spans_of_one_trace_arrive_with_their_service_and_schema() {
    let sink = OtlpSink::start().await;
    let mut frame = Frame::start(config(&sink.url()), BUILD).await.unwrap();
    let ingest = frame.process("millrace-ingest").unwrap();
    let deliver = frame.process("millrace-deliver").unwrap();
    let stop = frame.stop();
    let mut server = ingest.tracer.span("POST /v1/events/{source}", Kind::Server, None);
    server.set_str("http.request.method", "POST");
    let mut process =
        deliver.tracer.span("process out.crm", Kind::Consumer, Some(server.context()));
    process.link(server.context());
    process.fail("the destination answered 500");
    assert_eq!(process.context().trace_id, server.context().trace_id);
    assert_ne!(process.context().span_id, server.context().span_id);
    drop((process, server));
    // The last batch leaves when the process ends.
    stop.cancel();
    frame.run(vec![]).await.unwrap();
    let spans = sink.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (server, process) = (named("POST /v1/events/{source}"), named("process out.crm"));
    assert_eq!(process.parent_id, server.span_id);
    assert_eq!(process.trace_id, server.trace_id);
    assert_eq!(server.resource["service.name"], "millrace-ingest");
    assert_eq!(process.resource["service.name"], "millrace-deliver");
    assert_eq!(server.resource["service.namespace"], "millrace");
    assert_eq!(server.attributes["http.request.method"], "POST");
    assert_eq!(server.schema_url, "https://opentelemetry.io/schemas/1.44.0");
}

#[tokio::test]
async fn spans_that_nobody_takes_are_dropped_and_counted() {
    let mut frame = Frame::start(config("http://127.0.0.1:9"), BUILD).await.unwrap();
    let process = frame.process("millrace-ingest").unwrap();
    frame.stop().cancel();
    drop(process.tracer.span("a", Kind::Internal, None));
    frame.run(vec![]).await.unwrap();
    let help = "Telemetry that never arrived.";
    let dropped =
        process.metrics.counter_vec("millrace_telemetry_dropped_total", help, &["signal"]);
    assert_eq!(dropped.with_label_values(&["traces"]).get(), 1);
}
