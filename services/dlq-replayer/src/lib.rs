//! dlq-replayer
