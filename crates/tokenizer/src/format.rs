//! The file format: JSON text of version 1.0 or 2.0 goes in, checked and canonical 1.0 comes out.
//!
//! What is checked here is what the library would panic on, move ids for in silence, or only fail at while encoding.

use crate::byte_alphabet;
use crate::downgrade::downgrade;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// A checked file in version 1.0.
pub(crate) struct File {
    /// The whole of it, with keys in the order in which the Python library writes them.
    pub json: Value,
    /// Tokens by id, without holes.
    pub tokens: Vec<String>,
    /// The ids of added tokens, and whether they are special.
    pub added: HashMap<u32, bool>,
    /// Roles that a file of version 2.0 may carry: `eos_token` to `</s>`.
    pub roles: HashMap<String, String>,
}

/// The keys of a file, in the order of the Python library.
const KEYS: [&str; 9] = [
    "version",
    "truncation",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "model",
];

/// The longest token the library's tables hold.
const MAX_TOKEN_BYTES: usize = u16::MAX as usize;

impl File {
    pub fn parse(text: &str) -> Result<File, String> {
        if text.trim().is_empty() {
            return Err("it is empty".to_string());
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let Value::Object(mut root) = value else {
            return Err("it is not a JSON object".to_string());
        };
        let roles = root
            .get("role_to_token")
            .and_then(Value::as_object)
            .map(|roles| roles.iter().filter_map(role).collect())
            .unwrap_or_default();
        match root.get("version").and_then(Value::as_str) {
            Some("1.0") => {}
            Some("2.0") => downgrade(&mut root)?,
            Some(other) => return Err(format!("version {other:?}, known are 1.0 and 2.0")),
            None => return Err("it has no version".to_string()),
        }
        let mut file = File {
            tokens: Vec::new(),
            added: HashMap::new(),
            json: Value::Object(in_order(root)?),
            roles,
        };
        file.tokens = file.collect_tokens()?;
        file.check_model()?;
        file.check_unknown_token()?;
        file.check_merges()?;
        file.check_template()?;
        Ok(file)
    }

    /// The text in which the file is saved.
    pub fn to_text(&self) -> String {
        // A value serialises without fail.
        serde_json::to_string_pretty(&self.json).unwrap_or_default()
    }

    /// The hash that stands for this tokenizer: of the file without spaces and with sorted keys, so that neither counts.
    pub fn hash(&self) -> String {
        let mut sorted = self.json.clone();
        sorted.sort_all_objects();
        blake3::hash(sorted.to_string().as_bytes()).to_hex().to_string()
    }

    /// The file as the library is to see it. It refuses a byte-level vocabulary that lacks a byte, as SmolLM2's lacks
    /// eight that never came up in training: such bytes get ids behind the vocabulary, which are none of the file's.
    pub fn for_engine(&self) -> Value {
        let mut json = self.json.clone();
        let vocab = &mut json["model"]["vocab"];
        let added_apart = self
            .added
            .keys()
            .any(|&id| self.tokens.get(id as usize).is_none_or(|token| vocab.get(token).is_none()));
        if let Some(vocab) = vocab.as_object_mut()
            && self.is_byte_level()
            && !added_apart
        {
            let missing = byte_alphabet::all().map(String::from).into_iter();
            let missing = missing.filter(|byte| !vocab.contains_key(byte)).collect::<Vec<_>>();
            vocab.extend(missing.into_iter().zip((self.tokens.len()..).map(Value::from)));
        }
        json
    }

    pub fn model_type(&self) -> &str {
        self.json["model"]["type"].as_str().unwrap_or_default()
    }

    pub fn is_byte_level(&self) -> bool {
        let is = |value: &Value| value["type"] == "ByteLevel";
        let pre_tokenizer = &self.json["pre_tokenizer"];
        let last = pre_tokenizer["pretokenizers"].as_array().and_then(|all| all.last());
        is(pre_tokenizer) || last.is_some_and(is)
    }

    /// The text of the unknown token, if the model has one.
    pub fn unknown_token(&self) -> Option<&str> {
        let model = &self.json["model"];
        match model["unk_id"].as_u64() {
            Some(id) => self.tokens.get(id as usize).map(String::as_str),
            None => model["unk_token"].as_str(),
        }
    }

    fn collect_tokens(&mut self) -> Result<Vec<String>, String> {
        let mut entries: Vec<(u64, &str)> = Vec::new();
        match &self.json["model"]["vocab"] {
            Value::Object(vocab) => {
                for (token, id) in vocab {
                    let id = id.as_u64().ok_or_else(|| format!("token {token:?} has no id"))?;
                    entries.push((id, token));
                }
            }
            Value::Array(vocab) => {
                for (id, entry) in vocab.iter().enumerate() {
                    let token = entry[0].as_str().filter(|_| entry[1].is_number());
                    let token = token.ok_or_else(|| format!("vocabulary entry {id} is no pair"))?;
                    entries.push((id as u64, token));
                }
            }
            _ => return Err("its model has no vocabulary".to_string()),
        }
        let in_model: HashMap<&str, u64> = entries.iter().map(|&(id, token)| (token, id)).collect();
        for token in self.json["added_tokens"].as_array().into_iter().flatten() {
            let (Some(id), Some(content)) = (token["id"].as_u64(), token["content"].as_str())
            else {
                return Err("an added token has no id or no content".to_string());
            };
            match in_model.get(content) {
                Some(&other) if other != id => {
                    return Err(format!("token {content:?} has the ids {other} and {id}"));
                }
                Some(_) => {}
                None => entries.push((id, content)),
            }
            let id = u32::try_from(id).map_err(|_| format!("id {id} is too large"))?;
            self.added.insert(id, token["special"] == true);
        }
        table(entries)
    }

    fn check_model(&self) -> Result<(), String> {
        match self.model_type() {
            "BPE" | "WordPiece" | "WordLevel" | "Unigram" => Ok(()),
            other => Err(format!("its model is of the unknown type {other:?}")),
        }
    }

    /// The library cuts the mark off the second half without a look at it, and joins halves without a look at the length.
    fn check_merges(&self) -> Result<(), String> {
        let model = &self.json["model"];
        let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default();
        for (rank, merge) in model["merges"].as_array().into_iter().flatten().enumerate() {
            let (Some(left), Some(right)) = (merge[0].as_str(), merge[1].as_str()) else {
                return Err(format!("merge {rank} is not a pair of tokens"));
            };
            let joined = right.strip_prefix(prefix).map(|rest| format!("{left}{rest}"));
            for token in [Some(left), Some(right), joined.as_deref()] {
                if token.is_none_or(|token| model["vocab"].get(token).is_none()) {
                    return Err(format!("merge {rank} of {left:?} and {right:?} gives no token"));
                }
            }
        }
        Ok(())
    }

    /// The library fails at an unknown word, not at loading, if these models lack their unknown token.
    fn check_unknown_token(&self) -> Result<(), String> {
        let model = &self.json["model"];
        let needed = match self.model_type() {
            "WordPiece" | "WordLevel" => true,
            "Unigram" => model["byte_fallback"] != true || !model["unk_id"].is_null(),
            _ => !model["unk_token"].is_null(),
        };
        match self.unknown_token() {
            None if needed => Err("its model names no unknown token".to_string()),
            Some(token) if model["unk_id"].is_null() && model["vocab"].get(token).is_none() => {
                Err(format!("its unknown token {token:?} is not in the vocabulary"))
            }
            _ => Ok(()),
        }
    }

    fn check_template(&self) -> Result<(), String> {
        let mut pending = vec![&self.json["post_processor"]];
        while let Some(value) = pending.pop() {
            pending.extend(value["processors"].as_array().into_iter().flatten());
            let specials = value["special_tokens"].as_object().into_iter().flatten();
            let ids = specials.flat_map(|(_, special)| special["ids"].as_array());
            let pairs = [&value["cls"][1], &value["sep"][1]].into_iter().filter(|id| !id.is_null());
            for id in ids.flatten().chain(pairs) {
                if id.as_u64().is_none_or(|id| id >= self.tokens.len() as u64) {
                    return Err(format!("its post-processor adds the id {id}, which is no token"));
                }
            }
        }
        Ok(())
    }
}

fn role((role, token): (&String, &Value)) -> Option<(String, String)> {
    Some((role.clone(), token.as_str()?.to_string()))
}

/// Puts tokens at their ids. Neither holes nor shared ids are taken: the library would renumber behind a hole.
fn table(mut entries: Vec<(u64, &str)>) -> Result<Vec<String>, String> {
    entries.sort_unstable();
    if entries.is_empty() {
        return Err("its vocabulary is empty".to_string());
    }
    let mut tokens = Vec::with_capacity(entries.len());
    for (id, token) in entries {
        if id > tokens.len() as u64 {
            return Err(format!("no token has the id {}, but one has {id}", tokens.len()));
        }
        if id < tokens.len() as u64 {
            return Err(format!(
                "the tokens {:?} and {token:?} share id {id}",
                tokens[id as usize]
            ));
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(format!("token {id} has {} bytes, {MAX_TOKEN_BYTES} at most", token.len()));
        }
        tokens.push(token.to_string());
    }
    Ok(tokens)
}

/// Keeps the known keys, in order, with the vocabulary sorted by id and merges as pairs.
fn in_order(mut root: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut ordered = Map::new();
    for key in KEYS {
        let missing = if key == "added_tokens" { json!([]) } else { Value::Null };
        let value = root.remove(key).filter(|value| !value.is_null()).unwrap_or(missing);
        ordered.insert(key.to_string(), value);
    }
    let Some(Value::Object(model)) = ordered.get_mut("model") else {
        return Err("it has no model".to_string());
    };
    name_model(model);
    if let Some(Value::Object(vocab)) = model.get_mut("vocab") {
        let mut entries: Vec<_> = std::mem::take(vocab).into_iter().collect();
        entries.sort_by_key(|(_, id)| id.as_u64());
        vocab.extend(entries);
    }
    if let Some(Value::Array(merges)) = model.get_mut("merges") {
        merges.retain(|merge| merge.as_str().is_none_or(|text| !text.starts_with("#version")));
        for merge in merges {
            if let Some((left, right)) = merge.as_str().and_then(|text| text.split_once(' ')) {
                *merge = json!([left, right]);
            }
        }
    }
    Ok(ordered)
}

/// Old files leave the type out; the keys tell it, as in the library's own reader.
fn name_model(model: &mut Map<String, Value>) {
    if model.get("type").is_some_and(Value::is_string) {
        return;
    }
    let kind = if model.contains_key("merges") {
        "BPE"
    } else if model.contains_key("continuing_subword_prefix") {
        "WordPiece"
    } else if model.get("vocab").is_some_and(Value::is_array) {
        "Unigram"
    } else {
        "WordLevel"
    };
    model.shift_insert(0, "type".to_string(), json!(kind));
}
