//! Each layer, mask and position encoding, once.
//!
//! Shapes: B batch, T time, S keys seen, H query heads, K key-value heads, d head width, D width.

mod attention;
mod block;
mod embedding;
mod fused;
mod linear;
mod mask;
mod mlp;
mod norm;
mod rotary;
mod unpadded;
mod weight;

pub(crate) use attention::{
    Attention, AttentionConfig, AttentionNames, LayerCache, Pass, QkNorm, Sight,
};
pub(crate) use block::{Block, BlockConfig, BlockInits, BlockNames, Wiring, drop};
pub(crate) use embedding::Embedding;
pub(crate) use fused::Fused;
pub(crate) use linear::{Form, Linear};
pub(crate) use mask::{Mask, View};
pub(crate) use mlp::{Mlp, MlpNames, activate};
pub(crate) use norm::Norm;
pub(crate) use rotary::{Angles, Rotary, RotaryConfig, Turn};
pub(crate) use unpadded::Unpadded;
pub(crate) use weight::Weight;
