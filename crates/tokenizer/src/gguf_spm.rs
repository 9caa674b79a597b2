//! The pieces and scores of a SentencePiece vocabulary inside a GGUF file in; the same as a `tokenizer.json` out.
//!
//! SentencePiece's BPE joins whichever neighbours make the best piece (Kudo and Richardson 2018, section 3.1). The library
//! underneath joins pairs by rank: each way to make a piece of two others becomes a pair, ranked by the piece's score.

use crate::error::{Error, Result};
use crate::gguf::{TOKENS, added, frame};
use idiolect_files::gguf::{GgufFile, GgufValue};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
/// What stands for a blank.
const BLANK: &str = "\u{2581}";
/// The kind of a piece that is made of others, as [`TYPES`] numbers it.
const NORMAL: i64 = 1;

/// The tokenizer of a file whose `tokenizer.ggml.model` is `llama`.
pub(crate) fn tokenizer_json(file: &GgufFile, tokens: &[String]) -> Result<Value> {
    let vocab: Map<String, Value> = tokens.iter().cloned().zip((0..).map(Value::from)).collect();
    if vocab.len() < tokens.len() {
        return Err(file.wrong(TOKENS, "has a token twice").into());
    }
    let unknown = file.integer("tokenizer.ggml.unknown_token_id")?.unwrap_or(0);
    let unknown = tokens
        .get(unknown as usize)
        .ok_or_else(|| file.wrong("tokenizer.ggml.unknown_token_id", "is no token's id"))?;
    let prefix = file.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let blanks = json!({"type": "Replace", "pattern": {"String": " "}, "content": BLANK});
    let prepend = json!({"type": "Prepend", "prepend": BLANK});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": BLANK}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(file, tokens)?,
        "normalizer": match prefix {
            true => json!({"type": "Sequence", "normalizers": [prepend, blanks]}),
            false => blanks,
        },
        "pre_tokenizer": null,
        "post_processor": frame(file, tokens, true)?,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": merges(file, tokens)?,
        },
    }))
}

/// Every pair of pieces that makes a third, the best third first.
fn merges(file: &GgufFile, tokens: &[String]) -> Result<Vec<Value>> {
    let scores = numbers(file, SCORES, tokens.len())?;
    let types = numbers(file, TYPES, tokens.len())?;
    let pieces = || tokens.iter().zip(&scores).zip(&types).filter(|one| *one.1 as i64 == NORMAL);
    let known: HashMap<&str, f64> =
        pieces().map(|((token, score), _)| (token.as_str(), *score)).collect();
    let mut merges: Vec<(f64, &str, &str)> = Vec::new();
    let mut seen = HashSet::new();
    for ((token, &score), _) in pieces() {
        let ways = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let made =
            ways.filter(|(left, right)| known.contains_key(left) && known.contains_key(right));
        merges.extend(made.filter(|way| seen.insert(*way)).map(|way| (score, way.0, way.1)));
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(merges.into_iter().map(|(_, left, right)| json!([left, right])).collect())
}

/// An array with a number for each token.
fn numbers(file: &GgufFile, key: &str, count: usize) -> Result<Vec<f64>> {
    let array = file.array(key)?.ok_or_else(|| Error::from(file.wrong(key, "is missing")))?;
    if array.len() != count {
        let what = format!("has {} entries for {count} tokens", array.len());
        return Err(file.wrong(key, &what).into());
    }
    let number = |value| match value {
        GgufValue::Signed(number) => Ok(number as f64),
        GgufValue::Unsigned(number) => Ok(number as f64),
        GgufValue::Float(number) if number.is_finite() => Ok(number),
        _ => Err(file.wrong(key, "holds something else than numbers").into()),
    };
    array.values().map(number).collect()
}
