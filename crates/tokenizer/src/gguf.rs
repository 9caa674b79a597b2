//! The metadata of a GGUF file in; the tokenizer inside, its chat template and the ids that end a text out.

use crate::downgrade::byte_level;
use crate::error::{Error, Result};
use crate::gguf_spm;
use crate::roles::Role;
use crate::tokenizer::Tokenizer;
use crate::train::GPT4_PATTERN;
use idiolect_files::gguf::{GgufFile, GgufValue};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Kinds of tokens, as `tokenizer.ggml.token_type` numbers them.
pub(crate) const UNKNOWN: i64 = 2;
pub(crate) const CONTROL: i64 = 3;
pub(crate) const USER_DEFINED: i64 = 4;

/// Qwen 2's pattern: GPT-4's, with digits one by one.
const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How a text is cut before its pieces are encoded.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// GPT-2's pattern.
    Gpt2,
    /// Each digit by itself, then GPT-2's pattern.
    Digits,
    /// Another pattern.
    Pattern(&'static str),
}

/// Names of `tokenizer.ggml.pre`, how they cut, and whether a whole piece that is a token is not merged anew.
pub(crate) const CUTS: [(&str, Cut, bool); 8] = [
    ("gpt-2", Cut::Gpt2, false),
    ("smollm", Cut::Digits, false),
    ("starcoder", Cut::Digits, false),
    ("refact", Cut::Digits, false),
    ("dbrx", Cut::Pattern(GPT4_PATTERN), false),
    ("llama-bpe", Cut::Pattern(GPT4_PATTERN), true),
    ("llama3", Cut::Pattern(GPT4_PATTERN), true),
    ("qwen2", Cut::Pattern(QWEN2_PATTERN), false),
];

/// What lies beside the tokenizer in a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufText {
    /// The Jinja template of conversations.
    pub chat_template: Option<String>,
    /// The ids that end a text or a turn.
    pub stop_ids: Vec<u32>,
    /// The id that begins a text.
    pub bos_id: Option<u32>,
}

impl Tokenizer {
    /// The tokenizer inside of a GGUF file: byte-level BPE, or SentencePiece's. Ids are llama.cpp's.
    ///
    /// # Errors
    /// If there is none, or one of another kind, or with a way to cut texts that is not known; errors name the file
    /// and the key.
    pub fn from_gguf(path: &Path) -> Result<Tokenizer> {
        let file = GgufFile::open(path)?;
        let tokens = texts(&file, TOKENS)?;
        let json = tokenizer_json(&file, &tokens)?;
        let named = |key: &str| -> Result<Option<String>> {
            let id = file.integer(&format!("tokenizer.ggml.{key}_token_id"))?;
            Ok(id.and_then(|id| tokens.get(id as usize).cloned()))
        };
        let mut roles = HashMap::new();
        for (key, role) in
            [("bos", Role::Bos), ("eos", Role::Eos), ("unknown", Role::Unk), ("padding", Role::Pad)]
        {
            roles.extend(named(key)?.map(|token| (role.key().to_string(), token)));
        }
        Tokenizer::load(&json.to_string(), roles)
            .map_err(|what| Error::Invalid { origin: path.display().to_string(), what })
    }
}

pub(crate) const TOKENS: &str = "tokenizer.ggml.tokens";

/// What a GGUF file says of texts besides its vocabulary.
pub fn gguf_text(path: &Path) -> Result<GgufText> {
    let file = GgufFile::open(path)?;
    let id = |key: &str| -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{key}_token_id");
        match file.integer(&key)? {
            None => Ok(None),
            Some(id) => match u32::try_from(id) {
                Ok(id) => Ok(Some(id)),
                Err(_) => Err(file.wrong(&key, "is no id").into()),
            },
        }
    };
    let mut stop_ids: Vec<u32> =
        [id("eos")?, id("eot")?, id("eom")?].into_iter().flatten().collect();
    stop_ids.sort_unstable();
    stop_ids.dedup();
    let chat_template = file.text("tokenizer.chat_template")?.map(str::to_string);
    Ok(GgufText { chat_template, stop_ids, bos_id: id("bos")? })
}

