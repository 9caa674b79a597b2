//! 256 numbers in, a block of Q4_K out: the scales and minima with the least square error that a search finds.
//!
//! A group of 32 is `scale * code - offset` with codes of four bits; scale and offset are six bits times one number of
//! the block. As in ggml's reference (`quantize_row_q4_K_ref`), scales around the full range are tried and fitted by least
//! squares; here all numbers weigh the same, and the six bits are chosen anew by what they do to the error.

use half::f16;

/// Numbers of a group.
const GROUP: usize = 32;

/// The largest code of a number, and of a scale or offset.
const MAX_CODE: f32 = 15.0;
const MAX_SIX: f32 = 63.0;

/// Scales tried for a group: its range over 14.0, 14.1, … 16.0 steps.
const TRIES: usize = 21;

/// `scale * code - offset`, where neither is below 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Line {
    scale: f32,
    offset: f32,
}

impl Line {
    /// The codes of the nearest numbers.
    fn codes(self, x: &[f32]) -> [f32; GROUP] {
        let inverse = if self.scale > 0.0 { 1.0 / self.scale } else { 0.0 };
        let mut codes = [0.0; GROUP];
        for (code, &x) in codes.iter_mut().zip(x) {
            *code = nearest((x + self.offset) * inverse);
        }
        codes
    }

    fn error(self, x: &[f32], codes: &[f32; GROUP]) -> f32 {
        let off = |(&x, code): (&f32, f32)| {
            let off = self.scale * code - self.offset - x;
            off * off
        };
        x.iter().zip(*codes).map(off).sum()
    }

    /// The least squares for these codes, by the normal equations.
    fn fit(x: &[f32], codes: &[f32; GROUP]) -> Option<Line> {
        let (n, mut q, mut qq, mut qx, mut sum) = (x.len() as f32, 0.0, 0.0, 0.0, 0.0);
        for (&x, &code) in x.iter().zip(codes) {
            (q, qq, qx, sum) = (q + code, qq + code * code, qx + code * x, sum + x);
        }
        let determinant = n * qq - q * q;
        if determinant <= 0.0 {
            return None;
        }
        let (scale, minimum) =
            ((n * qx - q * sum) / determinant, (qq * sum - q * qx) / determinant);
        let line = match minimum > 0.0 {
            true => Line { scale: qx / qq, offset: 0.0 },
            false => Line { scale, offset: -minimum },
        };
        (line.scale > 0.0).then_some(line)
    }

    /// The best line for a group.
    fn of(x: &[f32]) -> Line {
        let low = x.iter().fold(0.0f32, |low, &x| low.min(x));
        let high = x.iter().fold(f32::MIN, |high, &x| high.max(x));
        if high <= low {
            return Line { scale: 0.0, offset: -low };
        }
        let mut best = Line { scale: (high - low) / MAX_CODE, offset: -low };
        let mut least = best.error(x, &best.codes(x));
        for step in 0..TRIES {
            let steps = MAX_CODE - 1.0 + 0.1 * step as f32;
            let tried = Line { scale: (high - low) / steps, offset: -low };
            let codes = tried.codes(x);
            let Some(fitted) = Line::fit(x, &codes) else { continue };
            let error = fitted.error(x, &codes);
            if error < least {
                (best, least) = (fitted, error);
            }
        }
        best
    }
}

/// The nearest code. Adding what leaves no bits for fractions rounds, and is an addition that vector units do.
fn nearest(x: f32) -> f32 {
    const NO_FRACTIONS: f32 = (1 << 23) as f32 * 1.5;
    (x.clamp(0.0, MAX_CODE) + NO_FRACTIONS) - NO_FRACTIONS
}

