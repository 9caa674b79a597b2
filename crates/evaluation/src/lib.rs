//! idiolect-evaluation
