//! Measures each part beside its floor; what measures is in `src/bin` and `examples`.
