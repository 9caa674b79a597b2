//! idiolect-files
