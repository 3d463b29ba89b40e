//! The file format: what stands in the YAML, before it is checked.
//!
//! The published JSON Schema is made from these types, so the doc comments here are what an
//! operator's editor shows.

use std::collections::BTreeMap;

use domain::{
    catalog::{Format, Order, ProbeMethod, Protocol},
    fallback::Fate,
    outcome::Outcome,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A file of a Millrace catalog: any of its parts; the files of a folder add up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[schemars(title = "Millrace catalog")]
#[allow(dead_code)] // read part by part, so that one bad entry hides no other
pub(crate) struct CatalogFile {
    /// Always `millrace/v1`.
    #[serde(rename = "apiVersion")]
    pub(crate) api_version: ApiVersion,
    /// Where events come from, by name.
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, Source>,
    /// Which events go through which mapping to which destination.
    #[serde(default)]
    pub(crate) routes: Vec<Route>,
    /// Rates that several destinations share, by name, e.g. `crm-app: 100/s`; a provider's limit is
    /// often one of the credential, whichever of its addresses is asked.
    #[serde(default)]
    pub(crate) rates: BTreeMap<String, Text>,
    /// Where deliveries go, by name.
    #[serde(default)]
    pub(crate) destinations: BTreeMap<String, Destination>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) enum ApiVersion {
    #[serde(rename = "millrace/v1")]
    V1,
}

/// Where events come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// How events arrive; `webhook`: the provider calls `POST /v1/events/<name>`.
    #[allow(dead_code)]
    pub(crate) kind: SourceKind,
    /// How the sender is verified: `scheme`, its options, and `secrets`.
    pub(crate) verify: Map<String, Value>,
    /// A VRL expression over the body that gives the ordering key, e.g. `.repository.full_name`.
    pub(crate) key: Option<String>,
    /// What the bodies are: `any` keeps them byte for byte, `json` refuses what is no JSON.
    #[serde(default)]
    pub(crate) format: Format,
    /// The largest body taken, e.g. `5 MiB` (the default); at most `25 MiB`.
    pub(crate) body_max: Option<Text>,
    /// The address as the provider knows it, for the schemes that sign it.
    pub(crate) public_url: Option<String>,
    /// Partitions of the source's topic (default 3).
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) partitions: Option<i32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    Webhook,
}

/// Which events go through which mapping to which destination.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// The route's name: part of every delivery's idempotency key, so it does not change.
    #[allow(dead_code)]
    // read from the value before the types, so that a broken route has a name
    pub(crate) name: String,
    /// A source's name, or several.
    pub(crate) from: OneOrMany,
    /// A VRL condition over the event, e.g. `.type == "charge.succeeded"`; without one, all events.
    pub(crate) when: Option<String>,
    /// A VRL file beside the catalog that makes the request; without one the body goes as it is.
    pub(crate) map: Option<String>,
    /// A destination's name, or several.
    pub(crate) to: OneOrMany,
    /// `strict` (default): a key's deliveries keep their order, also through retries.
    #[serde(default)]
    pub(crate) order: Order,
    /// Where a delivery goes that is given up on, instead of becoming a dead letter.
    #[serde(default)]
    #[schemars(with = "Fallback")] // not also null, so that a mistake in it is told by its key
    pub(crate) fallback: Option<Fallback>,
}

/// Where a delivery goes that is given up on; what fails there too becomes a dead letter.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fallback {
    /// A destination's name, none of the route's own.
    pub(crate) to: String,
    /// A VRL file beside the catalog that makes the fallback's request of the same event; without one
    /// the request that failed goes there.
    pub(crate) map: Option<String>,
    /// For what: `exhausted`, the budget or the attempts are spent; `permanent`, the destination will
    /// never take it (default both).
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub(crate) on: Option<Vec<Fate>>,
}

