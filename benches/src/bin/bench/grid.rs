//! Deliver by what its destinations are: `make bench-deliver`. Which cells, what is aimed at, and the table.

use serde::Serialize;

use crate::{
    cell::{Cell, Figures, IN_FLIGHT_MIN, Starts},
    measure,
    world::Worlds,
};

const KIB: usize = 1024;
const SECONDS: f64 = 6.0;

/// Which cells; where none of these is said, those that the aims are about.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Of the grid")]
pub(crate) struct Options {
    /// Milliseconds after which the destinations answer; several, with commas, make several cells.
    #[arg(long, value_delimiter = ',')]
    answers: Vec<u64>,
    /// Ordering keys, over all destinations.
    #[arg(long, value_delimiter = ',')]
    keys: Vec<u64>,
    #[arg(long, value_delimiter = ',')]
    destinations: Vec<u64>,
    /// Bytes of a body.
    #[arg(long, value_delimiter = ',')]
    body: Vec<usize>,
    /// Requests in flight at most, over all destinations; where not said as many as keys, 256 to 1,000.
    #[arg(long)]
    in_flight: Option<u64>,
    /// Measure the added latency of every cell.
    #[arg(long)]
    latency: bool,
}

/// What a cell should come to.
#[derive(Debug, Serialize)]
struct Aim {
    aim: String,
    is_met: bool,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    aims: Vec<Aim>,
}

pub(crate) async fn run(brokers: u16, pairs: usize, seconds: Option<f64>, options: &Options) {
    let mut worlds = Worlds::new(brokers);
    let mut starts = Starts::default();
    let mut all: Vec<Figures> = Vec::new();
    println!("{HEAD}");
    for cell in options.cells() {
        let figures =
            cell.measured(&mut worlds, pairs, seconds.unwrap_or(SECONDS), &mut starts).await;
        let row = Row { aims: aims(&figures, &all), figures: &figures };
        println!("{}", line(&row));
        measure::write(&format!("grid-{cell}"), &row);
        all.push(figures);
    }
}

impl Options {
    fn cells(&self) -> Vec<Cell> {
        let is_said = !(self.answers.is_empty()
            && self.keys.is_empty()
            && self.destinations.is_empty()
            && self.body.is_empty());
        let cells = if is_said { self.product() } else { usual() };
        let each = cells.into_iter().map(|cell| Cell {
            latency: cell.latency || self.latency,
            in_flight: self.in_flight.unwrap_or(cell.in_flight),
            ..cell
        });
        each.collect()
    }

    fn product(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for answer_ms in or(&self.answers, 0) {
            for keys in or(&self.keys, 1_000) {
                for body_bytes in or(&self.body, KIB) {
                    for destinations in or(&self.destinations, 1) {
                        cells.push(Cell::new(answer_ms, keys, destinations, body_bytes));
                    }
                }
            }
        }
        cells
    }
}

fn or<T: Copy>(said: &[T], usual: T) -> Vec<T> {
    if said.is_empty() { vec![usual] } else { said.to_vec() }
}

/// What the aims are about; the whole product would take hours.
fn usual() -> Vec<Cell> {
    let with_latency = |cell: Cell| Cell { latency: true, ..cell };
    vec![
        Cell::new(0, 1, 1, KIB),
        with_latency(Cell::new(0, 1_000, 1, KIB)),
        Cell::new(0, 1_000, 200, KIB),
        Cell::new(0, 1_000, 1, 8 * KIB),
        Cell::new(0, 1_000, 200, 8 * KIB),
        Cell::new(10, 100, 1, KIB),
        with_latency(Cell::new(10, 1_000, 1, KIB)),
        Cell::new(10, 10_000, 1, KIB),
        Cell::new(100, 1_000, 1, KIB),
    ]
}

/// What is aimed at with a cell, by itself and beside those before it.
fn aims(of: &Figures, before: &[Figures]) -> Vec<Aim> {
    let cell = of.cell;
    let mut aims = Vec::new();
    let mut aim = |aim: String, is_met: bool| aims.push(Aim { aim, is_met });
    if cell.keys >= IN_FLIGHT_MIN && cell.destinations == 1 {
        aim("ratio <= 1.5".to_owned(), of.ratio <= 1.5);
    }
    let with_one = |cell: Cell| Cell { destinations: 1, latency: false, ..cell };
    let is_pair =
        |other: &&Figures| other.cell.destinations == 1 && with_one(other.cell) == with_one(cell);
    if let Some(of_one) = before.iter().find(is_pair).filter(|_| cell.destinations > 1) {
        let times = of.cpu_us / of_one.cpu_us;
        aim(format!("CPU <= 1.2 x that with one ({times:.2})"), times <= 1.2);
    }
    let least = match (cell.answer_ms, cell.keys, cell.destinations) {
        (10, 100, 1) => Some(9_500.0),
        (10, 1_000.., 1) => Some(25_000.0),
        _ => None,
    };
    if let Some(least) = least {
        let is_met = of.per_second >= least || of.busy >= 0.95;
        aim(format!(">= {least:.0}/s, or 95 % busy"), is_met);
    }
    if let Some(latency) = &of.latency {
        aim("p99 <= 10 ms".to_owned(), latency.p99_ms <= 10.0);
    }
    aims
}

const HEAD: &str = "\
 answer   keys   to  body |      /s  busy  µs CPU  floor ratio | floor /s loop /s  µs CPU |  p50 ms  p99 ms p99.9 ms |   MiB | aims";

fn line(row: &Row<'_>) -> String {
    let Figures { cell, per_second, busy, cpu_us, rss_mib, .. } = row.figures;
    let Figures { floor_per_second, floor_cpu_us, ratio, loop_per_second, loop_cpu_us, .. } =
        row.figures;
    let Cell { answer_ms, keys, destinations, body_bytes, .. } = cell;
    let latency = match &row.figures.latency {
        Some(latency) => {
            format!("{:>7.1} {:>7.1} {:>8.1}", latency.p50_ms, latency.p99_ms, latency.p999_ms)
        }
        None => format!("{:>7} {:>7} {:>8}", "-", "-", "-"),
    };
    let aims: Vec<String> = row.aims.iter().map(told).collect();
    format!(
        "{answer_ms:>4} ms {keys:>6} {destinations:>4} {body_bytes:>5} | {per_second:>7.0} {:>4.0}% {cpu_us:>7.1} \
         {floor_cpu_us:>6.1} {ratio:>5.2} | {floor_per_second:>8.0} {loop_per_second:>7.0} {loop_cpu_us:>7.1} | \
         {latency} | {rss_mib:>5.0} | {}",
        busy * 100.0,
        aims.join("; "),
    )
}

fn told(aim: &Aim) -> String {
    let Aim { aim, is_met } = aim;
    format!("{aim}: {}", if *is_met { "met" } else { "MISSED" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let (answers, keys, destinations, body) = (vec![], vec![], vec![], vec![]);
        Options { answers, keys, destinations, body, in_flight: None, latency: false }
    }

    #[test]
    fn what_is_not_said_of_a_cell_is_as_usual() {
        assert_eq!(options().cells(), usual());
        let options = Options { answers: vec![10], keys: vec![100, 1_000], ..options() };
        let cells = [Cell::new(10, 100, 1, KIB), Cell::new(10, 1_000, 1, KIB)];
        assert_eq!(options.cells(), cells);
    }

    #[test]
    fn a_cell_allows_at_least_what_the_aims_are_about() {
        let allowed = |keys| Cell::new(0, keys, 1, KIB).in_flight;
        assert_eq!([1, 300, 10_000].map(allowed), [256, 300, 1_000]);
    }
}
