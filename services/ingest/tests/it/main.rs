//! Ingest on the embedded broker and registry, asked by a small HTTP client.
#![allow(clippy::unwrap_used)]

mod intake;
mod life;
mod limits;
mod refusals;
mod vectors;
mod world;
