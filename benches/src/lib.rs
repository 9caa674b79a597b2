//! What the benches' own sides share: a model folder and the name of a format in, a loaded model out.

use anyhow::{Result, bail};
use idiolect_model::tch::{Device, Kind};
use idiolect_model::{Model, Quantize};
use std::path::Path;

/// Loads a model on the CPU as `f32`, `bf16`, `int8` or `int4`.
pub fn load(path: &Path, format: &str) -> Result<Model> {
    let quantize = match format {
        "int8" => Quantize::Int8,
        "int4" => Quantize::Int4,
        "f32" => return Ok(Model::load(path, Device::Cpu, Some(Kind::Float))?),
        "bf16" => return Ok(Model::load(path, Device::Cpu, Some(Kind::BFloat16))?),
        _ => bail!("no format {format}: f32, bf16, int8 or int4"),
    };
    Ok(Model::load_packed(path, quantize)?)
}

/// The guide's examples are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/one-crate.md")]
struct OneCrate;
