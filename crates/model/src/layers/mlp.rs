//! The half of a block that works on each position for itself, `[.., D]` to `[.., D]`.

use crate::Result;
use crate::config::Mlp as Shape;
use crate::init::Init;
use crate::layers::{Form, Linear};
use crate::parameter::Path;
use tch::Tensor;

/// `[.., D]` to `[.., D]` by way of a wider one.
#[derive(Debug)]
pub(crate) struct Mlp {
    /// Of a gated one, the gate's rows first.
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) shape: Shape,
}

/// What the layers are called in files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MlpNames {
    /// Only gated MLPs have one.
    pub(crate) gate: &'static str,
    /// What both are called where they lie under one name.
    pub(crate) gate_up: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
}

impl Mlp {
    pub(crate) fn new(
        mut path: Path<'_>,
        (names, form): (MlpNames, Form),
        shape: Shape,
        (width, inner): (i64, i64),
        bias: bool,
        (init_up, init_down): (Init, Init),
    ) -> Result<Self> {
        let up = if shape.is_gated() {
            let parts = [(names.gate, inner), (names.up, inner)];
            Linear::stacked(path.child(""), form, names.gate_up, width, &parts, bias, init_up)?
        } else {
            Linear::new(path.child(names.up), form, (width, inner), bias, init_up)?
        };
        let down = Linear::new(path.child(names.down), form, (inner, width), bias, init_down)?;
        Ok(Self { up, down, shape })
    }

    /// `[.., D]` to `[.., D]`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let inner = self.up.forward(input)?;
        self.down.forward(&activate(self.shape, &inner)?)
    }
}

/// `[.., F]` to `[.., F]`, or `[.., 2F]` to `[.., F]` where the shape is gated.
pub(crate) fn activate(shape: Shape, inner: &Tensor) -> Result<Tensor> {
    let gated = |act: fn(&Tensor) -> Tensor| {
        let halves = inner.chunk(2, -1);
        act(&halves[0]) * &halves[1]
    };
    Ok(match shape {
        Shape::Gelu => inner.gelu("none"),
        Shape::GeluTanh => idiolect_torch::gelu(inner)?,
        Shape::SquaredRelu => idiolect_torch::squared_relu(inner)?,
        Shape::GatedSilu => gated(Tensor::silu),
        Shape::GatedGelu => gated(|gate| gate.gelu("none")),
        Shape::GatedGeluTanh => gated(|gate| gate.gelu("tanh")),
    })
}
