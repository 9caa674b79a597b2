//! Putting files together: a trained vocabulary goes in, a `tokenizer.json` of version 1.0 comes out.

use super::Pattern;
use super::count::Words;
use super::subwords::Trained;
use crate::byte_alphabet;
use crate::downgrade::byte_level;
use serde_json::{Map, Value, json};

/// The pattern of `cl100k_base`, as Llama 3's file spells it.
pub(crate) const GPT4_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn bpe(trained: &Trained, special_tokens: &[String], pattern: Pattern) -> Value {
    let model = bpe_model(&trained.tokens, &trained.merges, None);
    json!({
        "version": "1.0",
        "added_tokens": added(&trained.tokens, special_tokens),
        "pre_tokenizer": byte_level_split(pattern),
        "decoder": byte_level(true),
        "model": model,
    })
}

pub(super) fn wordpiece(trained: &Trained, special_tokens: &[String], lowercase: bool) -> Value {
    let mut file = wordpiece_splitter(lowercase);
    let id = |token: &str| trained.tokens.iter().position(|other| other == token);
    let special = |token: &str| json!({"id": token, "ids": [id(token)], "tokens": [token]});
    let piece =
        |token: &str, type_id: u8| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let text = |name: &str, type_id: u8| json!({"Sequence": {"id": name, "type_id": type_id}});
    let (cls, sep) = (piece("[CLS]", 0), piece("[SEP]", 0));
    file["added_tokens"] = added(&trained.tokens, special_tokens);
    file["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [cls, text("A", 0), sep],
        "pair": [cls, text("A", 0), sep, text("B", 1), piece("[SEP]", 1)],
        "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")},
    });
    file["decoder"] = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    file["model"]["vocab"] = vocab(&trained.tokens);
    file
}

/// A BPE without merges: every character is a token, and no library needs to know of a kind of our own.
pub(super) fn character(words: &Words, special_tokens: &[String]) -> Value {
    let characters = words.iter().map(|(character, _)| character.to_string());
    let tokens: Vec<String> = special_tokens.iter().cloned().chain(characters).collect();
    let unknown = special_tokens.iter().find(|token| *token == "<unk>");
    json!({
        "version": "1.0",
        "added_tokens": added(&tokens, special_tokens),
        "decoder": {"type": "Fuse"},
        "model": bpe_model(&tokens, &[], unknown.map(String::as_str)),
    })
}

/// A tokenizer that only cuts words, for counting them.
pub(super) fn bpe_splitter(pattern: Pattern) -> Value {
    let tokens: Vec<String> = byte_alphabet::all().into_iter().map(String::from).collect();
    json!({
        "version": "1.0",
        "pre_tokenizer": byte_level_split(pattern),
        "model": bpe_model(&tokens, &[], None),
    })
}

/// A tokenizer that only normalises and cuts words, for counting them.
pub(super) fn wordpiece_splitter(lowercase: bool) -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": true,
            "strip_accents": null,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0},
        },
    })
}

fn byte_level_split(pattern: Pattern) -> Value {
    match pattern {
        Pattern::Gpt2 => byte_level(true),
        Pattern::Gpt4 => json!({
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": GPT4_PATTERN},
                    "behavior": "Isolated",
                    "invert": false,
                },
                byte_level(false),
            ],
        }),
    }
}

fn bpe_model(tokens: &[String], merges: &[(String, String)], unknown: Option<&str>) -> Value {
    json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": unknown,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": false,
        "byte_fallback": false,
        "ignore_merges": false,
        "vocab": vocab(tokens),
        "merges": merges,
    })
}

fn vocab(tokens: &[String]) -> Value {
    let entry = |(id, token): (usize, &String)| (token.clone(), json!(id));
    Value::Object(tokens.iter().enumerate().map(entry).collect::<Map<_, _>>())
}

fn added(tokens: &[String], special_tokens: &[String]) -> Value {
    let token = |content: &String| {
        json!({
            "id": tokens.iter().position(|token| token == content),
            "content": content,
            "single_word": false,
            "lstrip": false,
            "rstrip": false,
            "normalized": false,
            "special": true,
        })
    };
    special_tokens.iter().map(token).collect()
}
