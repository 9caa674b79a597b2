//! Packed matrices against plain products with what they hold, and the layers of a decoder against plain operators.

use idiolect_torch::tch::{Device, Kind, Tensor};
use idiolect_torch::{
    BlockFormat, CallCache, Decoder, DecoderLayer, DecoderSizes, Gate, HeadSteps, Matrix, NoGrad,
    PackedMatrix, rms_norm, split_heads, use_products,
};
use proptest::prelude::*;
use std::sync::{Mutex, MutexGuard};

const FORMATS: [BlockFormat; 3] = [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::Q4_1];
/// The choice of instructions and the generator of random numbers belong to the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The same random numbers in every run.
fn begin() -> (MutexGuard<'static, ()>, NoGrad) {
    let lock = ONE_AT_A_TIME.lock().unwrap_or_else(|held| held.into_inner());
    idiolect_torch::seed(Device::Cpu, 1).unwrap();
    (lock, NoGrad::new())
}

fn random(size: &[i64]) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu))
}

fn borrowed(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

fn furthest(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// What the kernels round an input to: 8 bits for each 32 numbers.
fn rounded(input: &Tensor) -> Tensor {
    let blocks = input.reshape([-1, 32]);
    let scale = blocks.abs().amax([1], true) / 127.0;
    ((&blocks / scale.clamp_min(1e-30)).round() * scale).view_as(input)
}

#[test]
fn products_are_those_of_the_stored_weights() {
    let _guards = begin();
    let mut tried = 0;
    for name in ["portable", "avx2", "avx512vnni"] {
        if !use_products(name) {
            continue; // this processor has no such instructions
        }
        tried += 1;
        for (format, rows, columns) in
            FORMATS.into_iter().flat_map(|f| [(f, 40, 96), (f, 16, 32), (f, 1, 64)])
        {
            let packed = PackedMatrix::quantise(format, &random(&[rows, columns])).unwrap();
            let (input, bias) = (random(&[2, 7, columns]) * 3.0, random(&[rows]));
            let expected = rounded(&input).matmul(&packed.dequantise().unwrap().tr()) + &bias;
            let got = packed.linear(&input, Some(&bias)).unwrap();
            assert_eq!(got.size(), [2, 7, rows]);
            let far = furthest(&got, &expected);
            assert!(far < 1e-4, "{name} {format:?} [{rows}, {columns}]: {far}");
            // A row of the input gives the same bits alone.
            let alone = packed.linear(&input.narrow(1, 3, 1), Some(&bias)).unwrap();
            assert!(alone.equal(&got.narrow(1, 3, 1)), "{name} {format:?}");
        }
    }
    assert!(tried >= 1);
}

#[test]
fn llama_cpp_blocks_are_taken_without_loss() {
    let _guards = begin();
    // One row of 64 columns: scale 0.5, minimum -1 where there is one, quants 0, 1, 2, ... as llama.cpp lays them.
    for format in FORMATS {
        let mut blocks = Vec::new();
        for _ in 0..2 {
            blocks.extend(0x3800u16.to_le_bytes());
            match format {
                BlockFormat::Q8_0 => blocks.extend((0..32).map(|i| (i as i8 - 16) as u8)),
                _ => {
                    if format == BlockFormat::Q4_1 {
                        blocks.extend(0xBC00u16.to_le_bytes());
                    }
                    blocks.extend((0..16u8).map(|i| i | (15 - i) << 4));
                }
            }
        }
        let mut packed = PackedMatrix::zeros(format, 1, 64).unwrap();
        packed.set_blocks(0, &blocks).unwrap();
        let expected = |i: i32| match format {
            BlockFormat::Q8_0 => 0.5 * (i - 16) as f32,
            BlockFormat::Q4_0 => 0.5 * (if i < 16 { i } else { 31 - i } - 8) as f32,
            BlockFormat::Q4_1 => 0.5 * (if i < 16 { i } else { 31 - i }) as f32 - 1.0,
        };
        let expected: Vec<f32> = (0..64).map(|i| expected(i % 32)).collect();
        let got = Vec::<f32>::try_from(packed.dequantise().unwrap().squeeze_dim(0)).unwrap();
        assert_eq!(got, expected, "{format:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let _guards = begin();
    assert!(PackedMatrix::zeros(BlockFormat::Q4_1, 16, 40).is_err());
    let mut packed = PackedMatrix::zeros(BlockFormat::Q4_1, 40, 64).unwrap();
    assert!(packed.set_rows(8, &random(&[16, 64])).is_err(), "not at a strip");
    assert!(packed.set_rows(0, &random(&[20, 64])).is_err(), "not the last rows");
    assert!(packed.set_rows(32, &random(&[16, 64])).is_err(), "past the end");
    assert!(packed.set_rows(0, &random(&[16, 32])).is_err(), "another width");
    assert!(packed.set_blocks(0, &[0; 39]).is_err());
    assert!(packed.linear(&random(&[3, 32]), None).is_err());
    assert!(packed.rows(&Tensor::from_slice(&[40i64])).is_err());
    packed.set_rows(32, &random(&[8, 64])).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_weight_is_further_than_half_a_step(values in proptest::collection::vec(-10.0f32..10.0, 64)) {
        let weight = Tensor::from_slice(&values).view([2, 32]);
        let (most, least) = (weight.amax([1], true), weight.amin([1], true));
        for format in FORMATS {
            let got = PackedMatrix::quantise(format, &weight).unwrap().dequantise().unwrap();
            let step = match format {
                BlockFormat::Q8_0 => weight.abs().amax([1], true) / 127.0,
                // Of the other sign than the extreme there are only 7 steps: up to one whole step is cut off.
                BlockFormat::Q4_0 => weight.abs().amax([1], true) / 4.0,
                BlockFormat::Q4_1 => (&most - &least) / 15.0,
            };
            let far = ((got - &weight).abs() - step * 0.5).max().double_value(&[]);
            prop_assert!(far < 0.012, "{format:?}: {far}"); // scales are f16
        }
    }
}

// B batch, T time, D width, H heads, K key-value heads, d head width, F inner width.
const SIZES: DecoderSizes = DecoderSizes {
    width: 96,
    n_heads: 4,
    n_kv_heads: 2,
    head_dim: 32,
    inner: 64,
    norm_epsilon: 1e-5,
    gate: Gate::Silu,
};

/// The weights of a layer as tensors.
struct Layer {
    matrices: [Tensor; 4],
    qkv_bias: Option<Tensor>,
    norms: [Tensor; 2],
    after: Option<[Tensor; 2]>,
    heads: Option<[Tensor; 2]>,
    window: Option<i64>,
    softcap: Option<f64>,
}

fn layer(rich: bool) -> Layer {
    let DecoderSizes { width, n_heads, n_kv_heads, head_dim, inner, .. } = SIZES;
    let all = (n_heads + 2 * n_kv_heads) * head_dim;
    let sizes = [[all, width], [width, n_heads * head_dim], [2 * inner, width], [width, inner]];
    let near_one = |n: i64| random(&[n]) * 0.1 + 1.0;
    Layer {
        matrices: sizes.map(|size| random(&size) * 0.15),
        qkv_bias: rich.then(|| random(&[all]) * 0.1),
        norms: [near_one(width), near_one(width)],
        after: rich.then(|| [near_one(width), near_one(width)]),
        heads: rich.then(|| [near_one(head_dim), near_one(head_dim)]),
        window: rich.then_some(5),
        softcap: rich.then_some(2.0),
    }
}

fn angles(length: i64) -> [Tensor; 2] {
    let frequencies = Tensor::arange(SIZES.head_dim / 2, (Kind::Float, Device::Cpu)) * -0.3;
    let angles = Tensor::arange(length, (Kind::Float, Device::Cpu)).outer(&frequencies.exp());
    let sin = angles.sin();
    let (cos, sin) = (angles.cos().repeat([1, 2]), Tensor::cat(&[-&sin, sin], 1));
    [cos.unsqueeze(1), sin.unsqueeze(1)]
}

/// One layer of `[B, T, D]` by plain operators.
fn plainly(layer: &Layer, x: &Tensor, [cos, sin]: &[Tensor; 2]) -> Tensor {
    let (length, epsilon) = (x.size()[1], SIZES.norm_epsilon);
    let norm = |x: &Tensor, weight: &Tensor| rms_norm(x, Some(weight), epsilon).unwrap();
    let after =
        |x: Tensor, i: usize| layer.after.as_ref().map_or(x.copy(), |after| norm(&x, &after[i]));
    let [qkv, out, gate_up, down] = &layer.matrices;
    let heads = norm(x, &layer.norms[0]).linear(qkv, layer.qkv_bias.as_ref());
    let steps = HeadSteps {
        norm_epsilon: layer.heads.as_ref().map(|_| epsilon),
        weights: layer.heads.as_ref().map(|heads| [&heads[0], &heads[1]]),
        angles: Some([cos, sin]),
    };
    let parts = split_heads(&heads, (SIZES.n_heads, SIZES.n_kv_heads), steps).unwrap();
    let [q, k, v] = parts.map(|part| part.transpose(1, 2));
    let [k, v] = [k, v].map(|part| part.repeat_interleave_self_int(2, 1, None::<i64>));
    let mut scores = q.matmul(&k.transpose(2, 3)) * (SIZES.head_dim as f64).powf(-0.5);
    if let Some(cap) = layer.softcap {
        scores = (scores / cap).tanh() * cap;
    }
    let seen = Tensor::ones([length, length], (Kind::Bool, Device::Cpu)).tril(0);
    let seen = layer.window.map_or(seen.copy(), |window| seen.triu(1 - window));
    let scores = scores.masked_fill(&seen.logical_not(), f64::NEG_INFINITY);
    let attended = scores.softmax(-1, Kind::Float).matmul(&v).transpose(1, 2).flatten(2, 3);
    let x = x + after(attended.linear(out, None::<Tensor>), 0);
    let halves = norm(&x, &layer.norms[1]).linear(gate_up, None::<Tensor>).chunk(2, -1);
    let inner = halves[0].silu() * &halves[1];
    &x + after(inner.linear(down, None::<Tensor>), 1)
}

/// Runs `[B, T, D]` in pieces of these lengths.
fn in_pieces(decoder: &Decoder, x: &Tensor, pieces: &[i64], kind: Kind) -> Tensor {
    let size = x.size();
    // Each sequence has room of its own size.
    let cache = || -> Vec<Tensor> {
        let of = |i: i64| [1, SIZES.n_kv_heads, size[1] + 3 + i % size[0], SIZES.head_dim];
        (0..2 * size[0]).map(|i| Tensor::full(of(i), f64::NAN, (kind, Device::Cpu))).collect()
    };
    let (keys, values) = (cache(), cache());
    let [cos, sin] = angles(size[1]);
    let (mut start, mut parts) = (0, Vec::new());
    for &length in pieces {
        let rows = |table: &Tensor| table.narrow(0, start, length);
        let (cos, sin) = (rows(&cos), rows(&sin));
        let starts = vec![start; size[0] as usize];
        let (keys, values) = (borrowed(&keys), borrowed(&values));
        let cache = CallCache { keys: &keys, values: &values, starts: &starts };
        let piece = x.narrow(1, start, length);
        parts.push(decoder.forward(&piece, [[&cos, &sin]; 2], &cache).unwrap());
        start += length;
    }
    Tensor::cat(&parts, 1)
}

fn decoder(layers: &[Layer], packed: Option<&[[PackedMatrix; 4]]>) -> Decoder {
    let layers = layers.iter().enumerate().map(|(i, layer)| {
        let matrix = |k: usize| match packed {
            Some(packed) => Matrix::Packed(&packed[i][k]),
            None => Matrix::Dense(&layer.matrices[k]),
        };
        DecoderLayer {
            qkv: matrix(0),
            out: matrix(1),
            gate_up: matrix(2),
            down: matrix(3),
            qkv_bias: layer.qkv_bias.as_ref().map(Tensor::shallow_clone),
            out_bias: None,
            norms: layer.norms.each_ref().map(Tensor::shallow_clone),
            norms_after: layer
                .after
                .as_ref()
                .map(|pair| pair.each_ref().map(Tensor::shallow_clone)),
            head_norms: layer.heads.as_ref().map(|pair| pair.each_ref().map(Tensor::shallow_clone)),
            scale: (SIZES.head_dim as f64).powf(-0.5),
            softcap: layer.softcap,
            window: layer.window,
            local: false,
        }
    });
    Decoder::new(SIZES, layers.collect()).unwrap()
}

#[test]
fn a_decoder_is_its_plain_operators() {
    let _guards = begin();
    for rich in [false, true] {
        let layers = [layer(rich), layer(rich)];
        let x = random(&[2, 21, SIZES.width]);
        let expected = layers.iter().fold(x.copy(), |x, layer| plainly(layer, &x, &angles(21)));
        let decoder = decoder(&layers, None);
        for pieces in [&[21][..], &[13, 1, 7], &[1; 21]] {
            let far = furthest(&in_pieces(&decoder, &x, pieces, Kind::Float), &expected);
            assert!(far < 2e-4, "{rich} {pieces:?}: {far}");
            let far = furthest(&in_pieces(&decoder, &x, pieces, Kind::BFloat16), &expected);
            let far = far / expected.abs().max().double_value(&[]);
            assert!(far < 0.03, "bf16 cache, {rich} {pieces:?}: {far}");
        }
    }
}

#[test]
fn sequences_of_any_lengths_go_side_by_side() {
    let _guards = begin();
    let decoder = decoder(&[layer(true)], None);
    let [cos, sin] = angles(20);
    let starts = [3i64, 17, 0];
    let cache = || starts.map(|start| random(&[1, SIZES.n_kv_heads, start + 2, SIZES.head_dim]));
    let (keys, values, x) = (cache(), cache(), random(&[3, 1, SIZES.width]));
    let at = |table: &Tensor| table.index_select(0, &Tensor::from_slice(&starts)).unsqueeze(1);
    let (keys, values) = (borrowed(&keys), borrowed(&values));
    let all = CallCache { keys: &keys, values: &values, starts: &starts };
    let together = decoder.forward(&x, [[&at(&cos), &at(&sin)]; 2], &all).unwrap();
    for (row, &start) in starts.iter().enumerate() {
        let (cos, sin) = (cos.narrow(0, start, 1), sin.narrow(0, start, 1));
        let one = row..row + 1;
        let cache = CallCache {
            keys: &keys[one.clone()],
            values: &values[one.clone()],
            starts: &starts[one],
        };
        let x = x.narrow(0, row as i64, 1);
        let alone = decoder.forward(&x, [[&cos, &sin]; 2], &cache).unwrap();
        let far = furthest(&alone, &together.narrow(0, row as i64, 1));
        assert!(far < 1e-4, "{row}: {far}");
    }
}

#[test]
fn a_packed_decoder_computes_with_the_stored_weights() {
    let _guards = begin();
    let mut layers = [layer(true), layer(false)];
    let pack = |m: &Tensor| PackedMatrix::quantise(BlockFormat::Q8_0, m).unwrap();
    let packed = layers.each_ref().map(|layer| layer.matrices.each_ref().map(pack));
    for (layer, packed) in layers.iter_mut().zip(&packed) {
        layer.matrices = packed.each_ref().map(|m| m.dequantise().unwrap());
    }
    let x = random(&[1, 9, SIZES.width]);
    let expected = layers.iter().fold(x.copy(), |x, layer| plainly(layer, &x, &angles(9)));
    let decoder = decoder(&layers, Some(&packed));
    let got = in_pieces(&decoder, &x, &[9], Kind::Float);
    // What is left is the rounding of the inputs to 8 bits.
    let far = furthest(&got, &expected) / expected.abs().max().double_value(&[]);
    assert!(far < 0.03, "{far}");
    let alone = in_pieces(&decoder, &x, &[1; 9], Kind::Float);
    assert!(furthest(&got, &alone) < 0.02, "piece by piece");
}

#[test]
fn a_call_that_does_not_fit_is_refused() {
    let _guards = begin();
    let decoder = decoder(&[layer(false)], None);
    let cache = || Tensor::zeros([1, 2, 4, 32], (Kind::Float, Device::Cpu));
    let (keys, values) = ([cache()], [cache()]);
    let [cos, sin] = angles(3);
    let run = |x: &Tensor, starts: &[i64], keys: &[Tensor]| {
        let (keys, values) = (borrowed(keys), borrowed(&values));
        let cache = CallCache { keys: &keys, values: &values, starts };
        decoder.forward(x, [[&cos, &sin]; 2], &cache).map(|_| ())
    };
    let x = random(&[1, 3, 96]);
    run(&x, &[1], &keys).unwrap();
    assert!(run(&x, &[2], &keys).is_err(), "past the capacity");
    assert!(run(&x, &[-1], &keys).is_err());
    assert!(run(&x, &[0, 0], &keys).is_err());
    assert!(run(&x, &[0], &[]).is_err());
    assert!(run(&random(&[1, 3, 64]), &[0], &keys).is_err());
    assert!(run(&random(&[1, 2, 96]), &[0], &keys).is_err(), "angles of another length");
}
