//! idiolect-dataset
