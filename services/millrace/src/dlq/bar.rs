//! The progress of a count or a replay, on a terminal's standard error; elsewhere nothing.

use std::time::Duration;

use dlq_replayer::Progress;
use indicatif::{ProgressBar, ProgressStyle};

const REDRAW: Duration = Duration::from_millis(200);

/// A bar that tells how far it is and how long the rest takes.
#[derive(Debug, Clone)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(doing: &'static str) -> Self {
        let style = "{prefix} {bar:32} {percent:>3} %  {msg}";
        let style = ProgressStyle::with_template(style).expect("the template is ours");
        let bar = ProgressBar::new(0).with_style(style.progress_chars("##-")).with_prefix(doing);
        bar.enable_steady_tick(REDRAW);
        Self(bar)
    }

    pub(super) fn show(&self, progress: &Progress) {
        // While it waits nothing is known of how far it is.
        if progress.waiting.is_none() {
            self.0.set_length(progress.total);
            self.0.set_position(progress.passed);
        }
        self.0.set_message(message(progress));
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn message(progress: &Progress) -> String {
    if let Some(reason) = &progress.waiting {
        return format!("waiting: {reason}");
    }
    let counts = &progress.counts;
    let eta = match progress.eta {
        Some(eta) => format!("ETA {}", humantime::format_duration(seconds(eta))),
        None => "ETA unknown".to_owned(),
    };
    format!("{} looked at, {} chosen, {eta}", counts.scanned, counts.chosen)
}

fn seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs_f64().ceil() as u64)
}

#[cfg(test)]
mod tests {
    use dlq_replayer::Counts;

    use super::*;

    #[test]
    fn progress_tells_how_much_is_left_or_what_is_waited_for() {
        let counts = Counts { scanned: 500, chosen: 20, ..Counts::default() };
        let mut progress = Progress {
            passed: 500,
            total: 1000,
            counts,
            elapsed: Duration::from_secs(90),
            eta: Some(Duration::from_millis(89_100)),
            waiting: None,
        };
        assert_eq!(message(&progress), "500 looked at, 20 chosen, ETA 1m 30s");
        progress.waiting = Some("kafka is away".to_owned());
        assert_eq!(message(&progress), "waiting: kafka is away");
    }
}
