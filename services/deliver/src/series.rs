//! The numbers of deliveries, by the names of the telemetry contract.
//!
//! Series that every delivery touches are found once for each destination.

mod pace;

use chassis::Metrics;
use domain::{dead_letter::Reason, outcome::Outcome};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub(crate) use pace::Pace;

const ATTEMPTS_PER_EVENT: &[f64] = &[1.0, 2.0, 3.0, 5.0, 8.0, 13.0];

/// The families; clones are the same.
#[derive(Clone)]
pub(crate) struct Families {
    attempts: IntCounterVec,
    events: IntCounterVec,
    attempts_per_event: HistogramVec,
    inflight: IntGaugeVec,
    e2e: HistogramVec,
    requests: HistogramVec,
    dead_letters: IntCounterVec,
    fallbacks: IntCounterVec,
    pub(crate) pace: pace::Families,
}

/// What one destination counts.
pub(crate) struct Series {
    families: Families,
    destination: String,
    /// The usual way an attempt ends.
    delivered_at_first: IntCounter,
    delivered: IntCounter,
    dead_lettered: IntCounter,
    attempts_per_event: Histogram,
    pub(crate) inflight: IntGauge,
    e2e: Histogram,
}

/// One attempt, as it is counted.
pub(crate) struct Attempt<'a> {
    pub(crate) method: &'a str,
    /// From 1.
    pub(crate) number: u32,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    /// Empty for an answer below 400.
    pub(crate) error_type: &'a str,
    pub(crate) seconds: f64,
}

/// Which destinations are held, by what was said of them.
pub(crate) struct Holds {
    paused: IntGaugeVec,
    disabled: IntGaugeVec,
}

impl Holds {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            paused: metrics.gauge_vec(
                "millrace_destination_paused",
                "Whether an operator has paused the destination.",
                &["destination"],
            ),
            disabled: metrics.gauge_vec(
                "millrace_destination_disabled",
                "Whether the destination is disabled since it answered 410.",
                &["destination"],
            ),
        }
    }

    pub(crate) fn show(&self, destination: &str, paused: bool, disabled: bool) {
        self.paused.with_label_values(&[destination]).set(paused.into());
        self.disabled.with_label_values(&[destination]).set(disabled.into());
    }
}

impl Families {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let seconds = chassis::metrics::SECONDS;
        Self {
            attempts: metrics.counter_vec(
                "millrace_delivery_attempts_total",
                "Attempts by what they came to.",
                &["destination", "outcome", "status_class", "attempt"],
            ),
            events: metrics.counter_vec(
                "millrace_delivery_events_total",
                "Deliveries that are settled.",
                &["destination", "outcome"],
            ),
            attempts_per_event: metrics.histogram_vec(
                "millrace_delivery_attempts_per_event",
                "Attempts that a settled delivery took.",
                &["destination"],
                ATTEMPTS_PER_EVENT,
            ),
            inflight: metrics.gauge_vec(
                "millrace_delivery_inflight_requests",
                "Requests that are sent and not answered.",
                &["destination"],
            ),
            e2e: metrics.histogram_vec(
                "millrace_e2e_latency_seconds",
                "From accepted by ingest to delivered.",
                &["destination"],
                chassis::metrics::END_TO_END_SECONDS,
            ),
            requests: metrics.histogram_vec(
                "http_client_request_duration_seconds",
                "Duration of requests to third parties.",
                &["http_request_method", "status_class", "error_type", "destination"],
                seconds,
            ),
            dead_letters: metrics.counter_vec(
                "millrace_dlq_records_total",
                "Records given up on.",
                &["route", "service", "dlq_topic", "reason", "replayed"],
            ),
            fallbacks: metrics.counter_vec(
                "millrace_delivery_fallbacks_total",
                "Deliveries given up on whose events went to their routes' fallbacks.",
                &["route", "destination", "fallback", "reason"],
            ),
            pace: pace::Families::new(metrics),
        }
    }

    pub(crate) fn of(&self, destination: &str) -> Series {
        let events = |outcome| self.events.with_label_values(&[destination, outcome]);
        Series {
            delivered_at_first: self.attempts.with_label_values(&[
                destination,
                Outcome::Delivered.label(),
                "2xx",
                "first",
            ]),
            delivered: events("delivered"),
            dead_lettered: events("dead_lettered"),
            attempts_per_event: self.attempts_per_event.with_label_values(&[destination]),
            inflight: self.inflight.with_label_values(&[destination]),
            e2e: self.e2e.with_label_values(&[destination]),
            destination: destination.to_owned(),
            families: self.clone(),
        }
    }
}

impl Series {
    pub(crate) fn attempted(&self, attempt: &Attempt<'_>) {
        let class = class(attempt.status);
        let labels = [attempt.method, class, attempt.error_type, &self.destination];
        self.families.requests.with_label_values(&labels).observe(attempt.seconds);
        if attempt.number == 1 && attempt.outcome == Outcome::Delivered && class == "2xx" {
            self.delivered_at_first.inc();
            return;
        }
        let which = if attempt.number == 1 { "first" } else { "retry" };
        let labels = [self.destination.as_str(), attempt.outcome.label(), class, which];
        self.families.attempts.with_label_values(&labels).inc();
    }

    /// A delivery is done, so many seconds after its event was accepted.
    pub(crate) fn delivered(&self, attempts: u32, since_received: f64) {
        self.delivered.inc();
        self.attempts_per_event.observe(f64::from(attempts));
        self.e2e.observe(since_received);
    }

    /// A delivery is given up on, and its event is with its route's fallback.
    pub(crate) fn handed_over(&self, route: &str, fallback: &str, reason: Reason, attempts: u32) {
        self.attempts_per_event.observe(f64::from(attempts));
        let settled = [self.destination.as_str(), "handed_over"];
        self.families.events.with_label_values(&settled).inc();
        let labels = [route, &self.destination, fallback, reason.label()];
        self.families.fallbacks.with_label_values(&labels).inc();
    }

    /// A record is given up on; `attempts` is `None` where it never was a delivery.
    pub(crate) fn dead_lettered(&self, letter: &DeadLettered<'_>) {
        self.dead_lettered.inc();
        if let Some(attempts) = letter.attempts {
            self.attempts_per_event.observe(f64::from(attempts));
        }
        let replayed = if letter.replayed { "true" } else { "false" };
        let labels =
            [letter.route, "millrace-deliver", letter.topic, letter.reason.label(), replayed];
        self.families.dead_letters.with_label_values(&labels).inc();
    }
}

/// A dead letter, as it is counted.
pub(crate) struct DeadLettered<'a> {
    /// Empty where the record could not be read.
    pub(crate) route: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) reason: Reason,
    pub(crate) replayed: bool,
    pub(crate) attempts: Option<u32>,
}

fn class(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        Some(_) => "other",
        None => "none",
    }
}
