//! A program as a child process that a test can watch, stop and kill: `millrace`, mostly.
//! It runs in a process group of its own and never outlives the test.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Reply, Scratch, client, scratch, wait};

const NAME: &str = "process";
const LOOK: Duration = Duration::from_secs(1);

/// What to run. A spawned process can be started again by the same.
#[derive(Debug, Clone)]
pub struct Program {
    executable: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Option<PathBuf>,
    admin: Option<SocketAddr>,
}

impl Program {
    /// The executable at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Self { executable: path.into(), arguments, environment, folder: None, admin: None }
    }

    /// The `millrace` of this build, or of `$MILLRACE_BIN`.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn millrace() -> Self {
        let path = std::env::var_os("MILLRACE_BIN").map_or_else(built, PathBuf::from);
        assert!(path.is_file(), "{} is missing: run `cargo build` first", path.display());
        Self::at(path)
    }

    pub fn arg(mut self, argument: impl ToString) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// The folder it runs in; its own scratch folder unless said.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Where `/readyz` answers; the program has to be told by its own configuration.
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self
    }

    /// Starts it. `MILLRACE_…` variables of the test's own environment do not reach it.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn spawn(self) -> Spawned {
        let scratch = Scratch::new("process");
        let child = start(&self, &scratch);
        Spawned { program: self, child, scratch }
    }
}

/// A child process; dropping it kills it with all it started.
#[derive(Debug)]
pub struct Spawned {
    program: Program,
    child: Child,
    scratch: Scratch,
}

impl Spawned {
    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its own folder, for configuration and the like.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Everything it has written to its standard output and error, over all its lives.
    pub fn log(&self) -> String {
        self.scratch.log(NAME)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits until `/readyz` on the admin address answers 200.
    ///
    /// # Panics
    /// When it does not within `deadline` or the process ends; with the end of the log.
    pub async fn wait_ready(&mut self, deadline: Duration) {
        let admin = self.program.admin.expect("the program was given an admin address");
        let mut last = String::new();
        let end = tokio::time::Instant::now() + deadline;
        loop {
            let ready = wait::within(LOOK, || ask(admin)).await;
            match ready {
                Some(reply) if reply.status.is_success() => return,
                Some(reply) => last = reply.text(),
                None => {}
            }
            if let Some(status) = self.ended() {
                panic!("ended with {status} before it was ready:\n{}", self.log_end());
            }
            if tokio::time::Instant::now() >= end {
                panic!("not ready after {deadline:?}: {last}\n{}", self.log_end());
            }
        }
    }

    /// Waits until it has ended by itself, and says how.
    ///
    /// # Panics
    /// When it has not within `deadline`; with the end of the log.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let ended = wait::within(deadline, || std::future::ready(self.ended())).await;
        ended.unwrap_or_else(|| panic!("still runs after {deadline:?}:\n{}", self.log_end()))
    }

    /// Sends SIGTERM.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn sigint(&self) {
        self.signal(Signal::INT);
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill9(&mut self) {
        self.scratch.kill(NAME);
        let _ = self.child.wait();
    }

    /// Starts it again after it has ended, with the same arguments and environment.
    ///
    /// # Panics
    /// When it still runs.
    pub fn restart(&mut self) {
        assert!(self.ended().is_some(), "it still runs: kill it first");
        self.child = start(&self.program, &self.scratch);
    }

    /// Starts it again with other variables added, for a failpoint, say.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        for (name, value) in environment {
            self.program.environment.retain(|(known, _)| known != name);
            self.program.environment.push((name.to_string(), value.to_string()));
        }
        self.restart();
    }

    /// Its resident memory in bytes.
    pub fn rss_bytes(&self) -> io::Result<u64> {
        let pages = fs::read_to_string(format!("/proc/{}/statm", self.pid()))?;
        let pages = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Ok(pages.ok_or(io::ErrorKind::InvalidData)? * rustix::param::page_size() as u64)
    }

    /// The processor time it has used, user and system, all threads.
    pub fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The name in brackets may hold spaces; user and system time are the 12th and 13th after.
        let fields = stat.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?.1;
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            let _ = kill_process(pid, signal); // it may have ended already
        }
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill9();
        }
    }
}

fn start(program: &Program, scratch: &Scratch) -> Child {
    let log =
        File::options().create(true).append(true).open(scratch.path().join(format!("{NAME}.log")));
    let log = log.expect("the scratch folder is writable");
    let mut command = Command::new(&program.executable);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MILLRACE_") {
            command.env_remove(name);
        }
    }
    command
        .args(&program.arguments)
        .env(scratch::MARK, scratch.path())
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(program.folder.as_deref().unwrap_or(scratch.path()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file handle can be doubled"))
        .stderr(log)
        .process_group(0);
    let child = command.spawn();
    let child = child.unwrap_or_else(|e| panic!("{}: {e}", program.executable.display()));
    fs::write(scratch.path().join(format!("{NAME}.pid")), child.id().to_string())
        .expect("the scratch folder is writable");
    child
}

/// `target/PROFILE/millrace`, two folders above a test's own executable.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("this executable has a path");
    let folder = test.ancestors().nth(2).expect("cargo puts tests two folders below the profile");
    folder.join("millrace")
}

async fn ask(admin: SocketAddr) -> Option<Reply> {
    client::get(admin, "/readyz", LOOK).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ports;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Spawned {
        Program::at("/bin/sh").arg("-c").arg(script).spawn()
    }

    #[tokio::test]
    async fn a_program_that_ends_says_how_and_leaves_its_log() {
        let mut process = shell("echo one; echo two >&2; exit 3");
        assert_eq!(process.wait_exit(SOON).await.code(), Some(3));
        assert_eq!(process.log(), "one\ntwo\n");
    }

    #[tokio::test]
    async fn a_server_is_ready_killed_and_started_again() {
        let ports = Ports::reserve();
        let site = Scratch::new("site");
        fs::write(site.path().join("readyz"), "ready").unwrap();
        let program = Program::at("python3").arg("-m").arg("http.server").arg(ports.base());
        let program = program.arg("--bind").arg("127.0.0.1").folder(site.path());
        let mut process = program.admin(ports.address(0)).spawn();
        process.wait_ready(SOON).await;
        assert!(process.rss_bytes().unwrap() > 1 << 20 && process.cpu().unwrap() < SOON);
        process.kill9();
        assert!(process.ended().is_some());
        process.restart();
        process.wait_ready(SOON).await;
        process.sigterm();
        assert!(!process.wait_exit(SOON).await.success());
    }

    #[tokio::test]
    #[should_panic(expected = "before it was ready")]
    async fn a_program_that_ends_is_not_waited_for() {
        let ports = Ports::reserve();
        let program = Program::at("/bin/sh").arg("-c").arg("exit 1").admin(ports.address(0));
        program.spawn().wait_ready(SOON).await;
    }

    #[tokio::test]
    async fn a_restart_can_bring_another_environment() {
        let mut process = Program::at("/bin/sh").arg("-c").arg("echo $A").env("A", 1).spawn();
        process.wait_exit(SOON).await;
        process.restart_with(&[("A", "2")]);
        process.wait_exit(SOON).await;
        assert_eq!(process.log(), "1\n2\n");
    }
}
