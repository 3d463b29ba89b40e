//! The demo judged by its exit code, and dev used as its printed lines say.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use testkit::Ports;

use crate::{code, examples, millrace, text};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn the_demo_shows_a_clean_run_and_counts_it_in_its_last_line() {
    let output = millrace(&["demo"], &[]);
    assert_eq!(code(&output), 0, "{}", text(&output));
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

/// A running `millrace dev`, killed when dropped.
struct Dev {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Dev {
    fn start(ports: &Ports) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .arg("dev")
            .current_dir(examples().parent().unwrap())
            .env("MILLRACE_INGEST__LISTEN", ports.address(0).to_string())
            .env("MILLRACE_DLQ_REPLAYER__LISTEN", ports.address(1).to_string())
            .env("MILLRACE_ADMIN__LISTEN", ports.address(2).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// Collects what is printed up to a line that holds `end`.
    fn until(&self, end: &str) -> String {
        let deadline = Instant::now() + READY_WITHIN;
        let mut shown = String::new();
        while !shown.contains(end) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            shown.push_str(&line.unwrap_or_else(|_| panic!("{end} is not in {shown}")));
            shown.push('\n');
        }
        shown
    }

    fn interrupt(&mut self) -> Duration {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        began.elapsed()
    }
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

#[test]
fn dev_prints_three_lines_that_work_and_stops_at_once() {
    let ports = Ports::reserve();
    let mut dev = Dev::start(&ports);
    let commands = commands(&dev.until("Ctrl-C stops"));
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in &commands {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("event_id"),
            "{command}: {answer}"
        );
    }
    let received = dev.until("PUT /crm");
    assert!(received.contains("received  "), "{received}");
    let took = dev.interrupt();
    assert!(took < STOPPED_WITHIN, "{took:?}");
}
