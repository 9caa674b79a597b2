//! Blocks of bits to f32, number by number as ggml makes them (`ggml-quants.c`, `dequantize_row_*`).
//!
//! Every product and difference is done in the same order in f32, so that the same bits come out.

use half::{bf16, f16};
use idiolect_files::gguf::GgmlType;
use rayon::prelude::*;

/// Blocks that one task of the thread pool takes.
const BLOCKS_A_TASK: usize = 1024;

/// Fills `out` with the numbers of `bytes`, which must be as many whole blocks. Large inputs are shared among threads.
pub(crate) fn dequantize(dtype: GgmlType, bytes: &[u8], out: &mut [f32]) {
    let (size, n_bytes) = (dtype.block_size(), dtype.block_bytes());
    debug_assert_eq!(bytes.len() / n_bytes * size, out.len());
    let block = block_function(dtype);
    // Types whose block is a single number would drown in calls.
    let run = |bytes: &[u8], out: &mut [f32]| {
        bytes.chunks_exact(n_bytes).zip(out.chunks_exact_mut(size)).for_each(|(bytes, out)| {
            block(bytes, out);
        });
    };
    let blocks = if size == 1 { BLOCKS_A_TASK * 64 } else { BLOCKS_A_TASK };
    let tasks = bytes.par_chunks(n_bytes * blocks).zip(out.par_chunks_mut(size * blocks));
    tasks.for_each(|(bytes, out)| run(bytes, out));
}

fn block_function(dtype: GgmlType) -> fn(&[u8], &mut [f32]) {
    match dtype {
        GgmlType::F16 => |b, y| y[0] = half_at(b, 0),
        GgmlType::BF16 => |b, y| y[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32(),
        GgmlType::Q4_0 => q4_0,
        GgmlType::Q4_1 => q4_1,
        GgmlType::Q5_0 => q5_0,
        GgmlType::Q5_1 => q5_1,
        GgmlType::Q8_0 => q8_0,
        GgmlType::Q2_K => q2_k,
        GgmlType::Q3_K => q3_k,
        GgmlType::Q4_K => q4_k,
        GgmlType::Q5_K => q5_k,
        GgmlType::Q6_K => q6_k,
        GgmlType::Q8_K => q8_k,
        // F32, and whatever types the enum may come to have, which no file is read with before they stand here.
        _ => |b, y| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

// Of 32 numbers, byte j holds number j in its low half and number j + 16 in its high one.

fn q4_0(b: &[u8], y: &mut [f32]) {
    let d = half_at(b, 0);
    for j in 0..16 {
        y[j] = d * f32::from((b[2 + j] & 15) as i8 - 8);
        y[j + 16] = d * f32::from((b[2 + j] >> 4) as i8 - 8);
    }
}

fn q4_1(b: &[u8], y: &mut [f32]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for j in 0..16 {
        y[j] = d * f32::from(b[4 + j] & 15) + m;
        y[j + 16] = d * f32::from(b[4 + j] >> 4) + m;
    }
}

/// Number `j` of 32 with five bits: four in `low`, the fifth in bit `j` of `high`.
fn five_bits(low: &[u8], high: u32, j: usize) -> u8 {
    let low = if j < 16 { low[j] & 15 } else { low[j - 16] >> 4 };
    low | (((high >> j) & 1) as u8) << 4
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn q5_0(b: &[u8], y: &mut [f32]) {
    let (d, high) = (half_at(b, 0), u32_at(b, 2));
    for (j, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(five_bits(&b[6..], high, j) as i8 - 16);
    }
}

fn q5_1(b: &[u8], y: &mut [f32]) {
    let (d, m, high) = (half_at(b, 0), half_at(b, 2), u32_at(b, 4));
    for (j, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(five_bits(&b[8..], high, j)) + m;
    }
}

fn q8_0(b: &[u8], y: &mut [f32]) {
    let d = half_at(b, 0);
    for (y, &q) in y.iter_mut().zip(&b[2..]) {
        *y = d * f32::from(q as i8);
    }
}

// Of 256 numbers, sixteen or eight groups have scales of their own, times the block's one or two of 16 bits.

fn q2_k(b: &[u8], y: &mut [f32]) {
    let (scales, qs) = (&b[..16], &b[16..80]);
    let (d, min) = (half_at(b, 80), half_at(b, 82));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        let (dl, ml) = (d * f32::from(scales[group] & 15), min * f32::from(scales[group] >> 4));
        let (bytes, shift) = two_bit_group(qs, group);
        for (y, &q) in y.iter_mut().zip(bytes) {
            *y = dl * f32::from((q >> shift) & 3) - ml;
        }
    }
}

/// The 16 bytes that hold group `group` of 16 numbers with two bits each, and where in each byte.
fn two_bit_group(qs: &[u8], group: usize) -> (&[u8], usize) {
    let start = group / 8 * 32 + group % 2 * 16;
    (&qs[start..start + 16], group % 8 / 2 * 2)
}

fn q3_k(b: &[u8], y: &mut [f32]) {
    let (high, qs, scales, d) = (&b[..32], &b[32..96], &b[96..108], half_at(b, 108));
    for (group, y) in y.chunks_exact_mut(16).enumerate() {
        let low = if group < 8 { scales[group] & 15 } else { scales[group - 8] >> 4 };
        let top = (scales[8 + group % 4] >> (group / 4 * 2)) & 3;
        let dl = d * f32::from((low | top << 4) as i8 - 32);
        let (bytes, shift) = two_bit_group(qs, group);
        for (j, (y, &q)) in y.iter_mut().zip(bytes).enumerate() {
            // A set bit means that four is not taken off.
            let is_set = high[group % 2 * 16 + j] >> (group / 2) & 1 == 1;
            *y = dl * f32::from(((q >> shift) & 3) as i8 - if is_set { 0 } else { 4 });
        }
    }
}

/// Scale and minimum of group `group` of 32, six bits each, as Q4_K and Q5_K pack them into 12 bytes.
pub(super) fn scale_and_min(scales: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (scales[group] & 63, scales[group + 4] & 63);
    }
    let both = scales[group + 4];
    ((both & 15) | (scales[group - 4] >> 6) << 4, (both >> 4) | (scales[group] >> 6) << 4)
}

fn q4_k(b: &[u8], y: &mut [f32]) {
    let (d, min, scales, qs) = (half_at(b, 0), half_at(b, 2), &b[4..16], &b[16..]);
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, offset) = scale_and_min(scales, group);
        let (dl, ml) = (d * f32::from(scale), min * f32::from(offset));
        let (bytes, shift) = (&qs[group / 2 * 32..], group % 2 * 4);
        for (y, &q) in y.iter_mut().zip(bytes) {
            *y = dl * f32::from((q >> shift) & 15) - ml;
        }
    }
}

