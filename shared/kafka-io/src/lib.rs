//! kafka-io
