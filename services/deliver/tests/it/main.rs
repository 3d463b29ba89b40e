//! Deliver on the embedded broker and registry, against a destination that does as it is told.
#![allow(clippy::unwrap_used)]

mod control;
mod failures;
mod fallback;
mod flow;
mod letters;
mod life;
mod order;
mod receipts;
mod world;
