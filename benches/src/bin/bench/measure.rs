//! What one run gave, medians over runs, and the table and file they end in.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde::Serialize;
use testkit::{Spawned, scratch};
use tokio::time::{MissedTickBehavior, interval};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(300);
/// Long enough for a process to connect, join its group and have nothing to do.
const STARTED: Duration = Duration::from_secs(4);

/// One run of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_us_per_event: f64,
    pub(crate) rss_mib: f64,
    /// The part of the whole machine that was busy meanwhile, where that was looked at.
    pub(crate) busy: Option<f64>,
}

/// What is waiting for a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    pub(crate) events: u64,
    /// How long a process that does not get through is looked at, from its first event on.
    pub(crate) within: Duration,
}

/// What all processors have done since the machine's start, in the system's own unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    idle: u64,
    all: u64,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let line = stat.lines().next().unwrap();
        // What guests used, the last two, is in the first two already.
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).map(|ticks| ticks.parse().unwrap()).collect();
        Self { idle: ticks[3] + ticks[4], all: ticks.iter().sum() }
    }

    /// The part that was busy since a moment, from 0 to 1.
    pub(crate) fn busy_since(self, before: Self) -> f64 {
        let all = (self.all - before.all).max(1);
        1.0 - self.idle.saturating_sub(before.idle) as f64 / all as f64
    }
}

impl Run {
    /// Takes the figures of a process that has done its events since `cpu_before`.
    pub(crate) fn of(process: &Spawned, events: u64, took: Duration, cpu_before: Duration) -> Self {
        let cpu = process.cpu().unwrap().saturating_sub(cpu_before);
        Self {
            events,
            seconds: took.as_secs_f64(),
            cpu_us_per_event: cpu.as_secs_f64() * 1e6 / events as f64,
            rss_mib: peak_mib(process),
            busy: None,
        }
    }

    /// Waits until a process has done a backlog of `events`, as `done` counts them.
    pub(crate) async fn of_backlog(
        process: Spawned,
        events: u64,
        start: Duration,
        done: impl AsyncFn() -> u64,
    ) -> Self {
        Self::of_part(process, Backlog { events, within: DEADLINE }, start, done).await
    }

    /// Waits until a process has done a backlog, or as much of it as it does in its time.
    pub(crate) async fn of_part(
        mut process: Spawned,
        backlog: Backlog,
        start: Duration,
        done: impl AsyncFn() -> u64,
    ) -> Self {
        let begun = Instant::now();
        let mut first = None;
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = loop {
            ticks.tick().await;
            let count = done().await;
            let is_over =
                first.is_some_and(|(at, ..): (Instant, _, _)| at.elapsed() >= backlog.within);
            if count >= backlog.events || is_over {
                break count.min(backlog.events);
            }
            if count > 0 {
                first.get_or_insert((Instant::now(), count, Machine::now()));
            }
            let alive = process.ended().is_none() && begun.elapsed() < DEADLINE;
            assert!(alive, "{count} of {} done:\n{}", backlog.events, process.log());
        };
        let (since, before, machine) = first.unwrap_or((begun, 0, Machine::now()));
        // What was done before the first look is taken to be done as fast as the rest.
        let took = since.elapsed().mul_f64(events as f64 / (events - before).max(1) as f64);
        let busy = Some(Machine::now().busy_since(machine));
        Self { busy, ..Self::of(&process, events, took, start) }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Returns the processor time that a process takes to start, with nothing to do.
pub(crate) async fn start_of(process: Spawned) -> Duration {
    tokio::time::sleep(STARTED).await;
    process.cpu().unwrap()
}

/// The most memory a process has had.
pub(crate) fn peak_mib(process: &Spawned) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024.0
}

/// The figures of one service; what was not measured is null.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) events: u64,
    pub(crate) events_per_second: f64,
    pub(crate) cpu_us_per_event: f64,
    pub(crate) floor_cpu_us_per_event: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) rss_mib: f64,
}

impl Report {
    /// The medians of alternating runs.
    pub(crate) fn of_pairs(name: &str, pairs: &[(Run, Run)]) -> Self {
        let service = |f: fn(&Run) -> f64| median(pairs.iter().map(|(s, _)| f(s)).collect());
        let floor = median(pairs.iter().map(|(_, f)| f.cpu_us_per_event).collect());
        let cpu = service(|r| r.cpu_us_per_event);
        for (service, floor) in pairs {
            let (cpu, of_floor) = (service.cpu_us_per_event, floor.cpu_us_per_event);
            let (rate, rate_of_floor) = (service.per_second(), floor.per_second());
            println!(
                "  {name}: {cpu:.1} µs, floor {of_floor:.1} µs; {rate:.0}/s, floor {rate_of_floor:.0}/s"
            );
        }
        Self {
            name: name.to_owned(),
            events: pairs.iter().map(|(s, _)| s.events).sum(),
            events_per_second: service(Run::per_second),
            cpu_us_per_event: cpu,
            floor_cpu_us_per_event: Some(floor),
            ratio: Some(cpu / floor),
            p50_ms: None,
            p99_ms: None,
            rss_mib: pairs.iter().map(|(s, _)| s.rss_mib).fold(0.0, f64::max),
        }
    }

    /// Prints the row and writes the file.
    pub(crate) fn publish(&self) {
        let or_dash = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.2}"));
        println!(
            "{:<20} {:>8} events {:>8.0}/s {:>8.1} µs CPU, floor {:>7}, ratio {:>5}, p50 {:>7} ms, p99 {:>7} ms, {:>5.0} MiB",
            self.name,
            self.events,
            self.events_per_second,
            self.cpu_us_per_event,
            or_dash(self.floor_cpu_us_per_event),
            or_dash(self.ratio),
            or_dash(self.p50_ms),
            or_dash(self.p99_ms),
            self.rss_mib,
        );
        self.write();
    }

    /// Writes its file.
    pub(crate) fn write(&self) {
        write(&self.name, self);
    }
}

/// Writes `target/bench/NAME.json`.
pub(crate) fn write(name: &str, figures: &impl Serialize) {
    let folder = scratch::target().join("bench");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{name}.json"));
    fs::write(file, serde_json::to_vec_pretty(figures).unwrap()).unwrap();
}

/// The middle value; of an even number of values the upper of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which `share` of the times lie, in milliseconds.
pub(crate) fn percentile_ms(times: &mut [Duration], share: f64) -> Option<f64> {
    times.sort_unstable();
    let place = ((times.len() as f64 * share) as usize).min(times.len().checked_sub(1)?);
    Some(times[place].as_secs_f64() * 1e3)
}
