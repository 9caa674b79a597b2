//! One layer of a transformer, `[B, T, D]` to `[B, T, D]`: attention and an MLP, their norms, and how they are wired to the residual stream.

use crate::Result;
use crate::config::{Mlp as MlpShape, Norm as NormForm};
use crate::init::Init;
use crate::layers::{
    Attention, AttentionConfig, AttentionNames, Form, LayerCache, Mlp, MlpNames, Norm, Pass,
    QkNorm, Weight,
};
use crate::parameter::Path;
use tch::Tensor;

/// Attention, then an MLP, each beside a residual connection.
#[derive(Debug)]
pub(crate) struct Block {
    pub(super) wiring: Wiring,
    pub(super) attention: Attention,
    pub(super) mlp: Mlp,
    pub(super) norms: Norms,
    dropout: f64,
}

/// Where the norms are and what the MLP reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// Norms before each half; the first block may do without its first (ModernBERT).
    Pre { first: bool },
    /// Norms before and after each half (Gemma 2).
    Sandwich,
    /// Norms before both halves, which read the same input (GPT-NeoX).
    Parallel,
    /// Norms of each half's sum with its input (Vaswani et al. 2017).
    Post,
}

#[derive(Debug)]
pub(super) struct Norms {
    pub(super) attention: Option<Norm>,
    pub(super) attention_after: Option<Norm>,
    pub(super) mlp: Norm,
    pub(super) mlp_after: Option<Norm>,
}

/// What a block is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockConfig {
    pub(crate) wiring: Wiring,
    pub(crate) attention: AttentionConfig,
    pub(crate) qk_norm: bool,
    pub(crate) norm: NormForm,
    pub(crate) norm_epsilon: f64,
    pub(crate) mlp: MlpShape,
    /// Width inside the MLP.
    pub(crate) inner: i64,
    pub(crate) mlp_bias: bool,
    /// Of each half's output.
    pub(crate) dropout: f64,
}

/// What Transformers calls the parts of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockNames {
    pub(crate) norm_attention: &'static str,
    /// Only where there are norms after each half as well.
    pub(crate) norm_attention_after: &'static str,
    pub(crate) attention: &'static str,
    pub(crate) projections: AttentionNames,
    pub(crate) norm_mlp: &'static str,
    /// Only where there are norms after each half as well.
    pub(crate) norm_mlp_after: &'static str,
    pub(crate) mlp: &'static str,
    pub(crate) layers: MlpNames,
    pub(crate) form: Form,
}

/// The starting values of a block's matrices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockInits {
    pub(crate) attention_in: Init,
    pub(crate) mlp_in: Init,
    /// Of the layers that end in the residual stream.
    pub(crate) out: Init,
}

impl Block {
    pub(crate) fn new(
        mut path: Path<'_>,
        config: &BlockConfig,
        names: &BlockNames,
        inits: BlockInits,
    ) -> Result<Self> {
        let BlockConfig { wiring, norm: form, norm_epsilon: epsilon, .. } = *config;
        let width = config.attention.width;
        let (post, sandwich) = (wiring == Wiring::Post, wiring == Wiring::Sandwich);
        let norm = |path: &mut Path<'_>, name, wanted: bool| {
            wanted.then(|| Norm::new(path.child(name), form, width, epsilon)).transpose()
        };
        let first = wiring != Wiring::Pre { first: false } && !post;
        let before = norm(&mut path, names.norm_attention, first)?;
        let qk_norm = match (config.qk_norm, form) {
            (false, _) => QkNorm::None,
            (true, NormForm::RmsNormPlain) => QkNorm::Plain { epsilon },
            (true, form) => {
                let offset = form == NormForm::RmsNormOffset;
                let head_dim = config.attention.head_dim;
                QkNorm::weighted(path.child(names.attention), head_dim, offset, epsilon)?
            }
        };
        let place = (names.projections, names.form);
        let path_attention = path.child(names.attention);
        let matrices = (inits.attention_in, inits.out);
        let attention = Attention::new(path_attention, place, config.attention, qk_norm, matrices)?;
        let after = norm(&mut path, names.norm_attention, post)?;
        let attention_after = norm(&mut path, names.norm_attention_after, sandwich)?;
        let mlp_before = norm(&mut path, names.norm_mlp, !post)?;
        let (place, sizes) = ((names.layers, names.form), (width, config.inner));
        let matrices = (inits.mlp_in, inits.out);
        let mlp =
            Mlp::new(path.child(names.mlp), place, config.mlp, sizes, config.mlp_bias, matrices)?;
        let mlp_norm = match mlp_before {
            Some(norm) => norm,
            None => Norm::new(path.child(names.norm_mlp), form, width, epsilon)?,
        };
        let mlp_after = norm(&mut path, names.norm_mlp_after, sandwich)?;
        let norms =
            Norms { attention: before.or(after), attention_after, mlp: mlp_norm, mlp_after };
        Ok(Self { wiring, attention, mlp, norms, dropout: config.dropout })
    }

    /// The four matrices.
    pub(crate) fn weights(&mut self) -> [&mut Weight; 4] {
        let (attention, mlp) = (&mut self.attention, &mut self.mlp);
        [&mut attention.qkv, &mut attention.out, &mut mlp.up, &mut mlp.down]
            .map(|linear| &mut linear.weight)
    }

    /// `[B, T, D]` to `[B, T, D]`.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let norms = &self.norms;
        let dropped = |x: Tensor| drop(x, self.dropout, pass.training);
        if self.wiring == Wiring::Post {
            let attended = dropped(self.attention.forward(&x, pass, cache)?);
            let x = maybe(&norms.attention, attended + x)?;
            let changed = dropped(self.mlp.forward(&x)?);
            return norms.mlp.forward(&(changed + x));
        }
        let attended = match &norms.attention {
            Some(norm) => self.attention.forward(&norm.forward(&x)?, pass, cache)?,
            None => self.attention.forward(&x, pass, cache)?,
        };
        let attended = dropped(maybe(&norms.attention_after, attended)?);
        if self.wiring == Wiring::Parallel {
            let changed = dropped(self.mlp.forward(&norms.mlp.forward(&x)?)?);
            return Ok(changed + attended + x);
        }
        let x = x + attended;
        let changed = self.mlp.forward(&norms.mlp.forward(&x)?)?;
        Ok(x + dropped(maybe(&norms.mlp_after, changed)?))
    }
}

/// The norm of it, where there is one.
fn maybe(norm: &Option<Norm>, x: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}

/// Dropout that costs nothing where it is off.
pub(crate) fn drop(x: Tensor, share: f64, training: bool) -> Tensor {
    if training && share > 0.0 { x.dropout(share, true) } else { x }
}
