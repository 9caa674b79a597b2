//! Optimizers over lists of parameters: gradients in, parameters changed in place, state that can be saved and loaded.

mod adamw;
mod muon;

pub use adamw::{AdamW, AdamWConfig};
pub use muon::{Muon, MuonConfig};

use crate::error::{Result, TorchError};
use tch::Tensor;

/// What a training loop asks of an optimizer.
pub trait Optimizer {
    /// One step with the gradients that are there; parameters without one stay as they are.
    fn step(&mut self, learning_rate: f64) -> Result<()>;
    /// Drops all gradients, so that the next backward pass makes them anew.
    fn zero_grad(&mut self);
    /// The whole state; the tensors are the optimizer's own, not copies.
    fn state(&self) -> Vec<OptimizerState>;
    /// Copies a whole state into the optimizer: the next steps are the same bits as those of the one it came from.
    fn load_state(&mut self, states: &[OptimizerState]) -> Result<()>;
}

/// One tensor of an optimizer's state.
#[derive(Debug)]
pub struct OptimizerState {
    /// Index of the parameter in the list that the optimizer was made with.
    pub parameter: usize,
    /// What it is: `exp_avg`, `exp_avg_sq`, `step` or `momentum`.
    pub name: String,
    /// The numbers.
    pub tensor: Tensor,
}

/// Buffers by name, each with a tensor a parameter.
type Buffers<'a> = [(&'static str, &'a [Tensor])];

fn state_of(buffers: &Buffers) -> Vec<OptimizerState> {
    let count = buffers.first().map_or(0, |(_, tensors)| tensors.len());
    let of = |parameter: usize| {
        buffers.iter().map(move |(name, tensors)| OptimizerState {
            parameter,
            name: (*name).to_owned(),
            tensor: tensors[parameter].shallow_clone(),
        })
    };
    (0..count).flat_map(of).collect()
}

/// Checks everything before anything is changed.
fn load_into(buffers: &Buffers, states: &[OptimizerState]) -> Result<()> {
    let expected: usize = buffers.iter().map(|(_, tensors)| tensors.len()).sum();
    if states.len() != expected {
        let got = states.len();
        return Err(TorchError::Argument(format!(
            "the state has {got} tensors, the optimizer {expected}"
        )));
    }
    let mut seen = std::collections::HashSet::new();
    let mut pairs = Vec::with_capacity(expected);
    for state in states {
        let (name, parameter) = (state.name.as_str(), state.parameter);
        let buffer = buffers.iter().find(|(known, _)| *known == name);
        let place = buffer.and_then(|(_, tensors)| tensors.get(parameter)).ok_or_else(|| {
            TorchError::Argument(format!("the optimizer has no {name:?} for parameter {parameter}"))
        })?;
        if place.size() != state.tensor.size() || place.kind() != state.tensor.kind() {
            return Err(TorchError::Argument(format!(
                "{name} of parameter {parameter} is {:?} {:?}, expected {:?} {:?}",
                state.tensor.kind(),
                state.tensor.size(),
                place.kind(),
                place.size()
            )));
        }
        if !seen.insert((name, parameter)) {
            return Err(TorchError::Argument(format!(
                "{name} of parameter {parameter} is there twice"
            )));
        }
        pairs.push((place, &state.tensor));
    }
    let _no_grad = crate::NoGrad::new();
    for (place, tensor) in pairs {
        place.shallow_clone().f_copy_(tensor)?;
    }
    Ok(())
}

/// What was computed from other tensors never gets a gradient of its own, and would silently stay as it is.
fn check_leaves(parameters: &[Tensor]) -> Result<()> {
    match parameters.iter().position(|parameter| !parameter.is_leaf()) {
        Some(place) => Err(TorchError::Argument(format!(
            "parameter {place} was computed from other tensors; an optimizer steps leaves"
        ))),
        None => Ok(()),
    }
}
