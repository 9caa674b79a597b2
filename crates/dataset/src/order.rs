//! The order of an epoch: a seed, an epoch and a number of samples go in; a permutation comes out, without a table.

use crate::random;
use rand_chacha::rand_core::Rng;

const ROUNDS: usize = 6;

/// A permutation of `0..len` that any position can be asked of, in constant memory.
///
/// It is a Feistel network over the smallest power of four that holds `len`, walked until it lands inside (Black and
/// Rogaway, Ciphers with Arbitrary Finite Domains, 2002, section 3); its keys come from the seed and the epoch.
///
/// ```
/// use idiolect_dataset::Order;
///
/// let order = Order::new(7, 0, 1000);
/// let mut seen: Vec<u64> = (0..1000).map(|index| order.at(index)).collect();
/// seen.sort();
/// assert!(seen.into_iter().eq(0..1000));
/// ```
#[derive(Clone, Debug)]
pub struct Order {
    len: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Order {
    /// The order of `len` samples in `epoch`.
    pub fn new(seed: u64, epoch: u64, len: u64) -> Order {
        let mut generator = random::generator(seed, "order", [epoch, 0]);
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Order {
            len,
            half_bits: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| generator.next_u64()),
        }
    }

    /// The number of samples.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sample at a position of the epoch. A position past the end wraps round.
    pub fn at(&self, index: u64) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let mut value = self.encipher(index % self.len);
        while value >= self.len {
            value = self.encipher(value);
        }
        value
    }

    fn encipher(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014, figure 17).
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_a_permutation(seed: u64, epoch in 0u64..5, len in 0u64..3000) {
            let order = Order::new(seed, epoch, len);
            let mut seen = vec![false; len as usize];
            for index in 0..len {
                let sample = order.at(index) as usize;
                prop_assert!(!std::mem::replace(&mut seen[sample], true));
            }
        }

        #[test]
        fn lands_inside_a_huge_range(seed: u64, len in 1u64.., index: u64) {
            prop_assert!(Order::new(seed, 0, len).at(index % len) < len);
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let order =
            |seed, epoch| (0..64).map(|i| Order::new(seed, epoch, 64).at(i)).collect::<Vec<_>>();
        assert_ne!(order(0, 0), order(0, 1));
        assert_ne!(order(0, 0), order(1, 0));
        assert_eq!(order(3, 4), order(3, 4));
    }
}
