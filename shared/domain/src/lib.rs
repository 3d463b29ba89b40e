//! The language of Millrace: ids, the catalog, outcomes, retries, dead letters, and what the delivery
//! engine decides by: offset maps, breakers, rates, limits, delays.
//!
//! Pure: nothing here reads a clock, a file or a socket. What outlives the process as bytes is in
//! `wire`; what touches the world is in an `-io` crate.

pub mod breaker;
pub mod catalog;
pub mod dead_letter;
pub mod delay;
pub mod fallback;
pub mod ids;
pub mod limit;
pub mod offset_map;
pub mod outcome;
pub mod rate;
pub mod retry;
pub mod time;
pub mod trace;
