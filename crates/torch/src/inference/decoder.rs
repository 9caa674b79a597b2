//! The layers of a decoder in one call: hidden states and a cache in, hidden states out.

use std::ptr;

use tch::{Device, Kind, Tensor};

use super::glue::{self, BlockParts, CallParts, MatrixParts, RawDecoder, SizesParts};
use super::matrix::PackedMatrix;
use crate::error::{Result, TorchError};

/// What `up` is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `silu(gate)`.
    Silu,
    /// `gelu(gate)` with the tanh approximation.
    GeluTanh,
}

/// Sizes that all layers share: D width, H heads, K key-value heads, d head width, F width inside the MLP.
#[derive(Debug, Clone, Copy)]
pub struct DecoderSizes {
    /// D.
    pub width: i64,
    /// H.
    pub n_heads: i64,
    /// K.
    pub n_kv_heads: i64,
    /// d, a multiple of 32.
    pub head_dim: i64,
    /// F, a multiple of 32.
    pub inner: i64,
    /// Of every norm.
    pub norm_epsilon: f64,
    /// The MLP's.
    pub gate: Gate,
}

/// A matrix of a layer.
#[derive(Debug)]
pub enum Matrix<'a> {
    /// Of f32 or bf16, contiguous.
    Dense(&'a Tensor),
    /// In few bits.
    Packed(&'a PackedMatrix),
}

/// One layer: RMSNorm, attention, residual; RMSNorm, gated MLP, residual. The vectors are f32.
#[derive(Debug)]
pub struct DecoderLayer<'a> {
    /// `[(H + 2K) d, D]`, queries first.
    pub qkv: Matrix<'a>,
    /// `[D, H d]`.
    pub out: Matrix<'a>,
    /// `[2F, D]`, gate first.
    pub gate_up: Matrix<'a>,
    /// `[D, F]`.
    pub down: Matrix<'a>,
    /// `[(H + 2K) d]`.
    pub qkv_bias: Option<Tensor>,
    /// `[D]`.
    pub out_bias: Option<Tensor>,
    /// `[D]`, before attention and before the MLP.
    pub norms: [Tensor; 2],
    /// `[D]`, of the output of each.
    pub norms_after: Option<[Tensor; 2]>,
    /// `[d]`, of each head's queries and keys.
    pub head_norms: Option<[Tensor; 2]>,
    /// Scores are multiplied by this.
    pub scale: f64,
    /// Scores become `softcap * tanh(scores / softcap)`.
    pub softcap: Option<f64>,
    /// How many positions a query sees, its own among them.
    pub window: Option<i64>,
    /// Takes the second pair of angles.
    pub local: bool,
}

/// Where keys and values of all positions are kept: of layer l and sequence b at `l * B + b`, `[1, K, capacity, d]`, all
/// f32 or all bf16; and how many positions each sequence has so far.
#[derive(Debug)]
pub struct CallCache<'a> {
    /// One for each layer and sequence.
    pub keys: &'a [&'a Tensor],
    /// One for each layer and sequence.
    pub values: &'a [&'a Tensor],
    /// `[B]`.
    pub starts: &'a [i64],
}

/// The layers of a decoder, ready to run on the CPU.
#[derive(Debug)]
pub struct Decoder {
    raw: *mut RawDecoder,
    sizes: DecoderSizes,
    n_layers: usize,
    /// What the C++ points into: it lives as long as this does.
    _kept: Vec<Tensor>,
}

// SAFETY: the C++ object belongs to this one alone, and no thread-local state is in it; it is not Sync, so that only
// one thread runs it at a time.
unsafe impl Send for Decoder {}

impl Drop for Decoder {
    fn drop(&mut self) {
        glue::decoder_free(self.raw);
    }
}

