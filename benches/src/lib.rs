//! The sides of the comparisons are in `src/bin`, the Criterion targets in `benches`; here, the guide's examples are run as tests.

#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/one-crate.md")]
struct OneCrate;
