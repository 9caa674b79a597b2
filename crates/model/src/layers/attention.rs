//! Self-attention with grouped key-value heads, `[B, T, D]` to `[B, T, D]` (Vaswani et al. 2017; Ainslie et al. 2023).

use crate::Result;
use crate::init::Init;
use crate::layers::{Angles, Form, Linear, Mask};
use crate::parameter::{ParameterKind, Path};
use idiolect_torch::HeadSteps;
use tch::{Device, Kind, Tensor};

/// `[B, T, D]` to `[B, T, D]`.
#[derive(Debug)]
pub(crate) struct Attention {
    pub(super) qkv: Linear,
    pub(super) out: Linear,
    pub(super) qk_norm: QkNorm,
    pub(super) config: AttentionConfig,
    /// Each head's queries, keys and values lie together, `[B, T, H, 3, d]` (GPT-NeoX).
    pub(super) per_head: bool,
}

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionConfig {
    pub(crate) width: i64,
    pub(crate) n_heads: i64,
    pub(crate) n_kv_heads: i64,
    pub(crate) head_dim: i64,
    /// Of queries, keys and values.
    pub(crate) bias: bool,
    pub(crate) out_bias: bool,
    /// Scores are multiplied by this; by `1 / sqrt(d)` when absent.
    pub(crate) scale: Option<f64>,
    /// Scores become `softcap * tanh(scores / softcap)`.
    pub(crate) softcap: Option<f64>,
    /// Sees a window, where the model has one.
    pub(crate) local: bool,
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
        /// Multiplies by one more than the weight (Gemma).
        offset: bool,
        epsilon: f64,
    },
}