impl Decoder {
    /// Checks every shape. The memory of the matrices is shared, not copied: later changes of a weight are seen.
    pub fn new(sizes: DecoderSizes, layers: Vec<DecoderLayer<'_>>) -> Result<Self> {
        let DecoderSizes { width, n_heads, n_kv_heads, head_dim, inner, .. } = sizes;
        let positive = [width, n_heads, n_kv_heads, head_dim, inner].iter().all(|&size| size > 0);
        if !positive
            || head_dim % 32 != 0
            || inner % 32 != 0
            || n_heads % n_kv_heads != 0
            || layers.is_empty()
        {
            return Err(TorchError::Argument(format!("decoder: {sizes:?} does not fit")));
        }
        let mut kept = Vec::new();
        let n_layers = layers.len();
        let blocks: Vec<BlockParts> = layers
            .into_iter()
            .map(|layer| block(&sizes, layer, &mut kept))
            .collect::<Result<_>>()?;
        let gate = match sizes.gate {
            Gate::Silu => 0,
            Gate::GeluTanh => 1,
        };
        let epsilon = sizes.norm_epsilon;
        let parts = SizesParts { width, n_heads, n_kv_heads, head_dim, inner, epsilon, gate };
        let raw = glue::decoder_new(&parts, &blocks)?;
        Ok(Self { raw, sizes, n_layers, _kept: kept })
    }

    /// `hidden` `[B, T, D]` to the same after all layers, in f32; the new keys and values are written into the cache from
    /// each sequence's start on. `angles` are cosines and signed sines as in [`HeadSteps`](crate::HeadSteps),
    /// `[T, 1, d]` or `[B, T, 1, d]`: those of layers that see all, and of local ones.
    pub fn forward(
        &self,
        hidden: &Tensor,
        angles: [[&Tensor; 2]; 2],
        cache: &CallCache<'_>,
    ) -> Result<Tensor> {
        let size = hidden.size();
        let [n_sequences, length, width] = size[..] else { return Err(unfit("hidden", &size)) };
        let head_dim = self.sizes.head_dim;
        if width != self.sizes.width || n_sequences < 1 || length < 1 {
            return Err(unfit("hidden", &size));
        }
        let (capacities, narrow) = self.check_cache(cache, n_sequences, length)?;
        let mut output = Tensor::f_empty(&size, (Kind::Float, Device::Cpu))?;
        output.f_copy_(&hidden.f_detach()?)?;
        let spread = |table: &Tensor| -> Result<Tensor> {
            let table = table.f_detach()?.f_to_kind(Kind::Float)?;
            let rows = n_sequences * length;
            let table = match table.numel() as i64 == rows * head_dim {
                true => table.f_reshape([rows, head_dim])?,
                false => table
                    .f_reshape([1, length, head_dim])?
                    .f_expand([n_sequences, length, head_dim], false)?
                    .f_reshape([rows, head_dim])?,
            };
            Ok(table.f_contiguous()?)
        };
        let [[cos, sin], [local_cos, local_sin]] = angles;
        let tables = [spread(cos)?, spread(sin)?, spread(local_cos)?, spread(local_sin)?];
        let pointers = |tensors: &[&Tensor]| -> Vec<*mut u8> {
            tensors.iter().map(|tensor| tensor.data_ptr().cast()).collect()
        };
        let (keys, values) = (pointers(cache.keys), pointers(cache.values));
        let parts = CallParts {
            n_sequences,
            length,
            starts: cache.starts.as_ptr(),
            capacities: capacities.as_ptr(),
            hidden: output.data_ptr().cast(),
            angles: tables.each_ref().map(|table| table.data_ptr().cast_const().cast()),
            narrow,
            keys: keys.as_ptr(),
            values: values.as_ptr(),
        };
        glue::decoder_run(self.raw, &parts)?;
        Ok(output)
    }

    /// Each sequence's capacity, and whether the cache is bf16.
    fn check_cache(
        &self,
        cache: &CallCache,
        n_sequences: i64,
        length: i64,
    ) -> Result<(Vec<i64>, bool)> {
        let DecoderSizes { n_kv_heads, head_dim, .. } = self.sizes;
        let CallCache { keys, values, starts } = cache;
        let count = n_sequences as usize;
        let counts = [keys.len(), values.len()] == [self.n_layers * count; 2];
        if !counts || starts.len() != count {
            return Err(unfit("cache", &[keys.len() as i64, values.len() as i64]));
        }
        let kind = keys[0].kind();
        let capacities: Vec<i64> =
            keys[..count].iter().map(|tensor| tensor.size().get(2).copied().unwrap_or(0)).collect();
        let fits = |(index, tensor): (usize, &&Tensor)| {
            tensor.size() == [1, n_kv_heads, capacities[index % count], head_dim]
                && tensor.kind() == kind
                && tensor.device() == Device::Cpu
                && tensor.is_contiguous()
        };
        let all = keys.iter().enumerate().chain(values.iter().enumerate()).all(fits);
        let room = |(&start, &capacity): (&i64, &i64)| {
            start >= 0 && start.checked_add(length).is_some_and(|end| end <= capacity)
        };
        let room = starts.iter().zip(&capacities).all(room);
        if !(all && room && matches!(kind, Kind::Float | Kind::BFloat16)) {
            return Err(unfit("cache", &keys[0].size()));
        }
        Ok((capacities, kind == Kind::BFloat16))
    }
}

