//! The executable seen from outside: its commands, their output and their exit codes.
#![allow(clippy::unwrap_used)]

mod catalog;
mod destination;
mod dlq;
mod embedded;
mod probe;
mod signature;
mod topics;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use testkit::Kafka;

const TELLS_WITHIN: Duration = Duration::from_secs(30);

/// Runs the executable to its end.
pub(crate) fn millrace(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(arguments, variables).output().unwrap()
}

/// What a command does on this cluster.
pub(crate) fn on(kafka: &Kafka, arguments: &[&str]) -> (i32, String) {
    let bootstrap = kafka.bootstrap();
    let variables = [
        ("MILLRACE_KAFKA__BOOTSTRAP_SERVERS", bootstrap.as_str()),
        ("MILLRACE_TOPICS__REPLICATION", "1"),
        ("MILLRACE_LOG__LEVEL", "error"),
    ];
    let output = millrace(arguments, &variables);
    (code(&output), text(&output))
}

fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(arguments).current_dir(examples().parent().unwrap());
    command.envs(variables.iter().copied());
    command
}

/// The executable while it runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(arguments, variables);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// Collects what is printed up to a line that holds `end`.
    pub(crate) fn until(&self, end: &str) -> String {
        self.until_all(&[end])
    }

    /// Collects what is printed until each of `parts` was.
    pub(crate) fn until_all(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + TELLS_WITHIN;
        let mut shown = String::new();
        while !parts.iter().all(|part| shown.contains(part)) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            shown.push_str(&line.unwrap_or_else(|_| panic!("not all of {parts:?} in {shown}")));
            shown.push('\n');
        }
        shown
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Presses Ctrl-C, and says how long it took to end well.
    pub(crate) fn interrupt(&mut self) -> Duration {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let status = self.end();
        assert!(status.success(), "{status}");
        began.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits until the process whose admin port is at `admin` shows a gauge with this value.
pub(crate) async fn until_gauge(admin: SocketAddr, name: &str, value: i64) {
    let line = format!("{name} {value}");
    testkit::wait::until_some(&line, TELLS_WITHIN, || async {
        let reply = testkit::get(admin, "/metrics", Duration::from_secs(1)).await.ok()?;
        reply.text().lines().any(|shown| shown == line).then_some(())
    })
    .await;
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub(crate) fn text(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap()
}

/// Copies the examples, with a change to the catalog's text.
pub(crate) fn changed(folder: &Path, change: impl Fn(&str) -> String) {
    for part in ["", "mappings", "secrets"] {
        fs::create_dir_all(folder.join(part)).unwrap();
        for entry in fs::read_dir(examples().join(part)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                fs::copy(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    let text = fs::read_to_string(examples().join("catalog.yaml")).unwrap();
    fs::write(folder.join("catalog.yaml"), change(&text)).unwrap();
}
