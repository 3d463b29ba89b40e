//! The numbers of transform, by the names of the telemetry contract.
//!
//! Series that every event touches are found once, when a plan is made.

use chassis::Metrics;
use domain::dead_letter::Reason;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

/// What `service` says in labels.
pub(crate) const SERVICE: &str = "millrace-transform";
/// A mapping takes microseconds: the usual boundaries begin too late, and a route has few series.
const SECONDS: &[f64] = &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1, 1.0];

/// The families; clones are the same.
#[derive(Clone)]
pub(crate) struct Families {
    events: IntCounterVec,
    durations: HistogramVec,
    processed: HistogramVec,
    dead_letters: IntCounterVec,
    group: String,
}

/// What one route counts.
pub(crate) struct RouteSeries {
    pub(crate) ok: IntCounter,
    pub(crate) filtered: IntCounter,
    mapping_failed: IntCounter,
    invalid_result: IntCounter,
    pub(crate) duration: Histogram,
}

/// What one topic counts.
#[derive(Clone)]
pub(crate) struct SourceSeries {
    pub(crate) unrouted: IntCounter,
    undecodable: IntCounter,
    refused: IntCounter,
    pub(crate) processed: Histogram,
    pub(crate) dead_lettered: Histogram,
}

impl Families {
    pub(crate) fn new(metrics: &Metrics, group: &str) -> Self {
        Self {
            events: metrics.counter_vec(
                "millrace_transform_events_total",
                "Events by what each route made of them; without a route: unrouted or undecodable.",
                &["route", "service", "outcome", "reason"],
            ),
            durations: metrics.histogram_vec(
                "millrace_transform_duration_seconds",
                "Condition, mapping and encoding of one event for one route that wanted it.",
                &["route", "service"],
                SECONDS,
            ),
            processed: metrics.histogram_vec(
                "messaging_process_duration_seconds",
                "Processing of one record.",
                &["messaging_destination_name", "messaging_consumer_group_name", "error_type"],
                chassis::metrics::SECONDS,
            ),
            dead_letters: metrics.counter_vec(
                "millrace_dlq_records_total",
                "Records given up on.",
                &["route", "service", "dlq_topic", "reason", "replayed"],
            ),
            group: group.to_owned(),
        }
    }

    pub(crate) fn of_route(&self, route: &str) -> RouteSeries {
        let events = |outcome: &str, reason: &str| {
            self.events.with_label_values(&[route, SERVICE, outcome, reason])
        };
        RouteSeries {
            ok: events("ok", ""),
            filtered: events("filtered", ""),
            mapping_failed: events("failed", Reason::MappingFailed.label()),
            invalid_result: events("failed", Reason::InvalidResult.label()),
            duration: self.durations.with_label_values(&[route, SERVICE]),
        }
    }

    pub(crate) fn of_source(&self, topic: &str) -> SourceSeries {
        let events = |outcome: &str, reason: &str| {
            self.events.with_label_values(&["", SERVICE, outcome, reason])
        };
        let processed =
            |error: &str| self.processed.with_label_values(&[topic, self.group.as_str(), error]);
        SourceSeries {
            unrouted: events("unrouted", ""),
            undecodable: events("failed", Reason::Undecodable.label()),
            refused: events("failed", Reason::InvalidResult.label()),
            processed: processed(""),
            dead_lettered: processed("dead_lettered"),
        }
    }

    /// Counts a dead letter; of several routes' only that there were several is a label.
    pub(crate) fn dead_lettered(&self, routes: &str, topic: &str, reason: Reason, is_replay: bool) {
        let route = if routes.contains(',') { "_MANY" } else { routes };
        let replayed = if is_replay { "true" } else { "false" };
        let labels = [route, SERVICE, topic, reason.label(), replayed];
        self.dead_letters.with_label_values(&labels).inc();
    }
}

impl RouteSeries {
    pub(crate) fn failed(&self, reason: Reason) -> &IntCounter {
        match reason {
            Reason::InvalidResult => &self.invalid_result,
            _ => &self.mapping_failed,
        }
    }
}

impl SourceSeries {
    /// What counts a record that was given up on before, or after, any route of it.
    pub(crate) fn given_up_unread(&self, reason: Reason) -> &IntCounter {
        match reason {
            Reason::InvalidResult => &self.refused,
            _ => &self.undecodable,
        }
    }
}