fn q5_k(b: &[u8], y: &mut [f32]) {
    let (d, min, scales) = (half_at(b, 0), half_at(b, 2), &b[4..16]);
    let (high, qs) = (&b[16..48], &b[48..]);
    for (group, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, offset) = scale_and_min(scales, group);
        let (dl, ml) = (d * f32::from(scale), min * f32::from(offset));
        let (bytes, shift) = (&qs[group / 2 * 32..], group % 2 * 4);
        for (j, (y, &q)) in y.iter_mut().zip(bytes).enumerate() {
            let q = ((q >> shift) & 15) | (high[j] >> group & 1) << 4;
            *y = dl * f32::from(q) - ml;
        }
    }
}

fn q6_k(b: &[u8], y: &mut [f32]) {
    let (low, high, scales, d) = (&b[..128], &b[128..192], &b[192..208], half_at(b, 208));
    for (at, y) in y.iter_mut().enumerate() {
        // Halves of 128; in each, four runs of 32.
        let (half, run, j) = (at / 128, at % 128 / 32, at % 32);
        let q4 = low[half * 64 + run % 2 * 32 + j] >> (run / 2 * 4) & 15;
        let q2 = high[half * 32 + j] >> (run * 2) & 3;
        let scale = d * f32::from(scales[at / 16] as i8);
        *y = scale * f32::from((q4 | q2 << 4) as i8 - 32);
    }
}

fn q8_k(b: &[u8], y: &mut [f32]) {
    let d = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    for (y, &q) in y.iter_mut().zip(&b[4..260]) {
        *y = d * f32::from(q as i8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use idiolect_files::safetensors::SafetensorsFile;
    use std::path::Path;

    /// Random blocks, and what the `gguf` package makes of them.
    #[test]
    fn numbers_are_those_of_the_reference_to_the_bit() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf_blocks.safetensors");
        let file = SafetensorsFile::open(&path).unwrap();
        let mut checked = 0;
        for dtype in GgmlType::all() {
            let (blocks, values) =
                (format!("{}.blocks", dtype.as_str()), format!("{}.values", dtype.as_str()));
            let (Some((_, blocks)), Some((_, values))) = (file.get(&blocks), file.get(&values))
            else {
                continue;
            };
            let mut got = vec![0f32; values.len() / 4];
            dequantize(dtype, blocks, &mut got);
            for (at, (got, expected)) in got.iter().zip(values.chunks_exact(4)).enumerate() {
                let bits = u32::from_le_bytes(expected.try_into().unwrap());
                assert_eq!(got.to_bits(), bits, "{} at {at}", dtype.as_str());
            }
            checked += 1;
        }
        assert_eq!(checked, 12);
    }

    #[test]
    fn q8_k_and_f32_are_as_their_layout_says() {
        let mut block = 0.5f32.to_le_bytes().to_vec();
        block.extend((0..=255u8).chain([0; 32]));
        let mut got = [0f32; 256];
        dequantize(GgmlType::Q8_K, &block, &mut got);
        assert_eq!((got[3], got[255]), (1.5, -0.5));
        let mut one = [0f32];
        dequantize(GgmlType::F32, &2.5f32.to_le_bytes(), &mut one);
        assert_eq!(one, [2.5]);
    }
}
