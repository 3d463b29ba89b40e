//! The service as it is asked over HTTP.

use std::net::SocketAddr;

use chassis::Process;
use dlq_replayer::{Config, DEFAULTS, Error};
use serde_json::{Value, json};
use testkit::{Ports, Reply, request, wait};
use tokio::task::JoinHandle;

use crate::world::{AMPLE, Letter, World};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Service {
    address: SocketAddr,
    process: Process,
    token: Option<&'static str>,
    running: JoinHandle<Result<(), Error>>,
    _ports: Ports,
    _folder: tempfile::TempDir,
}

impl Service {
    async fn start(world: &World, token: Option<&'static str>) -> Self {
        let (ports, folder) = (Ports::reserve(), tempfile::tempdir().unwrap());
        let mut config: Config = toml::from_str(DEFAULTS).unwrap();
        config.listen = ports.address(0);
        if let Some(token) = token {
            let file = folder.path().join("token");
            std::fs::write(&file, token).unwrap();
            config.token_file = file.to_str().unwrap().to_owned();
        }
        let process = Process::alone("millrace-dlq-replayer");
        let running = tokio::spawn(dlq_replayer::run(config, world.world(), process.clone()));
        let ready = process.ready.clone();
        wait::until("the service to be ready", AMPLE, || ready.is_ready()).await;
        let address = ports.address(0);
        Self { address, process, token, running, _ports: ports, _folder: folder }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let mut builder = http::Request::builder().method(method).uri(path);
        if let Some(token) = self.token {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            builder = builder.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        request(self.address, builder.body(body.into()).unwrap(), AMPLE).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let reply = self.ask("GET", path, None).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    async fn stop(self) {
        self.process.stop.cancel();
        tokio::time::timeout(AMPLE, self.running).await.unwrap().unwrap().unwrap();
    }

    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.process.metrics.registry().gather();
        let family = families.iter().find(|family| family.name() == name);
        let series = family.into_iter().flat_map(|family| family.get_metric()).find(|series| {
            labels.iter().all(|(name, value)| {
                series.get_label().iter().any(|l| l.name() == *name && l.value() == *value)
            })
        });
        series
            .map_or(0.0, |series| series.get_counter().get_value() + series.get_gauge().get_value())
    }
}

/// Says what of an answer is not as the document says.
fn check(document: &Value, schema: &str, answer: &Value) {
    let mut whole = document.clone();
    whole["$ref"] = json!(format!("#/components/schemas/{schema}"));
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<String> = validator.iter_errors(answer).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{schema}: {errors:?}\n{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_shown_and_replayed_and_answers_are_as_documented() {
    let world = World::embedded().await;
    let ids = world.write((0..5).map(Letter::new)).await;
    let service = Service::start(&world, None).await;
    let document = service.get("/v1/openapi.json").await;
    let page = service.get("/v1/dead-letters?destination=crm&limit=3&order=oldest").await;
    assert_eq!(page["letters"][0]["id"], ids[0].to_string());
    assert_eq!(page["letters"].as_array().unwrap().len(), 3);
    let next = page["next"].as_str().unwrap();
    let rest = format!("/v1/dead-letters?destination=crm&limit=3&order=oldest&cursor={next}");
    assert_eq!(service.get(&rest).await["letters"].as_array().unwrap().len(), 2);
    let shown = service.get(&format!("/v1/dead-letters/{}", ids[2])).await;
    assert_eq!(shown["decoded"]["event_id"], "evt-2");
    let dry = json!({ "filter": {}, "dry_run": true });
    let counted = service.ask("POST", "/v1/replays", Some(dry)).await;
    assert_eq!(counted.status, 200, "{}", counted.text());
    assert_eq!(counted.json()["counts"]["republished"], 5);

    let asked = json!({ "filter": { "destinations": ["crm"] }, "by": "ann" });
    let started = service.ask("POST", "/v1/replays", Some(asked)).await;
    assert_eq!(started.status, 202, "{}", started.text());
    let place = started.headers["location"].to_str().unwrap().to_owned();
    let job = wait::until_some("the job to be done", AMPLE, async || {
        let job = service.get(&place).await;
        (job["status"] == "done").then_some(job)
    });
    let job = job.await;
    assert_eq!((&job["counts"]["republished"], &job["by"]), (&json!(5), &json!("ann")));
    assert_eq!(world.lane().await.len(), 5);
    let jobs = service.get("/v1/replays").await;
    for (schema, answer) in
        [("Page", &page), ("Shown", &shown), ("Watched", &job), ("Listed", &jobs)]
    {
        check(&document, schema, answer);
    }
    check(&document, "Watched", &started.json());
    check(&document, "Counted", &counted.json());
    let story = service.get("/v1/events/evt-2?since=2020-01-01T00:00:00Z").await;
    assert_eq!(story["entries"].as_array().unwrap().len(), 2);
    check(&document, "Story", &story);
    let topic = world.letters();
    let count = |outcome| {
        let labels = [("dlq_topic", topic.as_str()), ("outcome", outcome)];
        service.metric("millrace_replay_records_total", &labels)
    };
    assert_eq!((count("republished"), count("dry_run")), (5.0, 5.0));
    wait::until("the depth to be known", AMPLE, || {
        service.metric("millrace_dlq_depth_records", &[("dlq_topic", &topic)]) == 5.0
    })
    .await;
    // The job's last state is written before it is over.
    wait::until("no replay to be active", AMPLE, || {
        service.metric("millrace_replay_active", &[("dlq_topic", &topic)]) == 0.0
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_document() {
    let world = World::embedded().await;
    let service = Service::start(&world, None).await;
    let document = service.get("/v1/openapi.json").await;
    let both = json!({ "filter": {}, "ids": [] });
    let none = json!({ "ids": ["t.dlq.deliver.crm/0/9"] });
    let rows = [
        ("GET", "/v1/dead-letters?destinations=crm", None, 400),
        ("GET", "/v1/dead-letters?cursor=x", None, 400),
        ("GET", "/v1/dead-letters/a/b/c", None, 400),
        ("GET", "/v1/dead-letters/t.dlq.deliver.crm/0/9", None, 404),
        ("GET", "/v1/replays/none", None, 400),
        ("GET", "/v1/replays/0123456789abcdef0123456789abcdef", None, 404),
        ("POST", "/v1/replays", Some(both), 400),
        ("POST", "/v1/replays", Some(none), 404),
        ("POST", "/v1/replays", None, 415),
        ("POST", "/v1/replays", Some(json!("x".repeat(300_000))), 413),
        ("DELETE", "/v1/replays", None, 405),
        ("GET", "/v2", None, 404),
    ];
    for (method, path, body, status) in rows {
        let reply = service.ask(method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{method} {path}");
        let problem = reply.json();
        assert_eq!(problem["status"], status);
        check(&document, "Problem", &problem);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_told() {
    let world = World::embedded().await;
    let mut service = Service::start(&world, Some(TOKEN)).await;
    assert_eq!(service.ask("GET", "/v1/replays", None).await.status, 200);
    for token in [None, Some("0123456789abcdef0123456789abcdeX")] {
        service.token = token;
        for path in ["/v1/replays", "/v1/openapi.json", "/v1/dead-letters", "/nothing"] {
            let reply = service.ask("GET", path, None).await;
            assert_eq!(reply.status, 401, "{path}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
            assert!(!reply.text().contains(TOKEN));
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_beyond_loopback_is_refused_without_a_token() {
    let world = World::embedded().await;
    let mut config: Config = toml::from_str(DEFAULTS).unwrap();
    config.listen = "0.0.0.0:0".parse().unwrap();
    let process = Process::alone("millrace-dlq-replayer");
    let refused = dlq_replayer::run(config, world.world(), process).await.unwrap_err().to_string();
    assert!(refused.contains("dlq_replayer.token_file"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_runs_is_gone_on_with() {
    let world = World::embedded().await;
    world.write((0..3).map(Letter::new)).await;
    let replayer = world.replayer();
    let job = replayer.start(crate::world::all()).await.unwrap();
    let (ports, process) = (Ports::reserve(), Process::alone("millrace-dlq-replayer"));
    let text = DEFAULTS.replace("\"15s\"", "\"1s\"");
    let config = Config { listen: ports.address(0), ..toml::from_str(&text).unwrap() };
    let running = tokio::spawn(dlq_replayer::run(config, world.world(), process.clone()));
    wait::until_some("the job to be done", AMPLE, async || {
        let job = replayer.job(&job.id).await.unwrap();
        (job.status == dlq_replayer::Status::Done).then_some(())
    })
    .await;
    assert_eq!(world.lane().await.len(), 3);
    process.stop.cancel();
    running.await.unwrap().unwrap();
}
