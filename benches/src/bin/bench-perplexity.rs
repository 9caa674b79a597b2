//! Our side of `cargo xtask bench perplexity`: a model, a format and a file of rows of ids in; one JSON line with the mean loss in nats and the perplexity out.
#![allow(clippy::print_stdout)] // The line is the result.

use anyhow::{Context, Result, bail};
use idiolect_benches::load;
use std::path::Path;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [path, format, rows] = words.as_slice() else {
        bail!("usage: bench-perplexity MODEL f32|bf16|int8|int4 ROWS.json")
    };
    let text = std::fs::read_to_string(rows).with_context(|| format!("cannot read {rows}"))?;
    let rows: Vec<Vec<u32>> = serde_json::from_str(&text)?;
    let model = load(Path::new(path), format)?;
    let scores = model.score(&rows)?.concat();
    let nats = -scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64;
    let line = serde_json::json!({
        "side": "idiolect", "format": format, "tokens": scores.len(), "nats": nats, "perplexity": nats.exp(),
    });
    println!("{line}");
    Ok(())
}
