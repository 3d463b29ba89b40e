//! Promises about bytes: they read back, old ones for ever, newer ones as far as they are known.