/// The block of 256 numbers.
pub(super) fn q4_k(x: &[f32], b: &mut [u8]) {
    let groups: Vec<&[f32]> = x.chunks_exact(GROUP).collect();
    let lines: Vec<Line> = groups.iter().map(|group| Line::of(group)).collect();
    let unit = |part: fn(&Line) -> f32| {
        let most = lines.iter().map(part).fold(0.0, f32::max);
        f16::from_f32(most / MAX_SIX)
    };
    let (d, m) = (unit(|line| line.scale), unit(|line| line.offset));
    let units = Line { scale: d.to_f32(), offset: m.to_f32() };
    b[..2].copy_from_slice(&d.to_le_bytes());
    b[2..4].copy_from_slice(&m.to_le_bytes());
    b[4..16].fill(0);
    for (index, (group, line)) in groups.iter().zip(&lines).enumerate() {
        let (scale, offset, codes) = six_bits(group, line, units);
        put_scale_and_min(&mut b[4..16], index, scale, offset);
        // Two groups share 32 bytes: the first has the low halves.
        let bytes = &mut b[16 + index / 2 * GROUP..][..GROUP];
        for (byte, code) in bytes.iter_mut().zip(codes) {
            match index % 2 {
                0 => *byte = code as u8,
                _ => *byte |= (code as u8) << 4,
            }
        }
    }
}

/// Scale and offset of a group in multiples of the block's, and the codes: the best of the nearest multiples and their
/// neighbours.
fn six_bits(x: &[f32], line: &Line, units: Line) -> (u8, u8, [f32; GROUP]) {
    let around = |value: f32, unit: f32| {
        let multiple = if unit > 0.0 { (value / unit).round().min(MAX_SIX) } else { 0.0 };
        [0.0, -1.0, 1.0].map(|step| (multiple + step).clamp(0.0, MAX_SIX))
    };
    let mut best = (0.0, 0.0, [0.0; GROUP]);
    let mut least = f32::INFINITY;
    for scale in around(line.scale, units.scale) {
        for offset in around(line.offset, units.offset) {
            let tried = Line { scale: scale * units.scale, offset: offset * units.offset };
            let codes = tried.codes(x);
            let error = tried.error(x, &codes);
            if error < least {
                (best, least) = ((scale, offset, codes), error);
            }
        }
    }
    (best.0 as u8, best.1 as u8, best.2)
}

/// Puts six bits of each into the 12 bytes that Q4_K and Q5_K have for eight groups.
fn put_scale_and_min(bytes: &mut [u8], group: usize, scale: u8, min: u8) {
    if group < 4 {
        bytes[group] |= scale;
        bytes[group + 4] |= min;
    } else {
        bytes[group + 4] = (scale & 15) | (min & 15) << 4;
        bytes[group - 4] |= scale >> 4 << 6;
        bytes[group] |= min >> 4 << 6;
    }
}

#[cfg(test)]
mod tests {
    use super::super::dequantize::{dequantize, scale_and_min};
    use super::*;
    use idiolect_files::gguf::GgmlType;
    use proptest::prelude::*;

    fn back(x: &[f32]) -> Vec<f32> {
        let mut block = [0; 144];
        q4_k(x, &mut block);
        let mut y = vec![0.0; 256];
        dequantize(GgmlType::Q4_K, &block, &mut y);
        y
    }

    #[test]
    fn six_bits_are_where_they_are_read() {
        let mut bytes = [0; 12];
        let values = [(1, 63), (2, 17), (33, 48), (63, 0), (15, 16), (0, 1), (62, 61), (21, 42)];
        for (group, (scale, min)) in values.into_iter().enumerate() {
            put_scale_and_min(&mut bytes, group, scale, min);
        }
        for (group, value) in values.into_iter().enumerate() {
            assert_eq!(scale_and_min(&bytes, group), value);
        }
    }

    #[test]
    fn blocks_without_a_range_are_kept() {
        for value in [0.0, -2.0, 2.0] {
            assert!(back(&[value; 256]).iter().all(|y| (y - value).abs() < 2e-3), "{value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_error_is_below_that_of_even_steps(x in proptest::collection::vec(-1.0f32..1.0, 256)) {
            let error: f32 = back(&x).iter().zip(&x).map(|(y, x)| (y - x) * (y - x)).sum();
            // Sixteen even steps over the range of each group, in f32.
            let even: f32 = x
                .chunks(32)
                .map(|x| {
                    let low = x.iter().copied().fold(0.0, f32::min);
                    let high = x.iter().copied().fold(f32::MIN, f32::max);
                    let line = Line { scale: (high - low) / MAX_CODE, offset: -low };
                    line.error(x, &line.codes(x))
                })
                .sum();
            prop_assert!(error < even * 1.05, "{error} {even}");
        }
    }
}
