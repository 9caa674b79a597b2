//! Self-attention with grouped key-value heads, `[B, T, D]` to `[B, T, D]` (Vaswani et al. 2017; Ainslie et al. 2023).

use crate::Result;
use crate::init::Init;
use crate::layers::rotary::Angles;
use crate::layers::{Form, Linear, Mask};
use crate::parameter::{ParameterKind, Path};
use idiolect_torch::HeadSteps;
use tch::Tensor;

/// `[B, T, D]` to `[B, T, D]`.
#[derive(Debug)]
pub(crate) struct Attention {
    qkv: Linear,
    out: Linear,
    qk_norm: QkNorm,
    config: AttentionConfig,
}

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionConfig {
    pub(crate) width: i64,
    pub(crate) n_heads: i64,
    pub(crate) n_kv_heads: i64,
    pub(crate) head_dim: i64,
    pub(crate) bias: bool,
    pub(crate) dropout: f64,
}

/// What the layers are called in files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionNames {
    pub(crate) qkv: &'static str,
    pub(crate) parts: [&'static str; 3],
    pub(crate) out: &'static str,
}

/// The normalisation of each head's queries and keys (Henry et al. 2020; Dehghani et al. 2023).
#[derive(Debug)]
pub(crate) enum QkNorm {
    None,
    /// Nothing learned: it commutes with the rotation.
    Plain {
        epsilon: f64,
    },
    /// A weight for queries and one for keys, `[d]` each, before the rotation.
    Weighted {
        query: Tensor,
        key: Tensor,
        epsilon: f64,
    },
}

impl QkNorm {
    /// With weights at `path`.
    pub(crate) fn weighted(mut path: Path<'_>, head_dim: i64, epsilon: f64) -> Result<Self> {
        let mut weight =
            |name| path.parameter(name, &[head_dim], ParameterKind::Vector, Init::Ones);
        Ok(Self::Weighted {
            query: weight("q_norm.weight")?,
            key: weight("k_norm.weight")?,
            epsilon,
        })
    }
}

/// Keys and values of the positions seen so far, `[1, K, capacity, d]`, written in place.
#[derive(Debug)]
pub(crate) struct LayerCache {
    key: Tensor,
    value: Tensor,
}

/// What all layers of a forward pass share.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) mask: Mask,
    pub(crate) angles: Option<Angles>,
    pub(crate) training: bool,
    /// The first position: how many the cache holds already.
    pub(crate) start: i64,
}

impl Attention {
    /// With its four projections at `path`.
    pub(crate) fn new(
        mut path: Path<'_>,
        (names, form): (AttentionNames, Form),
        config: AttentionConfig,
        qk_norm: QkNorm,
        (init_in, init_out): (Init, Init),
    ) -> Result<Self> {
        let AttentionConfig { width, n_heads, n_kv_heads, head_dim, bias, .. } = config;
        let rows = [n_heads * head_dim, n_kv_heads * head_dim, n_kv_heads * head_dim];
        let parts: Vec<_> = names.parts.into_iter().zip(rows).collect();
        let qkv = Linear::stacked(path.child(""), form, names.qkv, width, &parts, bias, init_in)?;
        let out = Linear::new(path.child(names.out), form, (rows[0], width), bias, init_out)?;
        Ok(Self { qkv, out, qk_norm, config })
    }

    /// `[B, T, D]` to `[B, T, D]`.
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let heads = self.heads(&self.qkv.forward(input)?, pass)?; // [B, T, H or K, d]
        let [q, k, v] = heads.map(|part| part.transpose(1, 2));
        let (k, v) = match cache {
            Some(cache) => cache.extend(&k, &v, pass.start),
            None => (k, v),
        };
        let mask = match &pass.mask {
            Mask::Additive(mask) => Some(mask),
            Mask::Open | Mask::Causal => None,
        };
        // A single query sees all keys there are.
        let causal = matches!(pass.mask, Mask::Causal) && q.size()[2] > 1;
        let grouped = self.config.n_kv_heads != self.config.n_heads;
        let dropout = if pass.training { self.config.dropout } else { 0.0 };
        let seen = Tensor::scaled_dot_product_attention(
            &q,
            &k,
            &v,
            mask,
            dropout,
            causal,
            None::<f64>,
            grouped,
        ); // [B, H, T, d]
        self.out.forward(&seen.transpose(1, 2).flatten(2, 3))
    }

    /// `[B, T, (H + 2K) d]` to queries, keys and values, `[B, T, H or K, d]` each, normalised and
    /// rotated.
    fn heads(&self, qkv: &Tensor, pass: &Pass) -> Result<[Tensor; 3]> {
        let AttentionConfig { n_heads, n_kv_heads, head_dim, .. } = self.config;
        let (norm_epsilon, weights) = match &self.qk_norm {
            QkNorm::None => (None, None),
            QkNorm::Plain { epsilon } => (Some(*epsilon), None),
            QkNorm::Weighted { query, key, epsilon } => (Some(*epsilon), Some([query, key])),
        };
        let angles = pass.angles.as_ref().map(Angles::tables);
        if norm_epsilon.is_none() && angles.is_none() {
            let size = qkv.size();
            let qkv = qkv.view([size[0], size[1], n_heads + 2 * n_kv_heads, head_dim]);
            return Ok(three(qkv.split_with_sizes([n_heads, n_kv_heads, n_kv_heads], 2)));
        }
        let steps = HeadSteps { norm_epsilon, weights, angles };
        Ok(idiolect_torch::split_heads(qkv, (n_heads, n_kv_heads), steps)?)
    }
}

/// Exactly three tensors, as the split above gives.
fn three(parts: Vec<Tensor>) -> [Tensor; 3] {
    let mut parts = parts.into_iter();
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

impl LayerCache {
    /// Room for `capacity` positions.
    pub(crate) fn new(n_kv_heads: i64, head_dim: i64, capacity: i64, like: &Tensor) -> Self {
        let empty =
            || Tensor::empty([1, n_kv_heads, capacity, head_dim], (like.kind(), like.device()));
        Self { key: empty(), value: empty() }
    }

    /// Writes the new `[1, K, T, d]` at `start` and gives all up to them.
    fn extend(&mut self, key: &Tensor, value: &Tensor, start: i64) -> (Tensor, Tensor) {
        let length = key.size()[2];
        self.key.narrow(2, start, length).copy_(key);
        self.value.narrow(2, start, length).copy_(value);
        (self.key.narrow(2, 0, start + length), self.value.narrow(2, 0, start + length))
    }
}
