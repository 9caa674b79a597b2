//! Starting values of a parameter from (seed, name): a counter generator in Rust, the same on every device.

use std::f64::consts::TAU;

/// A published initialisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    Zeros,
    Ones,
    /// Normal with this standard deviation.
    Normal(f64),
    /// Uniform between minus and plus this.
    Uniform(f64),
}

/// A stream of independent numbers, each a function of (key, index).
/// The mixing is SplitMix64 (Steele, Lea, Flood 2014, figure 14).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    key: u64,
}

impl Counter {
    /// The stream of `purpose` under `seed`.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let name = purpose.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv);
        Self { key: mix(mix(seed).wrapping_add(name)) }
    }

    /// The stream `index` of many under this one.
    pub(crate) fn at(self, index: u64) -> Self {
        Self { key: mix(self.key ^ mix(index)) }
    }

    /// 64 random bits.
    pub(crate) fn bits(self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A number in [0, 1).
    pub(crate) fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Two standard normal numbers (Box and Muller 1958).
    fn normals(self, pair: u64) -> (f64, f64) {
        let radius = (-2.0 * (1.0 - self.uniform(2 * pair)).ln()).sqrt();
        let (sin, cos) = (TAU * self.uniform(2 * pair + 1)).sin_cos();
        (radius * cos, radius * sin)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The numbers of a parameter, split over the processors: each depends on its index alone.
pub(crate) fn values(init: Init, seed: u64, name: &str, count: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 16;
    let mut values = vec![0f32; count];
    let counter = Counter::new(seed, name);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let share = count.div_ceil(workers).next_multiple_of(CHUNK);
    std::thread::scope(|scope| {
        let mut parts = values.chunks_mut(share.max(CHUNK)).enumerate();
        let first = parts.next();
        for (part, slice) in parts {
            scope.spawn(move || fill(init, counter, (part * share) as u64, slice));
        }
        if let Some((_, slice)) = first {
            fill(init, counter, 0, slice);
        }
    });
    values
}

/// Fills `slice`, which begins at the even index `start` of the parameter.
fn fill(init: Init, counter: Counter, start: u64, slice: &mut [f32]) {
    match init {
        Init::Zeros => slice.fill(0.0),
        Init::Ones => slice.fill(1.0),
        Init::Uniform(limit) => {
            for (index, value) in (start..).zip(slice) {
                *value = (limit * (2.0 * counter.uniform(index) - 1.0)) as f32;
            }
        }
        Init::Normal(std) => {
            for (pair, two) in (start / 2..).zip(slice.chunks_mut(2)) {
                let (a, b) = counter.normals(pair);
                two[0] = (std * a) as f32;
                if let Some(second) = two.get_mut(1) {
                    *second = (std * b) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(init: Init, mean: f64, std: f64) {
        let numbers = values(init, 7, "a.weight", 200_001);
        let n = numbers.len() as f64;
        let got = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let spread = numbers.iter().map(|&x| (f64::from(x) - got).powi(2)).sum::<f64>() / n;
        assert!((got - mean).abs() < 5.0 * std / n.sqrt() + 1e-12, "{init:?}: mean {got}");
        assert!((spread.sqrt() - std).abs() <= 0.01 * std, "{init:?}: deviation {}", spread.sqrt());
    }

    #[test]
    fn moments_are_as_published() {
        check(Init::Normal(0.02), 0.0, 0.02);
        check(Init::Uniform(0.3), 0.0, 0.3 / 3f64.sqrt());
        check(Init::Ones, 1.0, 0.0);
    }

    #[test]
    fn names_and_seeds_give_different_numbers_and_length_does_not() {
        let one = values(Init::Normal(1.0), 1, "a", 9);
        assert_eq!(one, values(Init::Normal(1.0), 1, "a", 100_000)[..9]);
        assert_ne!(one, values(Init::Normal(1.0), 1, "b", 9));
        assert_ne!(one, values(Init::Normal(1.0), 2, "a", 9));
    }
}
