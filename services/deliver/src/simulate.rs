//! The delivery engine without a broker, a third party or a clock: whole histories of a group of
//! processes, from a seed, many thousand deliveries in a second.
//!
//! What decides is the production's: lanes, keys, gates with breaker, rate and limit, verdicts, the
//! ledger with its tracker and offset maps. What is simulated is what they stand in: the cluster, the
//! third parties, the time. After every step it is judged what the engine has promised, by what the
//! world saw and not by what the engine believes.
//!
//! A failing history is cut down to the events that it needs, and printed.

mod chance;
mod group;
mod hand;
mod history;
mod kit;
mod lane;
mod minimise;
mod mutant;
mod outside;
mod positions;
mod process;
mod receiver;
mod tally;
mod tasks;
mod tests;
mod truth;
mod watch;
mod world;
