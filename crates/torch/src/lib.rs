//! idiolect-torch
