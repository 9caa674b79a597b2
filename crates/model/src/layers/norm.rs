//! Normalisation over the last dimension, `[.., D]` to `[.., D]`.

use crate::Result;
use crate::config::Norm as Form;
use crate::init::Init;
use crate::parameter::{ParameterKind, Path};
use tch::{Kind, Tensor};

/// `[.., D]` to `[.., D]`.
#[derive(Debug)]
pub(crate) enum Norm {
    /// Mean 0, variance 1, then weight and mostly a bias (Ba, Kiros, Hinton 2016).
    Layer { weight: Tensor, bias: Option<Tensor>, epsilon: f64 },
    /// Mean square 1, then a weight if there is one (Zhang, Sennrich 2019).
    Rms { weight: Option<Tensor>, epsilon: f64 },
    /// Mean square 1, then one more than the weight (Gemma).
    RmsOffset { weight: Tensor, epsilon: f64 },
}

impl Norm {
    pub(crate) fn new(mut path: Path<'_>, form: Form, width: i64, epsilon: f64) -> Result<Self> {
        let mut vector = |name, init| path.parameter(name, &[width], ParameterKind::Vector, init);
        Ok(match form {
            Form::LayerNorm => Self::Layer {
                weight: vector("weight", Init::Ones)?,
                bias: Some(vector("bias", Init::Zeros)?),
                epsilon,
            },
            Form::LayerNormUnbiased => {
                Self::Layer { weight: vector("weight", Init::Ones)?, bias: None, epsilon }
            }
            Form::RmsNormOffset => {
                Self::RmsOffset { weight: vector("weight", Init::Zeros)?, epsilon }
            }
            Form::RmsNorm => Self::Rms { weight: Some(vector("weight", Init::Ones)?), epsilon },
            Form::RmsNormPlain => Self::Rms { weight: None, epsilon },
        })
    }

    /// `[.., D]` to `[.., D]`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let kind = input.kind();
        Ok(match self {
            Self::Layer { weight, bias, epsilon } => {
                input.layer_norm(weight.size(), Some(weight), bias.as_ref(), *epsilon, false)
            }
            Self::Rms { weight, epsilon } => {
                idiolect_torch::rms_norm(input, weight.as_ref(), *epsilon)?
            }
            // In f32 throughout: `1 + weight` would lose most of a narrow weight.
            Self::RmsOffset { weight, epsilon } => {
                let weight = weight.to_kind(Kind::Float) + 1.0;
                let input = input.to_kind(Kind::Float);
                idiolect_torch::rms_norm(&input, Some(&weight), *epsilon)?.to_kind(kind)
            }
        })
    }
}
