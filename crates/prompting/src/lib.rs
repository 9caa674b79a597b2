//! idiolect-prompting
