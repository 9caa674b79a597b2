//! What `tch` leaves out of libtorch, as safe functions: in come tensors, out come tensors, guards and typed errors.

mod device;
mod error;
mod foreach;
mod generator;
mod glue;
mod guards;
mod layers;
mod loss;
mod memory;
mod optimizer;
mod runtime;

pub use device::{cuda_is_available, parse_device};
pub use error::{Result, TorchError, catch};
pub use foreach::{clip_grad_norm, grad_norm, scale_grads};
pub use generator::{generator_state, seed, set_generator_state};
pub use guards::{Autocast, NoGrad};
pub use layers::{embedding, linear, onednn_is_preferred, product};
pub use loss::linear_cross_entropy;
pub use memory::{peak_memory, reset_peak_memory, reuse_memory};
pub use optimizer::{AdamW, AdamWConfig, Muon, MuonConfig, Optimizer, OptimizerState};
pub use runtime::{
    bf16_is_fast, deterministic, libtorch_version, set_interop_threads, set_threads, threads,
};
pub use tch;
