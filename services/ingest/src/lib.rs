//! Accepts webhooks: reads a body, refuses what can't be believed, makes the event that is logged.
//!
//! The server that calls these parts is not here yet; nothing listens.
