//! AdamW (Loshchilov and Hutter 2019, algorithm 2) on libtorch's fused kernel: all parameters in one call.

use serde::{Deserialize, Serialize};

use super::{Optimizer, OptimizerState, check_leaves, load_into, state_of};
use crate::error::Result;
use crate::{foreach, glue};
use tch::{Kind, Tensor};

/// The constants of AdamW; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// How slowly the average of the gradients moves.
    pub beta1: f64,
    /// How slowly the average of their squares moves.
    pub beta2: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
    /// The share of a weight that a step of rate 1 takes off.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> AdamWConfig {
        AdamWConfig { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 }
    }
}

/// AdamW over a list of parameters of one device.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    parameters: Vec<Tensor>,
    averages: Vec<Tensor>,
    squares: Vec<Tensor>,
    /// How many steps each parameter took: 0-d f32, where the fused kernel wants them.
    steps: Vec<Tensor>,
}

impl AdamW {
    /// With averages of zero and no step taken. Every parameter must be a leaf.
    pub fn new(parameters: Vec<Tensor>, config: AdamWConfig) -> Result<AdamW> {
        check_leaves(&parameters)?;
        let _no_grad = crate::NoGrad::new();
        let zeros = || parameters.iter().map(Tensor::zeros_like).collect();
        let (averages, squares) = (zeros(), zeros());
        let step = |parameter: &Tensor| Tensor::zeros([], (Kind::Float, parameter.device()));
        let steps = parameters.iter().map(step).collect();
        Ok(AdamW { config, parameters, averages, squares, steps })
    }

    /// [`clip_grad_norm`](crate::clip_grad_norm) and a step in one pass over the gradients; gives the norm before.
    pub fn step_clipped(&mut self, learning_rate: f64, max_norm: f64) -> Result<Tensor> {
        let norm = foreach::grad_norm(&self.parameters)?;
        let divisor = foreach::clip_factor(&norm, max_norm).reciprocal();
        self.fused(learning_rate, Some(&divisor))?;
        Ok(norm)
    }

    fn fused(&mut self, learning_rate: f64, divisor: Option<&Tensor>) -> Result<()> {
        let AdamW { config, parameters, averages, squares, steps } = self;
        let tensors = glue::AdamWTensors { parameters, averages, squares, steps };
        glue::adamw(&tensors, learning_rate, config, divisor)
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, learning_rate: f64) -> Result<()> {
        self.fused(learning_rate, None)
    }

    fn zero_grad(&mut self) {
        // Only drops references; there is nothing in it that can fail.
        let _ = glue::zero_grad(&self.parameters);
    }

    fn state(&self) -> Vec<OptimizerState> {
        let buffers: [(&str, &[Tensor]); 3] =
            [("exp_avg", &self.averages), ("exp_avg_sq", &self.squares), ("step", &self.steps)];
        state_of(&buffers)
    }

    fn load_state(&mut self, states: &[OptimizerState]) -> Result<()> {
        let buffers: [(&'static str, &[Tensor]); 3] =
            [("exp_avg", &self.averages), ("exp_avg_sq", &self.squares), ("step", &self.steps)];
        load_into(&buffers, states)
    }
}
