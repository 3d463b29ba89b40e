//! Shows dead letters and replays them.
//!
//! Its parts lie beside this file and are not joined yet: nothing of it can be called.
