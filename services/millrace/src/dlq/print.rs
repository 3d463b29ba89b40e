//! Dead letters and replays as people read them.

use dlq_replayer::{Counts, Job, Page, Shown, Status, Summary};

use crate::{check::counted, output::say, when};

pub(super) fn page(page: &Page) {
    for letter in &page.letters {
        summary(letter);
    }
    match (&page.next, page.letters.len()) {
        (Some(next), count) => {
            say!("{}; more: --cursor {next}", counted(count, "dead letter"));
        }
        (None, 0) => say!("no dead letters"),
        (None, count) => say!("{}", counted(count, "dead letter")),
    }
}

fn summary(letter: &Summary) {
    let reason = letter.reason.map_or("unknown", |reason| reason.label());
    say!("{}  {reason:<19}  {}", when::written(letter.at_ms), letter.id);
    say!("    {}", about(letter));
    if !letter.message.is_empty() {
        say!("    {}", letter.message);
    }
    if let Some(job) = &letter.replayed_by {
        say!("    replayed by {job}");
    }
}

/// Tells which event it is, from where and for whom.
fn about(letter: &Summary) -> String {
    let or =
        |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let mut about = format!(
        "{} {} from {}",
        or(&letter.event_type, "(unknown type)"),
        or(&letter.event_id, "(unknown id)"),
        or(&letter.source, "(unknown source)"),
    );
    for (before, text) in [(" by ", &letter.route), (" for ", &letter.destination)] {
        if !text.is_empty() {
            about.push_str(before);
            about.push_str(text);
        }
    }
    if letter.replay_count > 0 {
        about.push_str(&format!(
            ", replayed {} before",
            counted(letter.replay_count as usize, "time")
        ));
    }
    about
}

pub(super) fn shown(shown: &Shown) {
    summary(&shown.summary);
    if let Some(origin) = &shown.summary.origin {
        say!("    it lay at {origin}");
    }
    say!("\nheaders");
    for (name, value) in &shown.headers {
        say!("    {name}: {value}");
    }
    if let Some(key) = &shown.key {
        say!("key\n    {key}");
    }
    match (&shown.decoded, &shown.value) {
        (Some(decoded), _) => say!("record\n{decoded:#}"),
        (None, Some(value)) => say!("record, which can't be decoded, in base64\n    {value}"),
        (None, None) => say!("no record: a tombstone"),
    }
}

pub(super) fn job(job: &Job) {
    let status = match job.status {
        Status::Unfinished => "unfinished",
        Status::Done => "done",
    };
    say!("{}  {status:<10}  {}  by {}", when::written(job.created_ms), job.id, job.by);
    say!("    {}", counts(&job.counts, "replayed"));
}

/// Tells counts in one line; `done` is what became of those that were put through.
pub(super) fn counts(counts: &Counts, done: &str) -> String {
    let mut text = format!(
        "{} of {} {done}",
        counts.republished,
        counted(counts.chosen as usize, "dead letter")
    );
    for (count, what) in [
        (counts.replayed_before, "left out: replayed before (--again replays them too)"),
        (counts.doubles, "left out: the same record was given up on twice"),
        (counts.quarantined, "into quarantine: replayed too often"),
        (counts.failed, "failed"),
    ] {
        if count > 0 {
            text.push_str(&format!("\n    {count} {what}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_tell_only_what_there_is() {
        let all = Counts { chosen: 4, republished: 4, ..Counts::default() };
        assert_eq!(counts(&all, "replayed"), "4 of 4 dead letters replayed");
        let some = Counts { chosen: 1, replayed_before: 1, ..Counts::default() };
        let told = counts(&some, "would be replayed");
        assert!(told.starts_with("0 of 1 dead letter would be replayed\n    1 left out"), "{told}");
    }
}
