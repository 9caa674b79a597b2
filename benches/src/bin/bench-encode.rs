//! Our side and the bare library's side of `cargo xtask bench encode`: a text and a tokenizer in, one JSON line with speeds out.
//!
//! `bench-encode train TEXT TOKENIZER` makes the vocabulary; `ours` and `bare` encode the whole text on one thread, once cold and
//! three times warm. `bare` is the library's entry that allocates least (`encode_into`), read from the same file.
#![allow(clippy::print_stdout)] // The line is the result.

use anyhow::{Context, Result, bail};
use idiolect_tokenizer::{Tokenizer, TrainConfig, train};
use std::path::Path;
use std::time::Instant;
use tokenizers::pipeline::{EncodeOptions, PipelineToken};

const VOCABULARY: usize = 8192;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, text, tokenizer] = words.as_slice() else {
        bail!("usage: bench-encode train|ours|bare TEXT tokenizer.json")
    };
    let text = std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?;
    let path = Path::new(tokenizer);
    match way.as_str() {
        "train" => {
            let lines = text.split_inclusive('\n');
            Ok(train(lines, &TrainConfig::bpe(VOCABULARY), &mut |_| {})?.save(path)?)
        }
        "ours" => {
            let tokenizer = Tokenizer::from_file(path)?;
            measure("idiolect", &text, |text| Ok(tokenizer.encode_ordinary(text)))
        }
        "bare" => {
            let json = tokenizers::convert::canonicalize_str(&std::fs::read_to_string(path)?)
                .map_err(anyhow::Error::msg)?;
            let tokenizer = tokenizers::from_json(&json).map_err(anyhow::Error::msg)?;
            let options = EncodeOptions {
                add_special_tokens: false,
                encode_special_tokens: true,
                ..EncodeOptions::default()
            };
            measure("tokenizers", &text, |text| {
                let mut ids: Vec<PipelineToken> = Vec::with_capacity(text.len() / 4);
                tokenizer.encode_into(text, &options, &mut ids).map_err(anyhow::Error::msg)?;
                Ok(ids.into_iter().map(PipelineToken::id).collect())
            })
        }
        _ => bail!("no way {way}: train, ours or bare"),
    }
}

fn measure(side: &str, text: &str, encode: impl Fn(&str) -> Result<Vec<u32>>) -> Result<()> {
    let megabytes = text.len() as f64 / 1e6;
    let mut speeds = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        ids = encode(text)?;
        speeds.push(megabytes / start.elapsed().as_secs_f64());
    }
    let weighted = ids
        .iter()
        .zip(1u64..)
        .fold(0u64, |sum, (&id, place)| sum.wrapping_add(u64::from(id).wrapping_mul(place)));
    let warm = speeds[1..].iter().copied().fold(0.0, f64::max);
    let line = serde_json::json!({
        "side": side, "cold_mb_per_s": speeds[0], "warm_mb_per_s": warm, "ids": ids.len(), "ids_sum": weighted.to_string(),
    });
    println!("{line}");
    Ok(())
}
