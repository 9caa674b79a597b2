//! What `tch` leaves out of libtorch, as safe functions: in come tensors, out come tensors, guards and typed errors.
//!
//! ```text
//! ids -> embedding -> linear, gelu, ... -> linear_cross_entropy -> backward -> AdamW / Muon
//! ids -> PackedMatrix::rows -> Decoder::forward -> PackedMatrix::linear -> largest        (inference on the CPU)
//!            \_________ Autocast, NoGrad, catch, seed, set_threads, reuse_memory ________/
//! ```
//!
//! The only crate of the workspace with `unsafe` and C++. One step of training a head:
//!
//! ```
//! use idiolect_torch::tch::{Device, Kind, Tensor};
//! use idiolect_torch::{AdamW, AdamWConfig, Optimizer, catch, linear_cross_entropy};
//!
//! let weight = Tensor::zeros([3, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
//! let mut optimizer = AdamW::new(vec![weight.shallow_clone()], AdamWConfig::default())?;
//! let hidden = Tensor::eye(4, (Kind::Float, Device::Cpu));
//! let labels = Tensor::from_slice(&[0i64, 1, 2, -100]);
//! let mut losses = Vec::new();
//! for _ in 0..20 {
//!     let loss = linear_cross_entropy(&hidden, &weight, &labels, None)?;
//!     catch(|| loss.backward())?;
//!     let _norm = optimizer.step_clipped(0.1, 1.0)?;
//!     optimizer.zero_grad();
//!     losses.push(loss.double_value(&[]));
//! }
//! assert!(losses[19] < 0.2 * losses[0]);
//! # Ok::<(), idiolect_torch::TorchError>(())
//! ```

mod device;
mod error;
mod foreach;
mod generator;
mod glue;
mod guards;
mod inference;
mod layers;
mod loss;
mod memory;
mod optimizer;
mod processor;
mod runtime;

pub use device::{cuda_is_available, parse_device};
pub use error::{Result, TorchError, catch};
pub use foreach::{clip_grad_norm, grad_norm, scale_grads};
pub use generator::{generator_state, seed, set_generator_state};
pub use guards::{Autocast, NoGrad};
pub use inference::{
    BlockFormat, CallCache, Decoder, DecoderLayer, DecoderSizes, Gate, Matrix, PackedMatrix,
    largest, packable, products_use, use_products,
};
pub use layers::{
    HeadSteps, embedding, gelu, linear, onednn_is_preferred, product, rms_norm, split_heads,
    squared_relu,
};
pub use loss::linear_cross_entropy;
pub use memory::{peak_memory, release_memory, reset_peak_memory, reuse_memory};
pub use optimizer::{AdamW, AdamWConfig, Muon, MuonConfig, Optimizer, OptimizerState};
pub use processor::{bf16_is_fast, processor_cores, processor_features, processor_name};
pub use runtime::{deterministic, libtorch_version, set_interop_threads, set_threads, threads};
pub use tch;
