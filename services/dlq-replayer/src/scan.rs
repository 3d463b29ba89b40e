//! What happens to each dead letter of a job, in order: pure, and the same for a dry run, a run,
//! and the resumption of one.
//!
//! A resumed job decides again about what it has done, without doing it again, so that doubles are
//! known and counts are whole.

use std::collections::HashMap;

use crate::{Counts, Job, JobId, letter::Letter, seen::Seen};

/// What a job does with one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is not meant.
    Leave,
    /// Another letter of the same origin was decided about.
    Double,
    /// An earlier job has put it through.
    ReplayedBefore,
    /// Nobody reads what it is.
    Stray,
    /// It was replayed too often.
    Quarantine,
    Republish,
}

/// The jobs there have been, in their turn.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    jobs: Vec<Job>,
    /// Which jobs are about a partition, so that most letters ask few of them.
    places: HashMap<String, HashMap<i32, Vec<usize>>>,
}

impl History {
    /// Takes jobs in any order.
    pub(crate) fn new(mut jobs: Vec<Job>) -> Self {
        jobs.sort_by(|a, b| a.turn().cmp(&b.turn()));
        let mut places: HashMap<String, HashMap<i32, Vec<usize>>> = HashMap::new();
        for (at, job) in jobs.iter().enumerate() {
            for range in &job.ranges {
                let topic = places.entry(range.topic.clone()).or_default();
                topic.entry(range.partition).or_default().push(at);
            }
        }
        Self { jobs, places }
    }

    /// Returns the jobs recorded before `job`: of two that mean one letter, the first replays it.
    pub(crate) fn before(&self, job: &Job) -> Self {
        let earlier = |other: &&Job| other.turn() < job.turn() && other.id != job.id;
        Self::new(self.jobs.iter().filter(earlier).cloned().collect())
    }

    /// Returns the last job that has put a letter through, or will: an unfinished one is finished
    /// by whoever finds it.
    pub(crate) fn replayed_by(&self, letter: &Letter<'_>) -> Option<&JobId> {
        if letter.is_stray {
            return None;
        }
        let about = self.places.get(letter.topic)?.get(&letter.partition)?;
        let covers = |job: &&Job| {
            job.range(letter.topic, letter.partition).contains(&letter.offset)
                && job.means(letter)
                && !job.has_failed(letter)
        };
        about.iter().rev().map(|at| &self.jobs[*at]).find(covers).map(|job| &job.id)
    }
}

