//! Sends requests to third parties: pools, time limits, egress rules, and what an answer is.
//!
//! A request is sent once; a redirect is never followed. Whether an outcome is good, and when to
//! try again, is the caller's to decide. This is the only crate that names the HTTP client.

mod answer;
mod body;
mod client;
mod config;
mod connect;
pub mod egress;
pub mod redact;
mod resolve;
mod retry_after;
mod tls;

pub use crate::{
    answer::{Answer, Failure, Latency, Phase},
    client::{Client, Unusable},
    config::Config,
    retry_after::{date, retry_after},
};
