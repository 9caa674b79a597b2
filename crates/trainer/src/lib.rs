//! idiolect-trainer
