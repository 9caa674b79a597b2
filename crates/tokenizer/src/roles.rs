//! Which token plays which role: `tokenizer_config.json` goes in and out, and usual contents stand in for it.

use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Mask,
    Cls,
    Sep,
    Pad,
    Unk,
    Eos,
    Bos,
}

impl Role {
    /// Its key in `tokenizer_config.json`.
    pub(crate) fn key(self) -> &'static str {
        ROLES.iter().find(|known| known.0 == self).map_or("", |known| known.1)
    }
}

/// The key of `tokenizer_config.json`, and the contents that are tried when it is not there.
const ROLES: [(Role, &str, &[&str]); 7] = [
    (Role::Mask, "mask_token", &["[MASK]", "<mask>"]),
    (Role::Cls, "cls_token", &["[CLS]", "<s>"]),
    (Role::Sep, "sep_token", &["[SEP]", "</s>"]),
    (Role::Pad, "pad_token", &["[PAD]", "<pad>"]),
    (Role::Unk, "unk_token", &["[UNK]", "<unk>"]),
    (Role::Eos, "eos_token", &["<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>"]),
    (Role::Bos, "bos_token", &["<|endoftext|>", "<s>", "<bos>", "<|begin_of_text|>"]),
];

/// The ids of the roles that have one.
pub(crate) fn find(
    named: &HashMap<String, String>,
    token_to_id: impl Fn(&str) -> Option<u32>,
) -> HashMap<Role, u32> {
    let id = |&(role, key, usual): &(Role, &str, &[&str])| {
        let named = named.get(key).and_then(|token| token_to_id(token));
        let id = named.or_else(|| usual.iter().find_map(|token| token_to_id(token)))?;
        Some((role, id))
    };
    ROLES.iter().filter_map(id).collect()
}

/// Reads the roles from the text of a `tokenizer_config.json`.
pub(crate) fn read_config(text: &str) -> Result<HashMap<String, String>, String> {
    let config: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("it is not a JSON object: {error}"))?;
    let token = |key: &str| {
        let value = config.get(key)?;
        // A plain string, or the token with its flags.
        let content = value.as_str().or_else(|| value["content"].as_str())?;
        Some((key.to_string(), content.to_string()))
    };
    Ok(ROLES.iter().filter_map(|(_, key, _)| token(key)).collect())
}

/// The text of a `tokenizer_config.json` with which Transformers loads the file beside it as it is.
pub(crate) fn write_config(
    roles: &HashMap<Role, u32>,
    is_wordpiece: bool,
    token: impl Fn(u32) -> Option<String>,
) -> String {
    let mut config = Map::new();
    config.insert("tokenizer_class".to_string(), json!("PreTrainedTokenizerFast"));
    config.insert("clean_up_tokenization_spaces".to_string(), json!(false));
    for (role, key, _) in ROLES {
        if let Some(token) = roles.get(&role).and_then(|&id| token(id)) {
            config.insert(key.to_string(), json!(token));
        }
    }
    if is_wordpiece {
        let inputs = json!(["input_ids", "token_type_ids", "attention_mask"]);
        config.insert("model_input_names".to_string(), inputs);
    } else {
        config.insert("model_input_names".to_string(), json!(["input_ids", "attention_mask"]));
    }
    serde_json::to_string_pretty(&config).unwrap_or_default()
}
