//! f32 to blocks of bits, as ggml's reference makes them (`ggml-quants.c`, `quantize_row_*_ref`); Q4_K by a search of its own.

use super::quantize_k::q4_k;
use half::{bf16, f16};
use idiolect_files::gguf::GgmlType;
use rayon::prelude::*;

/// Numbers that one task of the thread pool takes: whole blocks of any type.
const NUMBERS_A_TASK: usize = 1 << 15;

/// The types that are written.
pub(super) const WRITTEN: [GgmlType; 7] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q8_0,
    GgmlType::Q5_0,
    GgmlType::Q4_0,
    GgmlType::Q4_K,
];

/// Fills `out` with the blocks of `numbers`, which must be as many whole ones. Large inputs are shared among threads.
pub(super) fn quantize(dtype: GgmlType, numbers: &[f32], out: &mut [u8]) {
    let (size, n_bytes) = (dtype.block_size(), dtype.block_bytes());
    debug_assert_eq!(numbers.len() / size * n_bytes, out.len());
    let block: fn(&[f32], &mut [u8]) = match dtype {
        GgmlType::F16 => |x, b| b.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes()),
        GgmlType::BF16 => |x, b| b.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes()),
        GgmlType::Q8_0 => q8_0,
        GgmlType::Q5_0 => q5_0,
        GgmlType::Q4_0 => q4_0,
        GgmlType::Q4_K => q4_k,
        // F32: nothing else of `WRITTEN` is left.
        _ => |x, b| b.copy_from_slice(&x[0].to_le_bytes()),
    };
    let tasks =
        numbers.par_chunks(NUMBERS_A_TASK).zip(out.par_chunks_mut(NUMBERS_A_TASK / size * n_bytes));
    tasks.for_each(|(numbers, out)| {
        let blocks = numbers.chunks_exact(size).zip(out.chunks_exact_mut(n_bytes));
        blocks.for_each(|(numbers, out)| block(numbers, out));
    });
}

/// The first of the numbers that are farthest from 0.
fn farthest(x: &[f32]) -> f32 {
    let farther = |most: f32, x: f32| if x.abs() > most.abs() { x } else { most };
    x.iter().copied().reduce(farther).unwrap_or(0.0)
}

/// One over a scale, or 0 for a block of zeros.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

fn q8_0(x: &[f32], b: &mut [u8]) {
    let d = farthest(x).abs() / 127.0;
    let inverse = inverse(d);
    b[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (b, x) in b[2..].iter_mut().zip(x) {
        *b = (x * inverse).round() as i8 as u8;
    }
}

// Of 32 numbers, byte j holds number j in its low half and number j + 16 in its high one. The number farthest from 0
// is the lowest of the codes, which reach one step farther down than up.

fn q4_0(x: &[f32], b: &mut [u8]) {
    let d = farthest(x) / -8.0;
    let inverse = inverse(d);
    b[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    let code = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    for j in 0..16 {
        b[2 + j] = code(x[j]) | code(x[j + 16]) << 4;
    }
}

fn q5_0(x: &[f32], b: &mut [u8]) {
    let d = farthest(x) / -16.0;
    let inverse = inverse(d);
    b[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
    let code = |x: f32| ((x * inverse + 16.5) as u8).min(31);
    let fifth = x.iter().zip(0..).fold(0u32, |bits, (&x, j)| bits | u32::from(code(x) >> 4) << j);
    b[2..6].copy_from_slice(&fifth.to_le_bytes());
    for j in 0..16 {
        b[6 + j] = (code(x[j]) & 15) | (code(x[j + 16]) & 15) << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::super::dequantize::dequantize;
    use super::*;
    use idiolect_files::safetensors::SafetensorsFile;
    use proptest::prelude::*;
    use std::path::Path;

    fn there_and_back(dtype: GgmlType, numbers: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0; dtype.row_bytes(numbers.len()).unwrap()];
        quantize(dtype, numbers, &mut bytes);
        let mut back = vec![0.0; numbers.len()];
        dequantize(dtype, &bytes, &mut back);
        back
    }

    /// Rows, and the blocks that the `gguf` package makes of them.
    #[test]
    fn blocks_are_those_of_the_reference_to_the_bit() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf_blocks.safetensors");
        let file = SafetensorsFile::open(&path).unwrap();
        let bytes = file.get("rows").unwrap().1;
        let rows: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let mut checked = 0;
        for dtype in WRITTEN {
            let Some((_, expected)) = file.get(&format!("{}.of_rows", dtype.as_str())) else {
                continue;
            };
            let mut got = vec![0; expected.len()];
            quantize(dtype, &rows, &mut got);
            let first = got.iter().zip(expected).position(|(a, b)| a != b);
            assert_eq!(first, None, "{}", dtype.as_str());
            checked += 1;
        }
        assert_eq!(checked, 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_number_is_farther_off_than_its_step(
            numbers in proptest::collection::vec(-4.0f32..4.0, 512),
            scale in -4i32..14,
        ) {
            let scale = 2f32.powi(scale);
            let numbers: Vec<f32> = numbers.iter().map(|x| x * scale).collect();
            let most = farthest(&numbers).abs();
            // A step: the range of a block over its codes, and the error of a scale of 16 bits; some more for Q4_K, which
            // has scales of 6 bits, and which gives up single numbers for the sake of all.
            let steps = [
                (GgmlType::F32, 0.0),
                (GgmlType::F16, 1.0 / 2000.0),
                (GgmlType::BF16, 1.0 / 250.0),
                (GgmlType::Q8_0, 1.0 / 200.0),
                (GgmlType::Q5_0, 1.0 / 15.0),
                (GgmlType::Q4_0, 1.0 / 7.0),
                (GgmlType::Q4_K, 1.0 / 5.0),
            ];
            for (dtype, step) in steps {
                let back = there_and_back(dtype, &numbers);
                for (got, x) in back.iter().zip(&numbers) {
                    prop_assert!((got - x).abs() <= most * step, "{} {got} {x}", dtype.as_str());
                }
            }
        }

        #[test]
        fn what_blocks_hold_comes_back(codes in proptest::collection::vec(-8i32..8, 256), d in 1u16..0x7000) {
            let d = f16::from_bits(d).to_f32();
            let mut numbers: Vec<f32> = codes.iter().map(|&code| code as f32 * d).collect();
            for block in numbers.chunks_mut(32) {
                block[7] = -8.0 * d; // So that every block has this scale.
            }
            prop_assert_eq!(there_and_back(GgmlType::Q4_0, &numbers), numbers);
        }
    }
}
