//! One registry of metrics for the process; services get or register their families in it.
//!
//! Two services of one process that name the same family share its series. Names and labels are
//! the telemetry contract's; nothing is computed here.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// The boundaries of durations, in seconds, as the semantic conventions advise them.
pub const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The boundaries of end-to-end latencies, in seconds.
pub const END_TO_END_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

/// The process's families; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Mutex<HashMap<String, Family>>>,
}

#[derive(Debug, Clone)]
enum Family {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
    Ratio(GaugeVec),
    Histogram(HistogramVec),
}

impl Metrics {
    /// Returns the registry behind, for collectors of others.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns a counter family; `name` ends in `_total`.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let make = || Family::Counter(counters(name, help, labels));
        match self.family(name, make) {
            Family::Counter(family) => family,
            Family::Gauge(_) | Family::Ratio(_) | Family::Histogram(_) => {
                stranger(name);
                counters(name, help, labels)
            }
        }
    }

    /// Returns a counter without labels.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.counter_vec(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// Returns a family of gauges that hold whole numbers.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let make = || Family::Gauge(gauges(name, help, labels));
        match self.family(name, make) {
            Family::Gauge(family) => family,
            Family::Counter(_) | Family::Ratio(_) | Family::Histogram(_) => {
                stranger(name);
                gauges(name, help, labels)
            }
        }
    }

    /// Returns a gauge without labels.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.gauge_vec(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// Returns a family of gauges that hold fractions: seconds, ratios.
    pub fn float_gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let make = || Family::Ratio(ratios(name, help, labels));
        match self.family(name, make) {
            Family::Ratio(family) => family,
            Family::Counter(_) | Family::Gauge(_) | Family::Histogram(_) => {
                stranger(name);
                ratios(name, help, labels)
            }
        }
    }

    /// Returns a histogram family; [`SECONDS`] are the buckets of a duration.
    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let make = || Family::Histogram(histograms(name, help, labels, buckets));
        match self.family(name, make) {
            Family::Histogram(family) => family,
            Family::Counter(_) | Family::Gauge(_) | Family::Ratio(_) => {
                stranger(name);
                histograms(name, help, labels, buckets)
            }
        }
    }

    fn family(&self, name: &str, make: impl FnOnce() -> Family) -> Family {
        let mut families = self.families.lock();
        if let Some(family) = families.get(name) {
            return family.clone();
        }
        let family = make();
        if let Err(error) = self.registry.register(family.collector()) {
            tracing::error!(metric = name, %error, "metric is not exported");
        }
        families.insert(name.to_owned(), family.clone());
        family
    }
}

impl Family {
    fn collector(&self) -> Box<dyn Collector> {
        match self {
            Self::Counter(family) => Box::new(family.clone()),
            Self::Gauge(family) => Box::new(family.clone()),
            Self::Ratio(family) => Box::new(family.clone()),
            Self::Histogram(family) => Box::new(family.clone()),
        }
    }
}

/// A family of this name is of another type: what the caller gets works, but nobody sees it.
fn stranger(name: &str) {
    tracing::error!(metric = name, "metric is not exported: its name is that of another type");
}

const VALID: &str = "names and labels are constants of ours, and valid";

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(VALID)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect(VALID)
}

fn ratios(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    GaugeVec::new(Opts::new(name, help), labels).expect(VALID)
}

fn histograms(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    HistogramVec::new(options, labels).expect(VALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_services_share_the_series_of_a_family() {
        let metrics = Metrics::default();
        let other = metrics.clone();
        metrics.counter_vec("a_total", "A.", &["x"]).with_label_values(&["1"]).inc();
        other.counter_vec("a_total", "A.", &["x"]).with_label_values(&["1"]).inc();
        metrics.histogram_vec("b_seconds", "B.", &[], SECONDS).with_label_values::<&str>(&[]);
        let families = metrics.registry().gather();
        assert_eq!(families.len(), 2);
        assert_eq!(families[0].get_metric()[0].get_counter().get_value(), 2.0);
    }

    #[test]
    fn a_name_taken_by_another_type_counts_for_nobody_and_stops_nobody() {
        let metrics = Metrics::default();
        metrics.counter("a_total", "A.").inc();
        metrics.gauge("a_total", "A.").set(7);
        assert_eq!(metrics.counter("a_total", "A.").get(), 1);
    }
}
