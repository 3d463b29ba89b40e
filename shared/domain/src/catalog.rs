//! What an operator has declared, checked: routes and destinations as plain values.
//!
//! The file format, the secrets and the compiled programs are `catalog-io`'s; here is what
//! decisions need, without a file, a secret or a program.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    breaker,
    ids::{DestinationName, RouteName, SourceName},
    outcome::Overrides,
    rate::Rate,
    retry::Policy,
};

/// Whether the deliveries of one key keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// One record of a key in flight at a time, also through retries.
    #[default]
    Strict,
    /// Any number of a key in flight; a retry may be overtaken.
    None,
}

/// What a source says its bodies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Anything: kept byte for byte.
    #[default]
    Any,
    /// JSON, or it is refused with 400.
    Json,
}

/// Which events go where.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: RouteName,
    pub from: Vec<SourceName>,
    pub to: Vec<DestinationName>,
    pub order: Order,
}

/// Where deliveries go, and how they are tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    pub name: DestinationName,
    /// An absolute `http` or `https` address; a delivery's path and query are added to it.
    pub url: String,
    pub method: String,
    /// Sent with every request, beneath what the mapping sets.
    pub headers: Vec<(String, String)>,
    /// The most one attempt may take, connecting included.
    pub timeout: Duration,
    /// How many attempts may start in a time, over the whole consumer group.
    pub rate: Rate,
    /// The most attempts in flight at a time, over the whole group.
    pub concurrency: u32,
    /// How many of them stay allowed however slow the destination is.
    pub concurrency_min: u32,
    pub breaker: breaker::Policy,
    pub protocol: Protocol,
    pub retry: Policy,
    pub outcomes: Overrides,
    /// Whether `traceparent` goes along to the third party.
    pub propagate_trace: bool,
    pub probe: Probe,
}

/// What is asked of a destination without an event, never with a body; HEAD at its address where
/// nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probe {
    pub method: ProbeMethod,
    /// A path on the destination's host, with its query; without it, the destination's own address.
    pub path: Option<String>,
}

/// The methods that promise to have no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProbeMethod {
    #[default]
    Head,
    Get,
    Options,
}

impl ProbeMethod {
    /// Returns the method as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "HEAD",
            Self::Get => "GET",
            Self::Options => "OPTIONS",
        }
    }
}

/// A rate that several destinations share, as those do that ask with one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRate {
    pub name: String,
    pub rate: Rate,
}

/// Which HTTP is spoken to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/2 where TLS negotiates it, HTTP/1.1 otherwise.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 without negotiation, also in clear text.
    Http2,
}
