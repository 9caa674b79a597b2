//! The blocks of a decoder as layers that run in one call on the CPU, where they are of a kind that it knows.

use crate::Result;
use crate::config::Mlp as MlpShape;
use crate::layers::rotary::Angles;
use crate::layers::{Block, LayerCache, Linear, Norm, QkNorm, Wiring};
use idiolect_torch::{CallCache, Decoder, DecoderLayer, DecoderSizes, Gate};
use tch::{Device, Kind, Tensor};

/// Positions that go through all layers together, so that what lies between two products stays in the caches.
const POSITIONS_AT_ONCE: i64 = 256;
/// As many rows of dense weights are multiplied faster here than by libtorch.
const DENSE_ROWS: i64 = 16;

/// All blocks of a decoder.
#[derive(Debug)]
pub(crate) struct Fused {
    decoder: Decoder,
    packed: bool,
}

impl Fused {
    /// Nothing where a block is of another kind, or not on the CPU. `window` is how far local layers see.
    pub(crate) fn new(blocks: &[Block], window: Option<i64>) -> Result<Option<Self>> {
        let mut layers: Vec<DecoderLayer<'_>> = Vec::with_capacity(blocks.len());
        let mut shared: Option<DecoderSizes> = None;
        for block in blocks {
            let Some((sizes, layer)) = block.fused(window) else { return Ok(None) };
            shared = Some(sizes);
            layers.push(layer);
        }
        let Some(sizes) = shared else { return Ok(None) };
        let packed = blocks.iter().all(Block::is_packed);
        Ok(Some(Self { decoder: Decoder::new(sizes, layers)?, packed }))
    }

    /// Whether so many rows go through here.
    pub(crate) fn takes(&self, rows: i64) -> bool {
        self.packed || rows <= DENSE_ROWS
    }

    /// `[B, T, D]` to the same after all blocks, in the kind of the input. `angles` are those of layers that see all and
    /// of those that see a window; `caches` and `starts` a sequence each.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        [whole, local]: [&Angles; 2],
        caches: &[&[LayerCache]],
        starts: &[i64],
    ) -> Result<Tensor> {
        let n_layers = caches.first().map_or(0, |layers| layers.len());
        let layers =
            || (0..n_layers).flat_map(|layer| caches.iter().map(move |cache| &cache[layer]));
        let keys: Vec<&Tensor> = layers().map(LayerCache::key).collect();
        let values: Vec<&Tensor> = layers().map(LayerCache::value).collect();
        let (kind, length) = (x.kind(), x.size()[1]);
        let mut pieces = Vec::new();
        for begin in (0..length).step_by(POSITIONS_AT_ONCE as usize) {
            let count = POSITIONS_AT_ONCE.min(length - begin);
            let cut = |angles: &Angles| {
                angles.tables().map(|table| table.narrow(table.dim() as i64 - 3, begin, count))
            };
            let (whole, local) = (cut(whole), cut(local));
            let starts: Vec<i64> = starts.iter().map(|start| start + begin).collect();
            let cache = CallCache { keys: &keys, values: &values, starts: &starts };
            let angles = [[&whole[0], &whole[1]], [&local[0], &local[1]]];
            pieces.push(self.decoder.forward(&x.narrow(1, begin, count), angles, &cache)?);
        }
        let whole = if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(&pieces, 1) };
        Ok(whole.to_kind(kind))
    }
}

impl Block {
    /// As a layer that runs in one call with the others, and the sizes all of them share.
    fn fused(&self, window: Option<i64>) -> Option<(DecoderSizes, DecoderLayer<'_>)> {
        let (attention, mlp, norms) = (&self.attention, &self.mlp, &self.norms);
        let config = attention.config;
        let wired = matches!(self.wiring, Wiring::Pre { first: true } | Wiring::Sandwich);
        let linears = [&attention.qkv, &attention.out, &mlp.up, &mlp.down];
        let plain = mlp.up.bias.is_none() && mlp.down.bias.is_none() && !attention.per_head;
        let readable =
            |linear: &&Linear| linear.weight.packed.is_some() || is_readable(&linear.weight.dense);
        if !wired || !plain || config.head_dim % 32 != 0 || !linears.iter().all(readable) {
            return None;
        }
        let gate = gate(mlp.shape)?;
        let (norm_mlp, norm_epsilon) = rms(&norms.mlp)?;
        let inner = match &mlp.down.weight.packed {
            Some(packed) => packed.size()[1],
            None => mlp.down.weight.dense.size()[1],
        };
        if inner % 32 != 0 {
            return None;
        }
        let norms_after = match (&norms.attention_after, &norms.mlp_after) {
            (Some(attention), Some(mlp)) => Some([rms(attention)?.0, rms(mlp)?.0]),
            _ => None,
        };
        let (width, n_heads, n_kv_heads) = (config.width, config.n_heads, config.n_kv_heads);
        let head_dim = config.head_dim;
        let sizes =
            DecoderSizes { width, n_heads, n_kv_heads, head_dim, inner, norm_epsilon, gate };
        let [qkv, out, gate_up, down] = linears.map(|linear| linear.weight.matrix());
        let bias = |linear: &Linear| linear.bias.as_ref().map(Tensor::shallow_clone);
        let layer = DecoderLayer {
            qkv,
            out,
            gate_up,
            down,
            qkv_bias: bias(&attention.qkv),
            out_bias: bias(&attention.out),
            norms: [rms(norms.attention.as_ref()?)?.0, norm_mlp],
            norms_after,
            head_norms: head_norms(&attention.qk_norm, head_dim),
            scale: config.scale.unwrap_or((head_dim as f64).powf(-0.5)),
            softcap: config.softcap,
            window: window.filter(|_| config.local),
            local: config.local,
        };
        Some((sizes, layer))
    }

    fn is_packed(&self) -> bool {
        let (attention, mlp) = (&self.attention, &self.mlp);
        let linears = [&attention.qkv, &attention.out, &mlp.up, &mlp.down];
        linears.iter().all(|linear| linear.weight.packed.is_some())
    }
}

/// What an RMSNorm multiplies by, and its epsilon.
fn rms(norm: &Norm) -> Option<(Tensor, f64)> {
    match norm {
        Norm::Rms { weight: Some(weight), epsilon } => Some((weight.shallow_clone(), *epsilon)),
        Norm::RmsOffset { weight, epsilon } => Some((weight.to_kind(Kind::Float) + 1.0, *epsilon)),
        Norm::Rms { weight: None, .. } | Norm::Layer { .. } => None,
    }
}

/// What each head's queries and keys are multiplied by once they are normalised.
fn head_norms(norm: &QkNorm, head_dim: i64) -> Option<[Tensor; 2]> {
    match norm {
        QkNorm::None => None,
        QkNorm::Plain { .. } => {
            Some([(); 2].map(|()| Tensor::ones([head_dim], (Kind::Float, Device::Cpu))))
        }
        QkNorm::Weighted { query, key, offset, .. } => Some([query, key].map(|weight| {
            let weight = weight.to_kind(Kind::Float);
            if *offset { weight + 1.0 } else { weight }
        })),
    }
}

/// Whether tensors like this one can be read by the kernels.
fn is_readable(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

/// The gate of an MLP, where the kernels know it.
fn gate(shape: MlpShape) -> Option<Gate> {
    match shape {
        MlpShape::GatedSilu => Some(Gate::Silu),
        MlpShape::GatedGeluTanh => Some(Gate::GeluTanh),
        _ => None,
    }
}
