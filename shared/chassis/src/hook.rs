//! Failpoints: named places where a test lets a process die, stand still or wait. For tests only.
//!
//! `MILLRACE_FAILPOINTS="point=kill@N,other=delay:250ms"`, read once at start. A point that is not
//! named, and every point when the variable is unset, costs one branch.
//!
//! - `point=kill@N` kills this process with SIGKILL at the N-th hit of the point (N is 1 if unsaid).
//! - `point=pause@N` stops the thread for ever at the N-th hit, as a hung call would.
//! - `point=delay:DURATION` lets each hit wait, `@N` only the N-th.

use std::{
    collections::HashMap,
    fmt,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The variable that arms failpoints.
pub const VARIABLE: &str = "MILLRACE_FAILPOINTS";

/// The process's failpoints; the default has none.
#[derive(Debug, Clone, Default)]
pub struct Hook(Option<Arc<HashMap<String, Armed>>>);

#[derive(Debug)]
struct Armed {
    action: Action,
    /// The hit at which it acts, from 1; `None` is each.
    at: Option<u64>,
    hits: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Pause,
    Delay(Duration),
}

/// A part of the variable that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{VARIABLE}: {0:?} is no failpoint: write point=kill@N, point=pause@N or point=delay:250ms, separated by commas"
)]
pub struct Invalid(String);

impl Hook {
    /// Reads the text of the variable; an empty one arms nothing.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let armed: HashMap<String, Armed> = parts.map(parse_one).collect::<Result<_, _>>()?;
        Ok(Self((!armed.is_empty()).then(|| Arc::new(armed))))
    }

    /// Passes a point; does what is armed there, which may be not to return.
    #[inline]
    pub fn hit(&self, point: &str) {
        if let Some(armed) = &self.0 {
            hit(armed, point);
        }
    }
}

#[cold]
fn hit(armed: &HashMap<String, Armed>, point: &str) {
    let Some(armed) = armed.get(point) else { return };
    let hit = armed.hits.fetch_add(1, Ordering::Relaxed) + 1;
    if armed.at.is_some_and(|at| at != hit) {
        return;
    }
    match armed.action {
        Action::Kill => kill(point, hit),
        Action::Pause => loop {
            std::thread::park();
        },
        Action::Delay(time) => std::thread::sleep(time),
    }
}

fn kill(point: &str, hit: u64) {
    // One write, so that the line is whole: a test counts it.
    let line = format!("failpoint {point}: killed at hit {hit}\n");
    let _nobody_reads = std::io::stderr().write_all(line.as_bytes());
    let own = rustix::process::getpid();
    let _dying = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

fn parse_one(part: &str) -> Result<(String, Armed), Invalid> {
    let invalid = || Invalid(part.to_owned());
    let (point, rest) = part.split_once('=').ok_or_else(invalid)?;
    let (action, at) = match rest.split_once('@') {
        Some((action, at)) => (action, Some(at.parse().map_err(|_| invalid())?)),
        None => (rest, None),
    };
    let (action, at) = match action.split_once(':') {
        None if action == "kill" => (Action::Kill, Some(at.unwrap_or(1))),
        None if action == "pause" => (Action::Pause, Some(at.unwrap_or(1))),
        Some(("delay", time)) => {
            (Action::Delay(humantime::parse_duration(time).map_err(|_| invalid())?), at)
        }
        None | Some(_) => return Err(invalid()),
    };
    if point.is_empty() || at == Some(0) {
        return Err(invalid());
    }
    Ok((point.to_owned(), Armed { action, at, hits: AtomicU64::new(0) }))
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut points: Vec<&str> =
            self.0.iter().flat_map(|armed| armed.keys().map(String::as_str)).collect();
        points.sort_unstable();
        f.write_str(&points.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_armed_reads_from_the_variable() {
        let hook = Hook::parse("a=kill@3, b=pause,c=delay:5ms").expect("it is valid");
        let armed = hook.0.expect("three are armed");
        assert_eq!((armed["a"].action, armed["a"].at), (Action::Kill, Some(3)));
        assert_eq!((armed["b"].action, armed["b"].at), (Action::Pause, Some(1)));
        assert_eq!(armed["c"].action, Action::Delay(Duration::from_millis(5)));
        assert_eq!(armed["c"].at, None);
        assert!(Hook::parse(" ").expect("empty is valid").0.is_none());
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for bad in ["a", "a=", "=kill", "a=die", "a=kill@x", "a=kill@0", "a=delay", "a=delay:x"] {
            assert_eq!(Hook::parse(bad).err(), Some(Invalid(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn only_the_named_point_acts_and_only_at_its_hit() {
        let hook = Hook::parse("a=delay:20ms@2").expect("it is valid");
        let began = Instant::now();
        hook.hit("b");
        hook.hit("a");
        let before = began.elapsed();
        hook.hit("a");
        assert!(before < Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}