impl QkNorm {
    /// With weights at `path`.
    pub(crate) fn weighted(
        mut path: Path<'_>,
        head_dim: i64,
        offset: bool,
        epsilon: f64,
    ) -> Result<Self> {
        let init = if offset { Init::Zeros } else { Init::Ones };
        let mut weight = |name| path.parameter(name, &[head_dim], ParameterKind::Vector, init);
        let (query, key) = (weight("q_norm.weight")?, weight("k_norm.weight")?);
        Ok(Self::Weighted { query, key, offset, epsilon })
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
    /// Of the layers that see all.
    pub(crate) whole: Sight,
    /// Of those that see a window, where that differs.
    pub(crate) local: Option<Sight>,
    pub(crate) training: bool,
    /// The first position: how many the cache holds already.
    pub(crate) start: i64,
}

/// What a layer sees, and where.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) mask: Mask,
    pub(crate) angles: Option<Angles>,
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
        let AttentionConfig { width, n_heads, n_kv_heads, head_dim, bias, out_bias, .. } = config;
        let rows = [n_heads * head_dim, n_kv_heads * head_dim, n_kv_heads * head_dim];
        let parts: Vec<_> = names.parts.into_iter().zip(rows).collect();
        let per_head = form == Form::PerHead;
        let qkv = match per_head {
            true => {
                let sizes = (width, rows.iter().sum());
                Linear::new(path.child(names.qkv), form, sizes, bias, init_in)?
            }
            false => {
                Linear::stacked(path.child(""), form, names.qkv, width, &parts, bias, init_in)?
            }
        };
        let out = Linear::new(path.child(names.out), form, (rows[0], width), out_bias, init_out)?;
        Ok(Self { qkv, out, qk_norm, config, per_head })
    }

    /// `[B, T, D]` to `[B, T, D]`.
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let sight = match &pass.local {
            Some(local) if self.config.local => local,
            _ => &pass.whole,
        };
        let heads = self.heads(&self.qkv.forward(input)?, sight.angles.as_ref())?; // [B, T, H or K, d]
        let [q, k, v] = heads.map(|part| part.transpose(1, 2));
        let (k, v) = match cache {
            Some(cache) => cache.extend(&k, &v, pass.start),
            None => (k, v),
        };
        let dropout = if pass.training { self.config.dropout } else { 0.0 };
        let seen = self.attend([&q, &k, &v], &sight.mask, dropout); // [B, H, T, d]
        self.out.forward(&seen.transpose(1, 2).flatten(2, 3))
    }

    /// Queries `[B, H, T, d]`, keys and values `[B, K, S, d]` to `[B, H, T, d]`.
    fn attend(&self, parts: [&Tensor; 3], mask: &Mask, dropout: f64) -> Tensor {
        let Mask::Each(sequences) = mask else {
            return match self.config.softcap {
                Some(cap) => self.capped(parts, mask, cap, dropout),
                None => self.plain(parts, mask, dropout),
            };
        };
        let mut start = 0;
        let one = |(length, mask): &(i64, Mask)| {
            let [q, k, v] = parts.map(|part| part.narrow(2, start, *length));
            start += length;
            self.attend([&q, &k, &v], mask, dropout)
        };
        Tensor::cat(&sequences.iter().map(one).collect::<Vec<_>>(), 2)
    }

    /// By libtorch's fused kernels: queries `[B, H, T, d]`, keys and values `[B, K, S, d]`.
    fn plain(&self, [q, k, v]: [&Tensor; 3], mask: &Mask, dropout: f64) -> Tensor {
        let additive = match mask {
            Mask::Additive(mask) => Some(mask),
            _ => None,
        };
        // A single query sees all keys there are.
        let causal = matches!(mask, Mask::Causal) && q.size()[2] > 1;
        let grouped = self.config.n_kv_heads != self.config.n_heads;
        let scale = self.config.scale;
        Tensor::scaled_dot_product_attention(q, k, v, additive, dropout, causal, scale, grouped)
    }

    /// By plain products, since no kernel bends scores.
    fn capped(&self, [q, k, v]: [&Tensor; 3], mask: &Mask, cap: f64, dropout: f64) -> Tensor {
        let AttentionConfig { n_heads, n_kv_heads, head_dim, .. } = self.config;
        let size = q.size();
        let scale = self.config.scale.unwrap_or((head_dim as f64).powf(-0.5));
        let grouped =
            (q * scale).reshape([size[0], n_kv_heads, n_heads / n_kv_heads, size[2], head_dim]);
        let scores = grouped.matmul(&k.unsqueeze(2).transpose(3, 4)); // [B, K, H / K, T, S]
        let scores = (scores / cap).tanh() * cap;
        let scores = match mask {
            Mask::Causal if size[2] > 1 => {
                let all = Tensor::ones([size[2], size[2]], (Kind::Bool, q.device()));
                scores.masked_fill(&all.triu(1), f64::NEG_INFINITY)
            }
            Mask::Additive(mask) => scores + mask.unsqueeze(2),
            _ => scores,
        };
        let shares = scores.softmax(-1, Kind::Float).to_kind(v.kind());
        let shares = if dropout > 0.0 { shares.dropout(dropout, true) } else { shares };
        shares.matmul(&v.unsqueeze(2)).reshape(size)
    }

    /// `[B, T, (H + 2K) d]` to queries, keys and values, `[B, T, H or K, d]` each, normalised and
    /// rotated.
    fn heads(&self, qkv: &Tensor, angles: Option<&Angles>) -> Result<[Tensor; 3]> {
        let AttentionConfig { n_heads, n_kv_heads, head_dim, .. } = self.config;
        let (norm_epsilon, weights) = match &self.qk_norm {
            QkNorm::None => (None, None),
            QkNorm::Plain { epsilon } => (Some(*epsilon), None),
            QkNorm::Weighted { query, key, offset: false, epsilon } => {
                (Some(*epsilon), Some([query.shallow_clone(), key.shallow_clone()]))
            }
            QkNorm::Weighted { query, key, offset: true, epsilon } => {
                let one_more = |weight: &Tensor| weight.to_kind(Kind::Float) + 1.0;
                (Some(*epsilon), Some([one_more(query), one_more(key)]))
            }
        };
        // The fused kernel turns whole heads of queries, keys and values in this order.
        let in_parts = angles.filter(|angles| self.per_head || angles.width() != head_dim);
        let angles = angles.filter(|_| in_parts.is_none());
        let heads = if norm_epsilon.is_none() && angles.is_none() {
            let size = qkv.size();
            if self.per_head {
                let heads = qkv.view([size[0], size[1], n_heads, 3, head_dim]);
                three(heads.unbind(3))
            } else {
                let heads = qkv.view([size[0], size[1], n_heads + 2 * n_kv_heads, head_dim]);
                three(heads.split_with_sizes([n_heads, n_kv_heads, n_kv_heads], 2))
            }
        } else {
            let weights = weights.as_ref().map(|pair| [&pair[0], &pair[1]]);
            let steps = HeadSteps { norm_epsilon, weights, angles: angles.map(Angles::tables) };
            idiolect_torch::split_heads(qkv, (n_heads, n_kv_heads), steps)?
        };
        Ok(match in_parts {
            None => heads,
            Some(angles) => {
                let [q, k, v] = heads;
                [angles.rotate_part(&q), angles.rotate_part(&k), v]
            }
        })
    }
}

/// Exactly three tensors, as the split above gives.
fn three(parts: Vec<Tensor>) -> [Tensor; 3] {
    let mut parts = parts.into_iter();
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

impl LayerCache {
    /// Room for `[B, K, capacity, d]`.
    pub(crate) fn new(size: [i64; 4], options: (Kind, Device)) -> Self {
        let empty = || Tensor::empty(size, options);
        Self { key: empty(), value: empty() }
    }

    pub(crate) fn copy(&self) -> Self {
        Self { key: self.key.copy(), value: self.value.copy() }
    }

    pub(super) fn key(&self) -> &Tensor {
        &self.key
    }

    pub(super) fn value(&self) -> &Tensor {
        &self.value
    }

    /// Writes the new `[1, K, T, d]` at `start` and gives all up to them.
    fn extend(&mut self, key: &Tensor, value: &Tensor, start: i64) -> (Tensor, Tensor) {
        let length = key.size()[2];
        self.key.narrow(2, start, length).copy_(key);
        self.value.narrow(2, start, length).copy_(value);
        (self.key.narrow(2, 0, start + length), self.value.narrow(2, 0, start + length))
    }
}
