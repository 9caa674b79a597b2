//! Measures encoding, one thread, against the bare library: a folder and a text file go in, MB/s come out.
//!
//! Cold is the first pass over the text by a tokenizer that was just loaded; warm is a pass after that. The sides take
//! turns every megabyte, and processor time is counted, so that a busy machine troubles both alike.
#![allow(clippy::print_stdout)]

use idiolect_tokenizer::Tokenizer;
use std::path::Path;
use tokenizers::pipeline::{EncodeOptions, PipelineTokenizer};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PIECE_BYTES: usize = 1 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, text] = arguments.as_slice() else {
        return Err("usage: speed FOLDER TEXT".into());
    };
    let json = std::fs::read_to_string(Path::new(folder).join("tokenizer.json"))?;
    let text = std::fs::read_to_string(text)?;
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..9 {
        let bare = load_bare(&json)?;
        let ours = Tokenizer::from_json(&json)?;
        for (pass, name) in ["cold", "warm"].into_iter().enumerate() {
            let (bare_time, our_time) = one_pass(&text, &bare, &ours, round)?;
            let speed = |seconds: f64| text.len() as f64 / 1e6 / seconds;
            println!("{name}: bare {:.1} MB/s, ours {:.1} MB/s", speed(bare_time), speed(our_time));
            ratios[pass].push(bare_time / our_time);
        }
    }
    for (name, mut ratios) in ["cold", "warm"].into_iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        let (low, median, high) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
        println!("{name}: ours/bare median {median:.3} ({low:.3} to {high:.3})");
    }
    Ok(())
}

/// The processor seconds of both sides for the whole text.
fn one_pass(
    text: &str,
    bare: &PipelineTokenizer,
    ours: &Tokenizer,
    round: usize,
) -> Result<(f64, f64)> {
    let (mut bare_time, mut our_time) = (0.0, 0.0);
    let mut rest = text;
    let mut turn = round;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        let (mut bare_ids, mut our_ids) = (Vec::new(), Vec::new());
        for side in [turn % 2, 1 - turn % 2] {
            let start = processor_seconds()?;
            if side == 0 {
                bare_ids = encode_bare(bare, piece)?;
                bare_time += processor_seconds()? - start;
            } else {
                our_ids = ours.encode_ordinary(piece);
                our_time += processor_seconds()? - start;
            }
        }
        assert_eq!(bare_ids, our_ids);
        (rest, turn) = (after, turn + 1);
    }
    Ok((bare_time, our_time))
}

fn load_bare(json: &str) -> Result<PipelineTokenizer> {
    let canonical = tokenizers::canonicalize_str(json)?;
    tokenizers::from_json(&canonical).map_err(|error| error.to_string().into())
}

fn encode_bare(tokenizer: &PipelineTokenizer, text: &str) -> Result<Vec<u32>> {
    let options = EncodeOptions {
        add_special_tokens: false,
        encode_special_tokens: true,
        ..EncodeOptions::default()
    };
    let mut tokens = Vec::new();
    tokenizer.encode_into(text, &options, &mut tokens).map_err(|error| error.to_string())?;
    Ok(tokens.into_iter().map(u32::from).collect())
}

/// What this thread has used of a processor (Linux).
fn processor_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}
