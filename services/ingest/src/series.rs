//! The numbers of ingest, by the names of the telemetry contract.
//!
//! Series that every event touches are found once, for a source or for the service.

use chassis::Metrics;
use http::{Method, StatusCode};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// The one route.
pub(crate) const ROUTE: &str = "/v1/events/{source}";

const BODY_BYTES: &[f64] =
    &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// The families; clones are the same.
#[derive(Clone)]
pub(crate) struct Families {
    events: IntCounterVec,
    durations: HistogramVec,
    active: IntGaugeVec,
    body_bytes: HistogramVec,
}

/// What one source counts.
pub(crate) struct SourceSeries {
    pub(crate) accepted: IntCounter,
    name: String,
    events: IntCounterVec,
}

/// What the server counts, whatever the source.
pub(crate) struct ServerSeries {
    accepted: Histogram,
    active: IntGauge,
    body_bytes: Histogram,
    families: Families,
}

/// A request being answered; it counts as active until this is dropped.
pub(crate) struct Active(IntGauge);

impl Families {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            events: metrics.counter_vec(
                "millrace_ingest_events_total",
                "Requests by whether they became events; those for no known source have none.",
                &["source", "outcome", "reason"],
            ),
            durations: metrics.histogram_vec(
                "http_server_request_duration_seconds",
                "From a request's head to its answer.",
                &[
                    "http_request_method",
                    "http_route",
                    "http_response_status_code",
                    "error_type",
                    "url_scheme",
                ],
                chassis::metrics::SECONDS,
            ),
            active: metrics.gauge_vec(
                "http_server_active_requests",
                "Requests being answered.",
                &["http_request_method", "http_route"],
            ),
            body_bytes: metrics.histogram_vec(
                "http_server_request_body_size_bytes",
                "Sizes of bodies that were read whole.",
                &["http_request_method", "http_route"],
                BODY_BYTES,
            ),
        }
    }

    /// Counts a request for a source that is not known.
    pub(crate) fn rejected_unknown(&self, reason: &str) {
        self.events.with_label_values(&["", "rejected", reason]).inc();
    }

    pub(crate) fn of_source(&self, name: &str) -> SourceSeries {
        SourceSeries {
            accepted: self.events.with_label_values(&[name, "accepted", ""]),
            name: name.to_owned(),
            events: self.events.clone(),
        }
    }

    pub(crate) fn of_server(&self) -> ServerSeries {
        ServerSeries {
            accepted: self.durations.with_label_values(&["POST", ROUTE, "200", "", "http"]),
            active: self.active.with_label_values(&["POST", ROUTE]),
            body_bytes: self.body_bytes.with_label_values(&["POST", ROUTE]),
            families: self.clone(),
        }
    }
}

impl SourceSeries {
    pub(crate) fn rejected(&self, reason: &str) {
        self.events.with_label_values(&[self.name.as_str(), "rejected", reason]).inc();
    }
}

impl ServerSeries {
    pub(crate) fn begin(&self, method: &Method) -> Active {
        let gauge = match *method {
            Method::POST => self.active.clone(),
            _ => self.families.active.with_label_values(&[method_label(method), ROUTE]),
        };
        gauge.inc();
        Active(gauge)
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.body_bytes.observe(bytes as f64);
    }

    /// Counts an answer; `route` is empty where the path has none.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, seconds: f64) {
        if status == StatusCode::OK {
            self.accepted.observe(seconds);
            return;
        }
        let error = if status.is_server_error() { status.as_str() } else { "" };
        let labels = [method_label(method), route, status.as_str(), error, "http"];
        self.families.durations.with_label_values(&labels).observe(seconds);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Strangers' methods are no label values.
pub(crate) fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS
        | Method::TRACE
        | Method::CONNECT => method.as_str(),
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_of_a_stranger_is_no_label_value() {
        let strange = Method::from_bytes(b"BREW").expect("it is a token");
        assert_eq!(method_label(&strange), "_OTHER");
        assert_eq!(method_label(&Method::PUT), "PUT");
    }

    #[test]
    fn answers_are_counted_by_status_and_a_request_is_active_until_it_ends() {
        let metrics = Metrics::default();
        let server = Families::new(&metrics).of_server();
        let active = server.begin(&Method::POST);
        server.answered(&Method::POST, ROUTE, StatusCode::OK, 0.001);
        server.answered(&Method::POST, ROUTE, StatusCode::SERVICE_UNAVAILABLE, 0.001);
        assert_eq!(server.active.get(), 1);
        drop(active);
        assert_eq!(server.active.get(), 0);
        assert_eq!(server.accepted.get_sample_count(), 1);
        let labels = ["POST", ROUTE, "503", "503", "http"];
        let refused = server.families.durations.with_label_values(&labels);
        assert_eq!(refused.get_sample_count(), 1);
    }
}