/// Where deliveries go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destination {
    /// What it is; `http`: any HTTP address.
    #[allow(dead_code)]
    pub(crate) kind: DestinationKind,
    /// An absolute http or https address; a mapping's `%request.path` is added to it.
    pub(crate) url: String,
    /// The method where the mapping sets none (default POST).
    pub(crate) method: Option<String>,
    /// Headers of every request, beneath what the mapping sets.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// How the destination knows us.
    pub(crate) auth: Option<AuthSpec>,
    /// Standard Webhooks signing keys; with two, both sign.
    pub(crate) signing: Option<Signing>,
    /// The most one attempt may take, e.g. `30s` (the default).
    pub(crate) timeout: Option<Text>,
    /// How many attempts may start in a time, all replicas together, e.g. `100/s`, `600/m`, `5000/h`;
    /// without it, any number.
    pub(crate) rate: Option<Text>,
    /// The name of one of `rates`, which holds beside the destination's own.
    pub(crate) shared_rate: Option<String>,
    /// The most attempts in flight at a time, all replicas together (default 64); fewer while the
    /// destination is slow or overloaded.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) concurrency: Option<u32>,
    /// How many of them stay allowed however slow it is (default 1).
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) concurrency_min: Option<u32>,
    /// When a destination that fails is left alone for a while.
    #[serde(default)]
    pub(crate) breaker: Breaker,
    /// `auto`, `http1`, or `http2` without negotiation.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// How failed attempts are tried again.
    #[serde(default)]
    pub(crate) retry: Retry,
    /// Statuses that mean something else here than usual, e.g. `409: delivered`.
    #[serde(default)]
    pub(crate) outcomes: BTreeMap<String, Outcome>,
    /// Whether `traceparent` goes along to the third party (default false).
    #[serde(default)]
    pub(crate) propagate_trace: bool,
    /// What `millrace destination probe` asks (default `HEAD` at the destination's address).
    #[serde(default)]
    pub(crate) probe: Probe,
    /// Partitions of the destination's topic (default 3).
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) partitions: Option<i32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DestinationKind {
    Http,
}

/// What `millrace destination probe` asks, with the destination's credentials and without a body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// `HEAD` (default), `GET` or `OPTIONS`: methods that promise to have no effect.
    #[serde(default)]
    pub(crate) method: ProbeMethod,
    /// A path on the destination's host, e.g. `/v2/me?fields=id`; without it, the destination's address.
    pub(crate) path: Option<String>,
}

/// When a destination that fails is left alone for a while, and for how long.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Breaker {
    /// How far back attempts count (default `10s`).
    pub(crate) window: Option<Text>,
    /// Attempts in the window below which nothing happens (default 20).
    #[schemars(range(min = 1))]
    pub(crate) attempts_min: Option<u32>,
    /// The part of them, above 0 and at most 1, that fails when it opens (default 0.5).
    pub(crate) error_ratio: Option<f64>,
    /// How long nothing is sent then, until one attempt tries; doubles while that fails (default `5s`).
    pub(crate) open: Option<Text>,
    /// The most the doubled time may be (default `60s`).
    pub(crate) open_max: Option<Text>,
}

/// How failed attempts are tried again: exponential with full jitter, or by a list of delays; within
/// a budget.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// How long after the first attempt another may start (default `5m`; with `delays`, `max_age`);
    /// it stands still while the breaker is open or the destination is held.
    pub(crate) budget: Option<Text>,
    /// The same with all time counted (default `7d`, or the budget where that is longer).
    pub(crate) max_age: Option<Text>,
    /// The delays between attempts, e.g. `[5s, 5m, 30m]`, instead of `base` and `cap`; no attempt
    /// follows the one after the last.
    #[schemars(length(min = 1, max = 100))]
    pub(crate) delays: Option<Vec<Text>>,
    /// The delay's bound after the first failure (default `500ms`).
    pub(crate) base: Option<Text>,
    /// The most the doubled bound may be (default `60s`).
    pub(crate) cap: Option<Text>,
    /// The most attempts, the first included; without it only the budget counts.
    #[schemars(range(min = 1))]
    pub(crate) attempts: Option<u32>,
    /// The most a `Retry-After` is believed (default `5m`).
    pub(crate) retry_after_max: Option<Text>,
}

/// Standard Webhooks signing keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    /// One key, or two while one replaces the other; each `whsec_…`.
    #[schemars(length(min = 1, max = 2))]
    pub(crate) secrets: Vec<SecretRef>,
}

/// How the destination knows us; one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum AuthSpec {
    /// `Authorization: Bearer …`
    Bearer(SecretRef),
    /// `Authorization: Basic …`
    Basic { user: String, password: SecretRef },
    /// A header of its own, e.g. an API key.
    Header { name: String, value: SecretRef },
}

/// Where a secret is: an environment variable or a file; never the secret itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRef {
    /// The environment variable that holds it.
    pub(crate) env: Option<String>,
    /// The file that holds it; one line feed at its end does not count.
    pub(crate) file: Option<String>,
    /// RFC 3339; from then on the secret no longer counts (rotation).
    pub(crate) valid_until: Option<String>,
}

/// A text, or a bare number where a unit is missing: told apart so that the error can say so.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(description = "a quantity with its unit, e.g. `30s` or `5 MiB`")]
pub(crate) enum Text {
    Text(String),
    Number(f64),
}

/// One name, or a list of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(description = "a name or a list of names")]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// Returns each name with the pointer step under which it stands.
    pub(crate) fn each(&self) -> Vec<(String, &str)> {
        match self {
            Self::One(name) => vec![(String::new(), name)],
            Self::Many(names) => {
                names.iter().enumerate().map(|(i, n)| (format!("/{i}"), n.as_str())).collect()
            }
        }
    }
}