/// Goes through a job's ranges, letter by letter.
pub(crate) struct Scan<'a> {
    job: &'a Job,
    history: History,
    seen: Seen,
    pub(crate) counts: Counts,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(job: &'a Job, history: &History) -> Self {
        let history = history.before(job);
        Self { job, history, seen: Seen::default(), counts: Counts::default() }
    }

    /// Decides about the next letter and counts it.
    pub(crate) fn decide(&mut self, letter: &Letter<'_>) -> Decision {
        let decision = self.decided(letter);
        self.counts.scanned += 1;
        let counts = &mut self.counts;
        match decision {
            Decision::Leave => {}
            Decision::Double => counts.doubles += 1,
            Decision::ReplayedBefore => counts.replayed_before += 1,
            Decision::Stray => counts.failed += 1,
            Decision::Quarantine => counts.quarantined += 1,
            Decision::Republish => counts.republished += 1,
        }
        if !matches!(decision, Decision::Leave | Decision::Double) {
            counts.chosen += 1;
        }
        decision
    }

    /// Takes back a decision that could not be carried out.
    pub(crate) fn failed(&mut self, decision: Decision) {
        match decision {
            Decision::Republish => self.counts.republished -= 1,
            Decision::Quarantine => self.counts.quarantined -= 1,
            Decision::Leave | Decision::Double | Decision::ReplayedBefore | Decision::Stray => {
                return;
            }
        }
        self.counts.failed += 1;
    }

    fn decided(&mut self, letter: &Letter<'_>) -> Decision {
        let before = self.history.replayed_by(letter).is_some();
        let wanted = self.job.means(letter);
        // What was replayed before is remembered, so that a double of it is not replayed either.
        let double =
            (wanted || before) && letter.origin().is_some_and(|origin| !self.seen.insert(origin));
        match () {
            () if !wanted => Decision::Leave,
            () if double => Decision::Double,
            () if before && !self.job.again => Decision::ReplayedBefore,
            () if letter.is_stray => Decision::Stray,
            () if letter.replay_count >= self.job.replays_max => Decision::Quarantine,
            () => Decision::Republish,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, Filter, job::tests::job};

    fn letter(offset: i64, origin: i64) -> Letter<'static> {
        Letter {
            topic: "dlq.deliver.crm",
            offset,
            origin_topic: "out.crm",
            origin_partition: Some(0),
            origin_offset: Some(origin),
            ..Letter::default()
        }
    }

    fn all() -> Choice {
        Choice::Filter(Filter::default())
    }

    fn decisions(scan: &mut Scan<'_>, letters: &[Letter<'_>]) -> Vec<Decision> {
        letters.iter().map(|letter| scan.decide(letter)).collect()
    }

    #[test]
    fn of_two_letters_with_one_origin_one_is_replayed() {
        let job = job(1, all(), 9);
        let mut scan = Scan::new(&job, &History::default());
        let letters = [letter(0, 7), letter(1, 8), letter(2, 7)];
        let wanted = [Decision::Republish, Decision::Republish, Decision::Double];
        assert_eq!(decisions(&mut scan, &letters), wanted);
        let counts =
            Counts { scanned: 3, chosen: 2, republished: 2, doubles: 1, ..Counts::default() };
        assert_eq!(scan.counts, counts);
    }

    #[test]
    fn what_an_earlier_job_replayed_and_its_later_double_are_left_out() {
        let history = History::new(vec![job(1, all(), 2)]);
        let second = job(2, all(), 9);
        let letters = [letter(0, 7), letter(1, 8), letter(2, 7), letter(3, 9)];
        let mut scan = Scan::new(&second, &history);
        let (before, again) = (Decision::ReplayedBefore, Decision::Republish);
        assert_eq!(decisions(&mut scan, &letters), [before, before, Decision::Double, again]);
        let second = Job { again: true, ..second };
        let mut scan = Scan::new(&second, &history);
        assert_eq!(decisions(&mut scan, &letters), [again, again, Decision::Double, again]);
    }

    #[test]
    fn of_two_jobs_at_a_time_the_first_replays_whatever_they_share() {
        let (first, second) = (job(1, all(), 9), job(2, all(), 9));
        let history = History::new(vec![second.clone(), first.clone()]);
        let decide = |job: &Job| Scan::new(job, &history).decide(&letter(0, 7));
        assert_eq!(decide(&first), Decision::Republish);
        assert_eq!(decide(&second), Decision::ReplayedBefore);
    }

    #[test]
    fn a_letter_replayed_too_often_goes_to_quarantine() {
        let job = Job { replays_max: 2, ..job(1, all(), 9) };
        let mut scan = Scan::new(&job, &History::default());
        let often = |count| Letter { replay_count: count, ..letter(count.into(), count.into()) };
        let wanted = [Decision::Republish, Decision::Quarantine, Decision::Quarantine];
        assert_eq!(decisions(&mut scan, &[often(1), often(2), often(3)]), wanted);
    }

    #[test]
    fn a_letter_that_could_not_be_put_through_is_not_shown_as_replayed() {
        let mut first = job(1, all(), 9);
        first.failed = vec![letter(1, 8).id()];
        let history = History::new(vec![first.clone()]);
        assert_eq!(history.replayed_by(&letter(0, 7)), Some(&first.id));
        assert_eq!(history.replayed_by(&letter(1, 8)), None);
        assert_eq!(history.replayed_by(&letter(9, 9)), None);
    }

    #[test]
    fn a_letter_that_nobody_reads_has_failed_and_was_never_replayed() {
        let job = job(1, all(), 9);
        let stray = Letter { is_stray: true, ..letter(0, 7) };
        let mut scan = Scan::new(&job, &History::default());
        assert_eq!(scan.decide(&stray), Decision::Stray);
        let counts = Counts { scanned: 1, chosen: 1, failed: 1, ..Counts::default() };
        assert_eq!(scan.counts, counts);
        assert_eq!(History::new(vec![job.clone()]).replayed_by(&stray), None);
    }

    #[test]
    fn a_letter_without_an_origin_has_no_double() {
        let job = job(1, all(), 9);
        let mut scan = Scan::new(&job, &History::default());
        let lone = Letter { origin_offset: None, ..letter(0, 0) };
        assert_eq!(decisions(&mut scan, &[lone.clone(), lone]), [Decision::Republish; 2]);
    }
}