/// The file's tokenizer as a `tokenizer.json` of version 1.0.
fn tokenizer_json(file: &GgufFile, tokens: &[String]) -> Result<Value> {
    let key = "tokenizer.ggml.model";
    match file.text(key)? {
        Some("gpt2") => {}
        Some("llama") => return gguf_spm::tokenizer_json(file, tokens),
        None => return Err(file.wrong(key, "is missing: there is no tokenizer inside").into()),
        Some(other) => {
            let what = format!(
                "is {other:?}; of tokenizers inside, gpt2 (byte-level BPE) and llama (SentencePiece) are read"
            );
            return Err(file.wrong(key, &what).into());
        }
    }
    let pre_key = "tokenizer.ggml.pre";
    // What llama.cpp takes without it cuts in four steps, which the library underneath has no pattern for.
    let pre = file.text(pre_key)?.unwrap_or("default");
    let Some(&(_, cut, ignore_merges)) = CUTS.iter().find(|known| known.0 == pre) else {
        let known: Vec<_> = CUTS.iter().map(|known| known.0).collect();
        let what = format!("is {pre:?}, known are {}", known.join(", "));
        return Err(file.wrong(pre_key, &what).into());
    };
    let merges = merges(file)?;
    let vocab: Map<String, Value> = tokens.iter().cloned().zip((0..).map(Value::from)).collect();
    if vocab.len() < tokens.len() {
        return Err(file.wrong(TOKENS, "has a token twice").into());
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(file, tokens)?,
        "pre_tokenizer": pre_tokenizer(cut),
        "post_processor": frame(file, tokens, ignore_merges)?,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": ignore_merges,
            "vocab": vocab,
            "merges": merges,
        },
    }))
}

pub(crate) fn pre_tokenizer(cut: Cut) -> Value {
    let first = match cut {
        Cut::Gpt2 => return byte_level(true),
        Cut::Digits => json!({"type": "Digits", "individual_digits": true}),
        Cut::Pattern(pattern) => json!({
            "type": "Split",
            "pattern": {"Regex": pattern},
            "behavior": "Isolated",
            "invert": false,
        }),
    };
    let last = byte_level(matches!(cut, Cut::Digits));
    json!({"type": "Sequence", "pretokenizers": [first, last]})
}

/// What puts the token that begins a text before it, where the file says so (or says nothing, and `begins` does), and the one
/// that ends it behind.
pub(crate) fn frame(file: &GgufFile, tokens: &[String], begins: bool) -> Result<Option<Value>> {
    let special = |name: &str, usual: bool| -> Result<Option<(u64, &String)>> {
        let adds = file.flag(&format!("tokenizer.ggml.add_{name}_token"))?.unwrap_or(usual);
        let id = file.integer(&format!("tokenizer.ggml.{name}_token_id"))?;
        let found = id.and_then(|id| Some((id, tokens.get(id as usize)?)));
        Ok(found.filter(|_| adds))
    };
    let (bos, eos) = (special("bos", begins)?, special("eos", false)?);
    if bos.or(eos).is_none() {
        return Ok(None);
    }
    let piece =
        |token: &String, type_id: u8| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let around = |name: &str, type_id: u8| -> Vec<Value> {
        let text = json!({"Sequence": {"id": name, "type_id": type_id}});
        let before = bos.map(|(_, token)| piece(token, type_id));
        let after = eos.map(|(_, token)| piece(token, type_id));
        before.into_iter().chain([text]).chain(after).collect()
    };
    let named = bos
        .into_iter()
        .chain(eos)
        .map(|(id, token)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]})));
    let pair = [around("A", 0), around("B", 1)].concat();
    Ok(Some(json!({
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": pair,
        "special_tokens": named.collect::<Map<String, Value>>(),
    })))
}

/// The tokens that are found in a text as a whole.
pub(crate) fn added(file: &GgufFile, tokens: &[String]) -> Result<Vec<Value>> {
    let key = "tokenizer.ggml.token_type";
    let Some(types) = file.array(key)? else { return Ok(Vec::new()) };
    if types.len() != tokens.len() {
        let what = format!("has {} entries for {} tokens", types.len(), tokens.len());
        return Err(file.wrong(key, &what).into());
    }
    let kinds = types.values().map(|value| match value {
        GgufValue::Signed(kind) => kind,
        GgufValue::Unsigned(kind) => kind as i64,
        _ => 0,
    });
    let entry = |(id, (kind, content)): (usize, (i64, &String))| {
        matches!(kind, UNKNOWN | CONTROL | USER_DEFINED).then(|| {
            json!({
                "id": id,
                "content": content,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": kind != USER_DEFINED,
            })
        })
    };
    Ok(kinds.zip(tokens).enumerate().filter_map(entry).collect())
}

/// Pairs, which the file has with a blank between.
fn merges(file: &GgufFile) -> Result<Vec<Value>> {
    let key = "tokenizer.ggml.merges";
    let pair = |merge: String| match merge.split_once(' ') {
        Some((left, right)) => Ok(json!([left, right])),
        None => Err(file.wrong(key, &format!("has {merge:?}, which is no pair")).into()),
    };
    texts(file, key)?.into_iter().map(pair).collect()
}

/// An array of texts.
fn texts(file: &GgufFile, key: &str) -> Result<Vec<String>> {
    let array = file.array(key)?.ok_or_else(|| Error::from(file.wrong(key, "is missing")))?;
    let text = |value| match value {
        GgufValue::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(file.wrong(key, "has a text that is not UTF-8").into()),
        },
        _ => Err(file.wrong(key, "does not hold texts").into()),
    };
    array.values().map(text).collect()
}
