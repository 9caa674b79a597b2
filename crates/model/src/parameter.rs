//! A learned tensor with its name and what an optimizer must know of it.

use tch::Tensor;

/// What an optimizer must know of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// A hidden 2-d weight: decayed, and Muon's to step.
    Matrix,
    /// A table of ids, positions or segments, or the output head.
    Embedding,
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
}
