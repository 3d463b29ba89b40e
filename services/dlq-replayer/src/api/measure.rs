//! How long requests take, by path and status.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use chassis::{Metrics, metrics::SECONDS};
use prometheus::{HistogramVec, IntGaugeVec};

/// The families; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    durations: HistogramVec,
    active: IntGaugeVec,
}

impl Measure {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            durations: metrics.histogram_vec(
                "http_server_request_duration_seconds",
                "Requests, from their head to their answer.",
                &[
                    "http_request_method",
                    "http_route",
                    "http_response_status_code",
                    "error_type",
                    "url_scheme",
                ],
                SECONDS,
            ),
            active: metrics.gauge_vec(
                "http_server_active_requests",
                "Requests in hand.",
                &["http_request_method", "http_route"],
            ),
        }
    }
}

/// Measures a request.
pub(super) async fn measured(
    State(measure): State<Measure>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = path.unwrap_or_default();
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "PATCH") => {
            known.to_owned()
        }
        _ => "_OTHER".to_owned(),
    };
    let active = measure.active.with_label_values(&[&method, &path]);
    let _in_hand = InHand::of(active);
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    let error = if status.is_server_error() { status.as_str() } else { "" };
    let labels = [method.as_str(), path.as_str(), status.as_str(), error, "http"];
    measure.durations.with_label_values(&labels).observe(begun.elapsed().as_secs_f64());
    response
}

/// A request in hand; one that is given up halfway is no longer.
struct InHand(prometheus::IntGauge);

impl InHand {
    fn of(gauge: prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.dec();
    }
}
