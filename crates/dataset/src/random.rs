//! Randomness by counter: a seed, a purpose and numbers go in, a generator comes out that depends on nothing else.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The generator of one purpose, for instance `("mask", [epoch, sample])`.
pub(crate) fn generator(seed: u64, purpose: &str, numbers: [u64; 2]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// A whole number below `bound`, without bias (Lemire, Fast Random Integer Generation in an Interval, 2019, algorithm 5).
pub(crate) fn below(generator: &mut impl Rng, bound: u32) -> u32 {
    debug_assert!(bound > 0);
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(generator.next_u32()) * u64::from(bound);
        if product as u32 >= threshold {
            return (product >> 32) as u32;
        }
    }
}

/// A number in [0, 1).
pub(crate) fn unit(generator: &mut impl Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}
