//! Learned tensors: their names, what an optimizer must know of them, and how a layer makes them.

use crate::Result;
use crate::init::{self, Init};
use std::fmt::Display;
use tch::{Device, Kind, Tensor};

/// What an optimizer must know of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// A hidden 2-d weight: decayed, and Muon's to step.
    Matrix,
    /// A table of ids, positions or segments; the output head too where it is the table of ids.
    Embedding,
    /// The output head, where it is a matrix of its own.
    Head,
    /// A norm's weight or a bias: not decayed.
    Vector,
}

/// A learned tensor. The tensor shares its memory with the model's.
#[derive(Debug)]
pub struct Parameter {
    /// Unique in the model, and stable: optimizer states are named by it.
    pub name: String,
    /// The tensor itself: a leaf with gradient.
    pub tensor: Tensor,
    /// What an optimizer must know.
    pub kind: ParameterKind,
    /// Rows of the independent matrices stacked in this one (`[q, k, v]`, `[gate, up]`): Muon may
    /// treat each for itself. One entry for everything else. Their sum is the number of rows.
    pub sections: Vec<i64>,
    /// How it lies in a file of weights.
    pub(crate) stored: Stored,
}

/// How a parameter lies in a file of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Under its own name.
    Same,
    /// Under its own name, `[in, out]` (GPT-2's `Conv1D`).
    Transposed,
    /// Each section under a name of its own.
    Sections(Vec<String>),
}

/// Where the values of new parameters come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    /// The published initialisation.
    Random { seed: u64 },
    /// Nowhere: they are read from a file afterwards.
    Later,
}

/// Makes parameters and collects them in order.
#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) fill: Fill,
    pub(crate) device: Device,
    pub(crate) kind: Kind,
}

impl Builder {
    pub(crate) fn root(&mut self) -> Path<'_> {
        Path { builder: self, prefix: String::new() }
    }
}

/// A place in the tree of names, where a layer makes its parameters.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    builder: &'a mut Builder,
    prefix: String,
}

impl Path<'_> {
    /// The place `name` below this one; an empty name stays here.
    pub(crate) fn child(&mut self, name: impl Display) -> Path<'_> {
        let prefix = self.full(&name.to_string());
        Path { builder: self.builder, prefix }
    }

    /// A parameter of its own name.
    pub(crate) fn parameter(
        &mut self,
        name: &str,
        shape: &[i64],
        kind: ParameterKind,
        init: Init,
    ) -> Result<Tensor> {
        self.add(name, shape, kind, init, vec![shape[0]], Stored::Same)
    }

    /// A `[out, in]` matrix that files hold as `[in, out]`.
    pub(crate) fn transposed(
        &mut self,
        name: &str,
        shape: &[i64],
        init: Init,
        sections: Vec<i64>,
    ) -> Result<Tensor> {
        self.add(name, shape, ParameterKind::Matrix, init, sections, Stored::Transposed)
    }

    /// A matrix or its bias, of several stacked ones with `sections` rows each, under one name.
    pub(crate) fn sectioned(
        &mut self,
        name: &str,
        shape: &[i64],
        kind: ParameterKind,
        init: Init,
        sections: Vec<i64>,
    ) -> Result<Tensor> {
        self.add(name, shape, kind, init, sections, Stored::Same)
    }

    /// Parameters that lie side by side in memory, and in files under `parts`: (name, rows).
    pub(crate) fn stacked(
        &mut self,
        name: &str,
        parts: &[(String, i64)],
        columns: Option<i64>,
        kind: ParameterKind,
        init: Init,
    ) -> Result<Tensor> {
        let sections: Vec<i64> = parts.iter().map(|part| part.1).collect();
        let names = parts.iter().map(|part| self.full(&part.0)).collect();
        let shape: Vec<i64> = std::iter::once(sections.iter().sum()).chain(columns).collect();
        self.add(name, &shape, kind, init, sections, Stored::Sections(names))
    }

    fn full(&self, name: &str) -> String {
        match (self.prefix.is_empty(), name.is_empty()) {
            (true, _) => name.to_string(),
            (_, true) => self.prefix.clone(),
            _ => format!("{}.{name}", self.prefix),
        }
    }

    fn add(
        &mut self,
        name: &str,
        shape: &[i64],
        kind: ParameterKind,
        init: Init,
        sections: Vec<i64>,
        stored: Stored,
    ) -> Result<Tensor> {
        let (name, builder) = (self.full(name), &mut *self.builder);
        let options = (builder.kind, builder.device);
        let tensor = match builder.fill {
            Fill::Later => Tensor::f_empty(shape, options),
            Fill::Random { seed } => {
                let count = shape.iter().product::<i64>() as usize;
                let values = init::values(init, seed, &name, count);
                Tensor::f_from_slice(&values)
                    .and_then(|flat| flat.f_reshape(shape))
                    .and_then(|tensor| tensor.f_to_device(options.1))
                    .and_then(|tensor| tensor.f_to_kind(options.0))
            }
        };
        let tensor = tensor
            .and_then(|tensor| tensor.f_set_requires_grad(true))
            .map_err(idiolect_torch::TorchError::from)?;
        let shared = tensor.shallow_clone();
        builder.parameters.push(Parameter { name, tensor, kind, sections, stored });
        Ok(shared)
    }
}
