//! registry-io
