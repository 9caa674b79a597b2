//! Muon (Keller Jordan 2024, <https://kellerjordan.github.io/posts/muon/>): the momentum of a matrix, made orthogonal.

use serde::{Deserialize, Serialize};

use super::{Optimizer, OptimizerState, check_leaves, load_into, state_of};
use crate::error::{Result, TorchError};
use crate::glue;
use tch::Tensor;

/// The constants of Muon; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonConfig {
    /// How slowly the average of the gradients moves.
    pub momentum: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// The share of a weight that a step of rate 1 takes off.
    pub weight_decay: f64,
    /// Iterations of the quintic; 5 take every singular value to about 0.7 to 1.2.
    pub newton_schulz_steps: i64,
    /// Whether the iteration runs in bf16: worth it where that is fast, see [`bf16_is_fast`](crate::bf16_is_fast).
    pub bf16: bool,
}

impl Default for MuonConfig {
    fn default() -> MuonConfig {
        MuonConfig {
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.0,
            newton_schulz_steps: 5,
            bf16: false,
        }
    }
}

/// Muon over a list of matrices of one device; where one holds several that are independent (queries, keys and values
/// side by side), each is made orthogonal by itself. Tables, norms and biases belong to [`AdamW`](crate::AdamW).
#[derive(Debug)]
pub struct Muon {
    config: MuonConfig,
    parameters: Vec<Tensor>,
    momenta: Vec<Tensor>,
    /// The rows of each matrix in a parameter.
    sections: Vec<Vec<i64>>,
}

impl Muon {
    /// With momenta of zero. Every parameter must be a leaf and a matrix; `sections` gives for each the rows of the
    /// matrices stacked in it, from the top: `vec![96, 96, 96]`, or the number of its rows alone.
    pub fn new(
        parameters: Vec<Tensor>,
        sections: Vec<Vec<i64>>,
        config: MuonConfig,
    ) -> Result<Muon> {
        check_leaves(&parameters)?;
        if let Some(other) = parameters.iter().find(|parameter| parameter.dim() != 2) {
            return Err(TorchError::Argument(format!(
                "Muon is for matrices, a parameter has the shape {:?}",
                other.size()
            )));
        }
        check_sections(&parameters, &sections)?;
        let _no_grad = crate::NoGrad::new();
        let momenta = parameters.iter().map(Tensor::zeros_like).collect();
        Ok(Muon { config, parameters, momenta, sections })
    }
}

fn check_sections(parameters: &[Tensor], sections: &[Vec<i64>]) -> Result<()> {
    if parameters.len() != sections.len() {
        let (got, expected) = (sections.len(), parameters.len());
        let text = format!("{got} lists of sections for {expected} parameters");
        return Err(TorchError::Argument(text));
    }
    for (parameter, rows) in parameters.iter().zip(sections) {
        if rows.iter().any(|&rows| rows < 1) || rows.iter().sum::<i64>() != parameter.size()[0] {
            let text = format!("sections {rows:?} do not fit a shape of {:?}", parameter.size());
            return Err(TorchError::Argument(text));
        }
    }
    Ok(())
}

impl Optimizer for Muon {
    fn step(&mut self, learning_rate: f64) -> Result<()> {
        let Muon { config, parameters, momenta, sections } = self;
        glue::muon(parameters, momenta, sections, learning_rate, config)
    }

    fn zero_grad(&mut self) {
        // Only drops references; there is nothing in it that can fail.
        let _ = glue::zero_grad(&self.parameters);
    }

    fn state(&self) -> Vec<OptimizerState> {
        state_of(&[("momentum", &self.momenta)])
    }

    fn load_state(&mut self, states: &[OptimizerState]) -> Result<()> {
        load_into(&[("momentum", &self.momenta)], states)
    }
}
