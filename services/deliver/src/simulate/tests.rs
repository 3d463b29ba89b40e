//! Runs histories: a thousand seeds, and every mutant until it dies.

use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use super::{
    history::{History, generate},
    minimise::minimise,
    mutant::Mutant,
    outside::Tools,
    tally::Tally,
    truth::{Failure, Fault},
    world::run,
};

const SEEDS: u64 = 1_000;
const DELIVERIES: u64 = 1_000_000;
/// A transition that is seen less often is one that is not tested.
const LEAST: u64 = 100;
/// Seeds within which a mutant has to die.
const MUTANT_SEEDS: u64 = 300;
const MUTANT_RECORDS: usize = 400;

/// What is asked for by the environment, as `make simulate` sets it.
struct Asked {
    seeds: std::ops::Range<u64>,
    records: usize,
}

impl Asked {
    fn read() -> Self {
        let number = |name: &str| {
            let text = env::var(format!("MILLRACE_SIMULATE_{name}")).unwrap_or_default();
            (!text.is_empty()).then(|| text.parse::<u64>().expect("it is a number"))
        };
        let count = number("SEEDS").unwrap_or(SEEDS);
        let records = (number("DELIVERIES").unwrap_or(DELIVERIES) / count).max(1) as usize;
        let seeds = match number("SEED") {
            Some(seed) => seed..seed + 1,
            None => 1..count + 1,
        };
        Self { seeds, records }
    }

    fn is_one(&self) -> bool {
        self.seeds.end - self.seeds.start == 1
    }
}

/// What came of many seeds.
#[derive(Default)]
struct Ran {
    tally: Tally,
    /// By fault: how many seeds, and the first of them.
    failed: BTreeMap<Fault, (usize, History, Failure)>,
}

impl Ran {
    fn add(&mut self, other: Self) {
        self.tally.add(&other.tally);
        for (fault, (count, history, failure)) in other.failed {
            let entry = self.failed.entry(fault).or_insert((0, history, failure));
            entry.0 += count;
        }
    }
}

/// Runs all seeds, on two threads.
fn run_all(asked: &Asked) -> Ran {
    let next = AtomicU64::new(asked.seeds.start);
    let work = || {
        let (tools, mut ran) = (Tools::new(), Ran::default());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= asked.seeds.end {
                return ran;
            }
            let history = generate(seed, asked.records);
            let (tally, failure) = run(&tools, &history, None);
            let failed = failure.map(|failure| (failure.fault, (1, history, failure)));
            ran.add(Ran { tally, failed: failed.into_iter().collect() });
        }
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        let mut all = Ran::default();
        for thread in threads {
            all.add(thread.join().expect("no defect of the simulation"));
        }
        all
    })
}

fn tell(history: &History, failure: &Failure, mutant: Option<Mutant>) -> String {
    let tools = Tools::new();
    let shortest = minimise(&tools, history, mutant, failure.fault);
    let again = run(&tools, &shortest, mutant).1.map(|failure| failure.to_string());
    format!(
        "seed {} with {} records failed: {failure}\nthe least that fails so ({}):\n{shortest}",
        history.seed,
        history.records(),
        again.unwrap_or_default(),
    )
}

#[test]
fn a_million_deliveries_over_a_thousand_seeds_keep_every_promise() {
    let (asked, begun) = (Asked::read(), Instant::now());
    let Ran { tally, failed } = run_all(&asked);
    let seconds = begun.elapsed().as_secs_f64();
    for (what, count) in tally.all() {
        eprintln!("{count:>10}  {what}");
    }
    eprintln!(
        "seeds {:?}, {} records each: {} deliveries, {} attempts, {} steps in {seconds:.1} s, {:.0} deliveries/s",
        asked.seeds,
        asked.records,
        tally.deliveries,
        tally.attempts,
        tally.steps,
        tally.deliveries as f64 / seconds,
    );
    for (fault, (count, history, failure)) in &failed {
        eprintln!("{count} seeds failed by {fault:?}; {}", tell(history, failure, None));
    }
    assert!(failed.is_empty(), "{:?}", failed.keys());
    let rare = tally.rarer_than(LEAST);
    assert!(asked.is_one() || rare.is_empty(), "seen less than {LEAST} times: {rare:?}");
}

#[test]
fn a_seed_gives_the_same_history_and_the_same_end_again() {
    let tools = Tools::new();
    let told = |seed| {
        let history = generate(seed, 300);
        let (tally, failure) = run(&tools, &history, None);
        (history.to_string(), tally.all().collect::<Vec<_>>(), tally.steps, failure.is_some())
    };
    for seed in 1..20 {
        assert_eq!(told(seed), told(seed));
    }
    assert_ne!(told(1).0, told(2).0);
}

#[test]
fn every_mutant_dies() {
    let tools = Tools::new();
    let mut alive = Vec::new();
    for mutant in Mutant::ALL {
        let mut seeds = 1..MUTANT_SEEDS + 1;
        let died = seeds.find_map(|seed| {
            let history = generate(seed, MUTANT_RECORDS);
            Some((seed, run(&tools, &history, Some(mutant)).1?))
        });
        match died {
            Some((seed, failure)) => {
                let history = generate(seed, MUTANT_RECORDS);
                assert!(run(&tools, &history, None).1.is_none(), "seed {seed} fails anyway");
                eprintln!("{mutant:?} died of seed {seed}: {failure}");
            }
            None => alive.push(mutant),
        }
    }
    assert!(alive.is_empty(), "{alive:?} live through {MUTANT_SEEDS} seeds");
}

#[test]
fn a_failing_history_is_cut_down_to_what_it_needs() {
    let tools = Tools::new();
    let mutant = Some(Mutant::ForgetFollowers);
    let (history, failure) = (1..)
        .find_map(|seed| {
            let history = generate(seed, 60);
            Some((run(&tools, &history, mutant).1?, history)).map(|(failure, of)| (of, failure))
        })
        .expect("there are seeds enough");
    let shortest = minimise(&tools, &history, mutant, failure.fault);
    let again = run(&tools, &shortest, mutant).1.expect("it still fails");
    assert_eq!(again.fault, failure.fault);
    // Two records of a key, a process, and what little makes it show.
    assert!(shortest.events.len() <= 6, "{shortest}");
    assert_eq!(shortest.records(), 2, "{shortest}");
}
