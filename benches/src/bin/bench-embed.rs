//! Our side of `cargo xtask bench embed`: a model folder, a format and a file of sentences in; one JSON line with sentences a second out.
//!
//! Unlike the peers' side it counts tokenising, pooling and normalising, the best of three.
#![allow(clippy::print_stdout)] // The line is the result.

use anyhow::{Result, bail};
use idiolect_model::tch::{Device, Kind};
use idiolect_prompting::LocalBackend;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, format, sentences] = words.as_slice() else {
        bail!("usage: bench-embed MODEL_DIR f32|bf16 SENTENCES.txt")
    };
    let kind = match format.as_str() {
        "f32" => Kind::Float,
        "bf16" => Kind::BFloat16,
        other => bail!("no format {other}: f32 or bf16"),
    };
    idiolect_torch::reuse_memory();
    idiolect_torch::set_threads(2);
    let text = std::fs::read_to_string(sentences)?;
    let sentences: Vec<&str> = text.lines().collect();
    let backend = LocalBackend::load(Path::new(folder), Device::Cpu, Some(kind))?;
    let mut best = 0f64;
    for _ in 0..3 {
        let start = Instant::now();
        backend.embed_with(&sentences, backend.embed_config())?;
        best = best.max(sentences.len() as f64 / start.elapsed().as_secs_f64());
    }
    let line = serde_json::json!({
        "side": "idiolect", "format": format, "sentences_per_s": best,
        "peak_mib": idiolect_torch::peak_memory(Device::Cpu) >> 20,
    });
    println!("{line}");
    Ok(())
}
