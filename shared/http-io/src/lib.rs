//! http-io
