//! What one run gave, medians over runs, and the table and file they end in.

use std::{fs, path::PathBuf, time::Duration};

use serde::Serialize;
use testkit::Spawned;

/// One run of one process.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub events: u64,
    pub seconds: f64,
    pub cpu_us_per_event: f64,
    pub rss_mib: f64,
}

impl Run {
    /// Takes the figures of a process that has done its events since `cpu_before`.
    pub fn of(process: &Spawned, events: u64, took: Duration, cpu_before: Duration) -> Self {
        let cpu = process.cpu().unwrap().saturating_sub(cpu_before);
        Self {
            events,
            seconds: took.as_secs_f64(),
            cpu_us_per_event: cpu.as_secs_f64() * 1e6 / events as f64,
            rss_mib: process.rss_bytes().unwrap() as f64 / (1024.0 * 1024.0),
        }
    }

    fn per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// The figures of one service; what was not measured is null.
#[derive(Debug, Serialize)]
pub struct Report {
    pub name: String,
    pub events: u64,
    pub events_per_second: f64,
    pub cpu_us_per_event: f64,
    pub floor_cpu_us_per_event: Option<f64>,
    pub ratio: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub rss_mib: f64,
}

impl Report {
    /// The medians of alternating runs.
    pub fn of_pairs(name: &str, pairs: &[(Run, Run)]) -> Self {
        let service = |f: fn(&Run) -> f64| median(pairs.iter().map(|(s, _)| f(s)).collect());
        let floor = median(pairs.iter().map(|(_, f)| f.cpu_us_per_event).collect());
        let cpu = service(|r| r.cpu_us_per_event);
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

    /// Prints the row and writes `target/bench/NAME.json`.
    pub fn publish(&self) {
        let or_dash = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.2}"));
        println!(
            "{:<24} {:>8} events {:>8.0}/s {:>8.1} µs CPU, floor {:>7}, ratio {:>5}, p50 {:>7} ms, p99 {:>7} ms, {:>5.0} MiB",
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
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{}.json", self.name));
        fs::write(file, serde_json::to_vec_pretty(self).unwrap()).unwrap();
    }
}

/// The middle value; of an even number of values the upper of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which `share` of the times lie, in milliseconds.
pub fn percentile_ms(times: &mut [Duration], share: f64) -> Option<f64> {
    times.sort_unstable();
    let place = ((times.len() as f64 * share) as usize).min(times.len().checked_sub(1)?);
    Some(times[place].as_secs_f64() * 1e3)
}
