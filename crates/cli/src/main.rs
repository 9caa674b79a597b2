//! The binary `idiolect`.
fn main() {}
