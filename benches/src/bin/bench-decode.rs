//! Our side of `cargo xtask bench decode` and `prefill`: a model, a format and a batch in; one JSON line with tokens a second, time to the first token and memory out.
#![allow(clippy::print_stdout)] // The line is the result.

use anyhow::{Context, Result, bail, ensure};
use idiolect_benches::load;
use idiolect_model::tch::Device;
use idiolect_model::{GenerationConfig, Model, Prompt};
use idiolect_torch::peak_memory;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// "The theory of relativity states that" in SmolLM2's vocabulary, as the peers' side has it.
const PROMPT: [u32; 6] = [504, 3108, 282, 24581, 2496, 338];
const NEW_TOKENS: usize = 128;
const PREFILL: u32 = 512;

fn main() -> Result<()> {
    let begun = Instant::now();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [path, format, batch] = words.as_slice() else {
        bail!("usage: bench-decode MODEL f32|bf16|int8|int4 BATCH")
    };
    let batch: usize = batch.parse().context("BATCH is a number")?;
    idiolect_torch::reuse_memory();
    idiolect_torch::set_threads(2);
    let model = load(Path::new(path), format)?;
    let config = |count| GenerationConfig { max_new_tokens: count, ..Default::default() };
    let first = generate(&model, &PROMPT, &config(1))?;
    let first_token = begun.elapsed().as_secs_f64();
    ensure!(first.len() == 1, "nothing came");

    generate(&model, &PROMPT, &config(8))?;
    let decode = best(|| decode(&model, batch))?;
    let prompt: Vec<u32> = (0..PREFILL).map(|i| (i * 97 + 13) % 49_000).collect();
    generate(&model, &prompt, &config(1))?;
    let prefill = best(|| {
        let start = Instant::now();
        generate(&model, &prompt, &config(1))?;
        Ok(f64::from(PREFILL) / start.elapsed().as_secs_f64())
    })?;
    let line = serde_json::json!({
        "side": "idiolect", "format": format, "batch": batch,
        "decode_tokens_per_s": decode, "prefill_tokens_per_s": prefill,
        "first_token_s": first_token, "peak_mib": peak_memory(Device::Cpu) >> 20,
        "products": idiolect_torch::products_use(),
    });
    println!("{line}");
    Ok(())
}

fn generate(model: &Model, prompt: &[u32], config: &GenerationConfig) -> Result<Vec<u32>> {
    let answer = model.generate(prompt, config, None, &mut |_| ControlFlow::Continue(()))?;
    Ok(answer.ids)
}

/// So many prompts of different lengths together: tokens a second from the first ones on.
fn decode(model: &Model, batch: usize) -> Result<f64> {
    let long = PROMPT.repeat(batch);
    let prompts = (0..batch).map(|index| Prompt {
        ids: &long[..PROMPT.len() + index],
        mask: None,
        number: index as u64,
    });
    let config = GenerationConfig { max_new_tokens: NEW_TOKENS, ..Default::default() };
    let (mut count, mut start) = (0, Instant::now());
    model.generate_batch(prompts.collect(), &config, &mut |_, _| {
        count += 1;
        if count == batch {
            start = Instant::now();
        }
        ControlFlow::Continue(())
    })?;
    ensure!(count == batch * NEW_TOKENS, "{count} tokens came");
    Ok((count - batch) as f64 / start.elapsed().as_secs_f64())
}

/// The best of three.
fn best(mut run: impl FnMut() -> Result<f64>) -> Result<f64> {
    let rates = [run()?, run()?, run()?];
    Ok(rates.into_iter().fold(0.0, f64::max))
}
