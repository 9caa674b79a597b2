//! idiolect-model
