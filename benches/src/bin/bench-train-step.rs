//! Our side of `cargo xtask bench train-step`: a shape and a dtype in, one JSON line with the time and memory of a step out.
//!
//! The formula is that of `benches/peers/train_step.py`: forward, cross-entropy, backward, clipping to norm 1, fused AdamW, reading the loss.
#![allow(clippy::print_stdout)] // The line is the result.

use anyhow::{Context, Result, bail};
use idiolect_model::{GptConfig, Inputs, Model, ModelConfig};
use idiolect_torch::tch::{Device, Kind, Tensor};
use idiolect_torch::{AdamW, AdamWConfig, Autocast, Optimizer, peak_memory};
use std::time::Instant;

const WARMUP: usize = 3;

struct Shape {
    config: GptConfig,
    batch: i64,
    steps: usize,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [shape, dtype] = words.as_slice() else {
        bail!("usage: bench-train-step tiny|small|gpt2 f32|bf16")
    };
    let shape_of = shape_named(shape)?;
    let narrow = dtype == "bf16";
    idiolect_torch::reuse_memory();
    idiolect_torch::set_threads(std::thread::available_parallelism()?.get() as i32);
    let loaded = Tensor::zeros([1], (Kind::Float, Device::Cpu)).double_value(&[0]) as u64
        + peak_memory(Device::Cpu);

    let Shape { config, batch, steps } = shape_of;
    let model = Model::new(&ModelConfig::Gpt(config.clone()), 0, Device::Cpu)?;
    let parameters = model.parameters().iter().map(|p| p.tensor.shallow_clone()).collect();
    let constants = AdamWConfig { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
    let mut optimizer = AdamW::new(parameters, constants)?;
    let (columns, vocab) = (config.context_length as i64, config.vocab_size as i64);
    let random = || Tensor::randint(vocab, [batch, columns], (Kind::Int64, Device::Cpu));
    let (inputs, labels) = (Inputs::new(random()), random());
    let tokens = (batch * columns) as f64;

    let mut times = Vec::new();
    for step in 0..steps + WARMUP {
        let start = Instant::now();
        let autocast = narrow.then(|| Autocast::new(Device::Cpu, Kind::BFloat16)).transpose()?;
        let loss = model.loss(&inputs, &labels)? / tokens;
        drop(autocast);
        loss.f_backward()?;
        let _norm = optimizer.step_clipped(1e-3, 1.0)?;
        optimizer.zero_grad();
        let loss = loss.double_value(&[]);
        anyhow::ensure!(loss.is_finite(), "the loss is {loss}");
        if step >= WARMUP {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).context("no step was timed")?;
    let peak = (peak_memory(Device::Cpu) - loaded) >> 20;
    let flops = 3.0 * ModelConfig::Gpt(config.clone()).flops_per_token(columns as usize) * tokens;
    let line = serde_json::json!({
        "side": "idiolect", "shape": shape, "dtype": dtype, "ms_per_step": median * 1e3,
        "tokens_per_s": (tokens / median).round(), "peak_mib": peak, "gflops": (flops / median / 1e9).round(),
    });
    println!("{line}");
    Ok(())
}

fn shape_named(name: &str) -> Result<Shape> {
    let (n_layers, n_heads, hidden_size, context_length, batch, vocab_size, steps) = match name {
        "tiny" => (4, 4, 128, 64, 12, 65, 60),
        "small" => (6, 6, 384, 256, 4, 65, 10),
        "gpt2" => (12, 12, 768, 256, 2, 50304, 5),
        _ => bail!("no shape {name}: tiny, small or gpt2"),
    };
    let config = GptConfig {
        n_layers,
        n_heads,
        hidden_size,
        context_length,
        vocab_size,
        ..GptConfig::gpt2()
    };
    Ok(Shape { config, batch, steps })
}