fn unfit(what: &str, size: &[i64]) -> TorchError {
    TorchError::Argument(format!("decoder: {what} {size:?} does not fit"))
}

/// Checks a layer, and keeps what it points into.
fn block(
    sizes: &DecoderSizes,
    layer: DecoderLayer<'_>,
    kept: &mut Vec<Tensor>,
) -> Result<BlockParts> {
    let DecoderSizes { width, n_heads, n_kv_heads, head_dim, inner, .. } = *sizes;
    let heads = (n_heads + 2 * n_kv_heads) * head_dim;
    let mut matrix = |matrix, size| matrix_parts(matrix, size, kept);
    let qkv = matrix(layer.qkv, [heads, width])?;
    let out = matrix(layer.out, [width, n_heads * head_dim])?;
    let gate_up = matrix(layer.gate_up, [2 * inner, width])?;
    let down = matrix(layer.down, [width, inner])?;
    let pair = |pair: Option<[Tensor; 2]>| pair.map_or([None, None], |pair| pair.map(Some));
    let [norm_attention, norm_mlp] = layer.norms.map(Some);
    let [after_attention, after_mlp] = pair(layer.norms_after);
    let [of_queries, of_keys] = pair(layer.head_norms);
    let mut vector = |vector: Option<Tensor>, n| vector_pointer(vector, n, kept);
    let vectors = [
        vector(layer.qkv_bias, heads)?,
        vector(layer.out_bias, width)?,
        vector(norm_attention, width)?,
        vector(norm_mlp, width)?,
        vector(after_attention, width)?,
        vector(after_mlp, width)?,
        vector(of_queries, head_dim)?,
        vector(of_keys, head_dim)?,
    ];
    let (scale, softcap) = (layer.scale, layer.softcap.unwrap_or(0.0));
    let (window, local) = (layer.window.unwrap_or(0), layer.local);
    Ok(BlockParts { qkv, out, gate_up, down, vectors, scale, softcap, window, local })
}

fn matrix_parts(matrix: Matrix<'_>, size: [i64; 2], kept: &mut Vec<Tensor>) -> Result<MatrixParts> {
    match matrix {
        Matrix::Packed(packed) if packed.size() == size => {
            kept.push(packed.memory().shallow_clone());
            Ok(packed.parts())
        }
        Matrix::Packed(packed) => Err(unfit("weight", &packed.size())),
        Matrix::Dense(tensor) => {
            let format = match tensor.kind() {
                Kind::Float => 0,
                Kind::BFloat16 => 1,
                _ => return Err(unfit("weight", &tensor.size())),
            };
            if tensor.size() != size || !tensor.is_contiguous() || tensor.device() != Device::Cpu {
                return Err(unfit("weight", &tensor.size()));
            }
            kept.push(tensor.shallow_clone());
            let data = tensor.data_ptr().cast_const().cast();
            Ok(MatrixParts { format, rows: size[0], columns: size[1], data })
        }
    }
}

fn vector_pointer(vector: Option<Tensor>, n: i64, kept: &mut Vec<Tensor>) -> Result<*const f32> {
    let Some(vector) = vector else { return Ok(ptr::null()) };
    let vector = vector.f_detach()?.f_to_kind(Kind::Float)?.f_contiguous()?;
    if vector.size() != [n] || vector.device() != Device::Cpu {
        return Err(unfit("vector", &vector.size()));
    }
    let pointer = vector.data_ptr().cast_const().cast();
    kept.push(vector);
    Ok(pointer)
}
