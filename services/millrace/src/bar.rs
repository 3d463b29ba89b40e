//! The progress of what takes long, on a terminal's standard error; elsewhere nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const REDRAW: Duration = Duration::from_millis(200);

/// A bar that tells how far something is and how long the rest takes.
#[derive(Debug, Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(doing: &'static str) -> Self {
        let style = "{prefix} {bar:32} {percent:>3} %  {msg}";
        let style = ProgressStyle::with_template(style).expect("the template is ours");
        let bar = ProgressBar::new(0).with_style(style.progress_chars("##-")).with_prefix(doing);
        bar.enable_steady_tick(REDRAW);
        Self(bar)
    }

    /// Shows how far it is, with a word about it.
    pub(crate) fn show(&self, passed: u64, total: u64, eta: Option<Duration>, text: &str) {
        self.0.set_length(total);
        self.0.set_position(passed);
        self.0.set_message(format!("{text}, {}", eta_text(eta)));
    }

    /// Shows what is waited for; how far it is stays as it was.
    pub(crate) fn waits(&self, reason: &str) {
        self.0.set_message(format!("waiting: {reason}"));
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn eta_text(eta: Option<Duration>) -> String {
    match eta {
        Some(eta) => {
            // Whole seconds: the rest is noise.
            let seconds =
                Duration::from_secs(eta.as_millis().div_ceil(1000).try_into().unwrap_or(0));
            format!("ETA {}", humantime::format_duration(seconds))
        }
        None => "ETA unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_told_in_whole_seconds() {
        assert_eq!(eta_text(Some(Duration::from_millis(89_100))), "ETA 1m 30s");
        assert_eq!(eta_text(Some(Duration::ZERO)), "ETA 0s");
        assert_eq!(eta_text(None), "ETA unknown");
    }
}
