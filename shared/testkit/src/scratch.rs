//! A folder for one test's processes under `target/testkit/`, which goes away with the test,
//! together with everything that still runs out of it: on drop, on panic, and, by a guard process
//! that watches a pipe, when the test itself is killed. What even that missed, the next test sweeps.
//! It does not start the processes; whoever does leaves a `NAME.pid` here and sets [`MARK`].

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// The environment variable that tells whose a process is; its value is the scratch folder.
pub const MARK: &str = "TESTKIT_SCRATCH";

const LOADING: Duration = Duration::from_millis(500);

const GUARD: &str = include_str!("guard.sh");

// A number for folder names, nothing else.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder of one test; see the head of this module.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    guard: Child,
}

impl Scratch {
    /// Makes an empty folder named after `kind` and its guard, and sweeps what dead tests left.
    pub fn new(kind: &str) -> Self {
        sweep(&home());
        let me = std::process::id();
        let born = born(me).expect("this process has a start time");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = home().join(format!("{kind}-{me}-{born}-{number}"));
        fs::create_dir_all(&path).expect("the target folder is writable");
        let guard = guard(&path);
        Self { path, guard }
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kills the process group of `NAME.pid` with SIGKILL and waits until it is gone.
    /// Does nothing when it does not run.
    pub fn kill(&self, name: &str) {
        if let Some(pid) = running(&self.path, name) {
            let _ = kill_process_group(pid, Signal::KILL);
            let end = Instant::now() + Duration::from_secs(10);
            while !is_gone(pid.as_raw_nonzero().get()) && Instant::now() < end {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
        let _ = fs::remove_file(self.path.join(format!("{name}.pid")));
    }

    /// The process of `NAME.pid`, if it runs and is of this folder.
    pub fn pid(&self, name: &str) -> Option<u32> {
        running(&self.path, name).map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
    }

    /// The log `NAME.log`, as far as it is text.
    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.path.join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            keep_logs(&self.path);
        }
        for name in names(&self.path) {
            self.kill(&name);
        }
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The root of this checkout.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("testkit lies two folders below the root").to_path_buf()
}

/// The folder the scratch folders lie in.
pub(crate) fn home() -> PathBuf {
    target().join("testkit")
}

/// The folder cargo builds into.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

fn guard(folder: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    Command::new("bash")
        .args(["-c", GUARD, "testkit-guard"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // the terminal's Ctrl-C must not reach it
        .spawn()
        .expect("bash is installed")
}

/// Kills and removes what tests left that no longer live.
fn sweep(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if owner(&path).is_some_and(|(pid, time)| born(pid) != Some(time)) {
            for name in names(&path) {
                if let Some(pid) = running(&path, &name) {
                    let _ = kill_process_group(pid, Signal::KILL);
                }
            }
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// The owner's process id and start time, out of a folder's name.
fn owner(folder: &Path) -> Option<(u32, u64)> {
    let name = folder.file_name()?.to_str()?;
    let mut parts = name.rsplit('-').skip(1);
    let time = parts.next()?.parse().ok()?;
    let pid = parts.next()?.parse().ok()?;
    Some((pid, time))
}

/// When a process started, in clock ticks since boot: with its number it is unmistakable.
fn born(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; the start time is the 20th field after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    files.filter_map(|file| file.strip_suffix(".pid").map(str::to_owned)).collect()
}

fn running(folder: &Path, name: &str) -> Option<Pid> {
    let text = fs::read_to_string(folder.join(format!("{name}.pid"))).ok()?;
    let pid: i32 = text.trim().parse().ok()?;
    let environment = environment(pid)?;
    let mark = format!("{MARK}={}", folder.display());
    // A number may have gone to somebody else meanwhile; a zombie's environment is empty.
    let ours = environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes());
    ours.then(|| Pid::from_raw(pid)).flatten()
}

/// A process's environment. The kernel shows it empty for a moment while a program is being
/// loaded, when `spawn` has returned already: a living process is looked at again.
fn environment(pid: i32) -> Option<Vec<u8>> {
    let end = Instant::now() + LOADING;
    loop {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        if !environment.is_empty() || is_dead(pid) || Instant::now() >= end {
            return Some(environment);
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Whether nothing of a process holds a port or a file any more. Its first thread may be a zombie
/// while others still end.
fn is_gone(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads == 0 || (threads == 1 && is_dead(pid))
}

fn is_dead(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_none_or(|state| matches!(state, 'Z' | 'X'))
}

/// What a failing test leaves for its reader.
fn keep_logs(folder: &Path) {
    let Some(name) = folder.file_name() else { return };
    let kept = home().join("failed").join(name);
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "log") {
            let _ = fs::create_dir_all(&kept);
            let _ = fs::copy(&path, kept.join(path.file_name().expect("a file has a name")));
        }
    }
    eprintln!("logs kept in {}", kept.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a process that would live for a minute, as the scripts do, and gives its number.
    fn lodger(folder: &Path) -> u32 {
        use std::os::unix::process::CommandExt;
        let child = Command::new("sleep").arg("60").env(MARK, folder).process_group(0).spawn();
        let id = child.unwrap().id();
        fs::write(folder.join("lodger.pid"), id.to_string()).unwrap();
        id
    }

    fn ends(pid: u32) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            // Our own dead child stays as a zombie, whose command line is empty.
            if fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty() {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        false
    }

    #[test]
    fn dropping_kills_what_runs_and_removes_the_folder() {
        let scratch = Scratch::new("drop");
        let (path, pid) = (scratch.path().to_path_buf(), lodger(scratch.path()));
        assert_eq!(scratch.pid("lodger"), Some(pid));
        drop(scratch);
        assert!(ends(pid) && !path.exists());
    }

    #[test]
    fn a_panic_kills_what_runs_too() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let test = std::thread::spawn(move || {
            let scratch = Scratch::new("panic");
            sender.send(lodger(scratch.path())).unwrap();
            panic!("on purpose");
        });
        assert!(test.join().is_err());
        assert!(ends(receiver.recv().unwrap()));
    }

    #[test]
    fn the_guard_kills_when_the_test_is_gone() {
        let mut scratch = Scratch::new("guard");
        let (path, pid) = (scratch.path().to_path_buf(), lodger(scratch.path()));
        drop(scratch.guard.stdin.take()); // the end of the test process closes the pipe likewise
        assert!(scratch.guard.wait().is_ok() && ends(pid) && !path.exists());
    }

    #[test]
    fn what_a_dead_owner_left_is_swept_and_nothing_else() {
        let scratch = Scratch::new("sweep");
        let dead = scratch.path().join("kafka-1-1-0"); // process 1 was not born at tick 1 … of ours
        let alive = scratch.path().join("kafka-odd");
        fs::create_dir_all(&dead).unwrap();
        fs::create_dir_all(&alive).unwrap();
        let pid = lodger(&dead);
        fs::write(alive.join("lodger.pid"), std::process::id().to_string()).unwrap();
        sweep(scratch.path());
        assert!(ends(pid) && !dead.exists() && alive.exists());
    }

    #[test]
    fn a_pid_file_naming_a_stranger_kills_nobody() {
        let scratch = Scratch::new("stranger");
        fs::write(scratch.path().join("me.pid"), std::process::id().to_string()).unwrap();
        assert_eq!(scratch.pid("me"), None);
        scratch.kill("me");
    }
}
