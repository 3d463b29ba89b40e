//! catalog-io
