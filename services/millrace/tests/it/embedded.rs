//! The demo judged by its exit code, and dev used as its printed lines say.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use kafka_io::Config;
use testkit::Ports;

use crate::{Running, changed, code, millrace, text, topics::write_on, until_gauge};

const STOPPED_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn the_demo_shows_a_clean_run_and_counts_it_in_its_last_line() {
    let began = Instant::now();
    let output = millrace(&["demo"], &[]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = shown.lines().last().unwrap_or_default();
    let expected = "demo: 28 accepted, 25 delivered, 3 filtered, 3 unrouted, 4 dead-lettered, 4 replayed, 0 lost, 0 doubled";
    assert_eq!(last, expected, "{shown}");
    for word in ["accepted", "mapped", "delivered", "filtered", "unrouted", "dead letter", " ms"] {
        assert!(shown.contains(word), "{word} is not in {shown}");
    }
}

#[test]
fn a_receiver_that_swallows_or_doubles_fails_the_demo() {
    for (fault, reason) in [("swallow", "never arrived"), ("double", "arrived twice")] {
        let output = millrace(&["demo"], &[("FAULT", fault)]);
        assert_eq!(code(&output), 1, "{fault}: {}", text(&output));
        assert!(text(&output).contains(reason), "{fault}: {}", text(&output));
    }
    assert_eq!(code(&millrace(&["demo"], &[("FAULT", "other")])), 2);
}

/// Starts dev on the examples, at ports that nobody else has.
fn dev(ports: &Ports, folder: &Path) -> Running {
    let address = |place: u16| ports.address(place).to_string();
    let [ingest, replayer, admin, receiver] = [0, 1, 2, 3].map(address);
    changed(folder, |text| text.replace("127.0.0.1:9700", &receiver));
    let variables = [
        ("MILLRACE_INGEST__LISTEN", ingest.as_str()),
        ("MILLRACE_DLQ_REPLAYER__LISTEN", replayer.as_str()),
        ("MILLRACE_ADMIN__LISTEN", admin.as_str()),
    ];
    Running::start(&["dev", folder.to_str().unwrap(), "--receiver", &receiver], &variables)
}

/// The commands that dev prints: each begins with `curl` and ends with its body.
fn commands(shown: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for line in shown.lines() {
        if line.starts_with("curl ") {
            commands.push(String::new());
        }
        match commands.last_mut() {
            Some(command) if line.starts_with("curl ") || line.starts_with("  -") => {
                command.push_str(line);
                command.push('\n');
            }
            Some(_) | None => {}
        }
    }
    commands
}

/// The variables that dev prints for commands beside it.
fn exported(told: &str) -> Vec<(&str, &str)> {
    let exported = told.lines().find_map(|line| line.strip_prefix("export ")).unwrap();
    exported.split(' ').filter_map(|variable| variable.split_once('=')).collect()
}

/// Reads the id out of what ingest answered, headers first.
fn event_id(answer: &str) -> String {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["event_id"].as_str().unwrap().to_owned()
}

#[test]
fn dev_prints_lines_that_work_tells_each_events_story_and_stops_at_once() {
    let ports = Ports::reserve();
    let folder = tempfile::tempdir().unwrap();
    let mut dev = dev(&ports, folder.path());
    let told = dev.until("Ctrl-C stops");
    let commands = commands(&told);
    assert_eq!(commands.len(), 3, "{commands:?}");
    let mut events = Vec::new();
    for command in &commands {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        events.push(event_id(&String::from_utf8_lossy(&output.stdout)));
    }
    dev.until_all(&["PUT /crm", "POST /crm", "POST /mail", "POST /builds"]);
    let variables = exported(&told);
    for event in &events {
        let story = millrace(&["event", event], &variables);
        assert_eq!(code(&story), 0, "{}", text(&story));
        for part in [event.as_str(), "accepted", "mapped", "attempted", "trace "] {
            assert!(text(&story).contains(part), "{part} is not in {}", text(&story));
        }
    }
    let unknown = millrace(&["event", "no-such-event"], &variables);
    assert!(code(&unknown) == 1 && text(&unknown).contains("--since"), "{}", text(&unknown));
    assert!(text(&millrace(&["dlq", "list"], &variables)).contains("no dead letters"));
    let took = dev.interrupt();
    assert!(took < STOPPED_WITHIN, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_holds_what_a_command_beside_it_pauses_until_it_is_resumed() {
    let (ports, folder) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let mut dev = dev(&ports, folder.path());
    let told = dev.until("Ctrl-C stops");
    let variables = exported(&told);
    let destination = |arguments: &[&str]| {
        let output = millrace(&[&["destination"], arguments].concat(), &variables);
        assert_eq!(code(&output), 0, "{}", text(&output));
        text(&output)
    };
    destination(&["pause", "crm", "--reason", "it is moved", "--by", "ann"]);
    until_gauge(ports.address(2), "millrace_destination_paused{destination=\"crm\"}", 1).await;
    for command in &commands(&told) {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        event_id(&String::from_utf8_lossy(&output.stdout));
    }
    let shown = dev.until_all(&["POST /mail", "POST /builds"]);
    assert!(!shown.contains("/crm"), "{shown}");
    assert!(destination(&["list"]).contains("by ann: it is moved"));
    destination(&["resume", "crm"]);
    dev.until_all(&["PUT /crm", "POST /crm"]);
    dev.interrupt();
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_keeps_a_destination_with_dead_letters_until_the_command_it_names_decides() {
    const RELOADED: &str = "millrace_config_last_reload_successful";
    let (ports, folder) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let mut dev = dev(&ports, folder.path());
    let told = dev.until("Ctrl-C stops");
    let (admin, variables) = (ports.address(2), exported(&told));
    let of_broker = variables.iter().find(|(name, _)| name.ends_with("SERVERS")).unwrap().1;
    write_on(&Config::embedded(of_broker), "dlq.deliver.mail", 2);
    changed(folder.path(), |text| {
        text.replace("  mail:", "  post:").replace("to: mail", "to: post")
    });
    until_gauge(admin, RELOADED, 0).await;
    let apply = ["topics", "apply", "--catalog", folder.path().to_str().unwrap()];
    let refused = millrace(&apply, &variables);
    assert!(text(&refused).contains("2 dead letters"), "{}", text(&refused));
    let decided = millrace(&[&apply[..], &["--abandon", "mail"]].concat(), &variables);
    assert_eq!(code(&decided), 0, "{}", text(&decided));
    until_gauge(admin, RELOADED, 1).await;
    dev.interrupt();
}
