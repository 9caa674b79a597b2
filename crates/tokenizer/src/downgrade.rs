//! From version 2.0 back to 1.0: the reverse of the library's `canonicalize`, for files that others wrote.

use serde_json::{Map, Value, json};

/// GPT-2's pattern, which a `ByteLevel` pre-tokenizer of version 1.0 implies.
pub(crate) const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Rewrites a file of version 2.0 in place.
pub(crate) fn downgrade(root: &mut Map<String, Value>) -> Result<(), String> {
    root.insert("version".to_string(), json!("1.0"));
    root.remove("role_to_token");
    complete_splits(root);
    raise_byte_level(root)?;
    raise_metaspace(root)?;
    complete_decoder(root.get_mut("decoder"));
    raise_template(root)
}

/// Version 1.0 wants every field of a split.
fn complete_splits(root: &mut Map<String, Value>) {
    let Some(node) = root.get_mut("pre_tokenizer") else { return };
    for split in members(node, "pretokenizers") {
        let is_split = split["type"] == "Split";
        if let Some(split) = split.as_object_mut().filter(|_| is_split) {
            split.entry("behavior").or_insert(json!("Isolated"));
            split.entry("invert").or_insert(json!(false));
        }
    }
}

/// `"byte_level": true` of the model becomes a last pre-tokenizer.
fn raise_byte_level(root: &mut Map<String, Value>) -> Result<(), String> {
    let Some(model) = root.get_mut("model").and_then(Value::as_object_mut) else {
        return Err("it has no model".to_string());
    };
    if model.remove("byte_level") != Some(json!(true)) {
        return Ok(());
    }
    let mut steps = match root.remove("pre_tokenizer") {
        None | Some(Value::Null) => Vec::new(),
        Some(mut node) => match node.get_mut("pretokenizers").and_then(Value::as_array_mut) {
            Some(steps) => std::mem::take(steps),
            None => vec![node],
        },
    };
    let splits = steps.last().is_some_and(|last| {
        last["pattern"]["Regex"] == GPT2_PATTERN && last["behavior"] == "Isolated"
    });
    if splits {
        steps.pop();
    }
    let byte_level = byte_level(splits);
    let node = if steps.is_empty() {
        byte_level
    } else {
        steps.push(byte_level);
        json!({"type": "Sequence", "pretokenizers": steps})
    };
    root.insert("pre_tokenizer".to_string(), node);
    Ok(())
}

/// A `ByteLevel` of version 1.0, in any of its three places.
pub(crate) fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex
    })
}

/// A `MetaspaceNormalizer` and a split on its delimiter become one pre-tokenizer again.
fn raise_metaspace(root: &mut Map<String, Value>) -> Result<(), String> {
    let Some(normalizer) = root.get_mut("normalizer") else { return Ok(()) };
    let metaspace = if is_metaspace(normalizer) {
        Some(normalizer.take())
    } else {
        let steps = normalizer.get_mut("normalizers").and_then(Value::as_array_mut);
        steps.and_then(|steps| steps.pop_if(|step| is_metaspace(step)))
    };
    let Some(metaspace) = metaspace else { return Ok(()) };
    let splits = match root.get("pre_tokenizer") {
        None | Some(Value::Null) => false,
        Some(split) if split["pattern"]["String"] == metaspace["replacement"] => true,
        Some(_) => return Err("its Metaspace has no form in version 1.0".to_string()),
    };
    let pre_tokenizer = json!({
        "type": "Metaspace",
        "replacement": metaspace["replacement"],
        "prepend_scheme": metaspace["prepend"],
        "split": splits,
    });
    let node = if metaspace["drop_whitespace"] == true {
        json!({
            "type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, pre_tokenizer]
        })
    } else {
        pre_tokenizer
    };
    root.insert("pre_tokenizer".to_string(), node);
    Ok(())
}

fn is_metaspace(value: &Value) -> bool {
    value["type"] == "MetaspaceNormalizer"
}

/// Version 1.0 wants every field of these decoders.
fn complete_decoder(node: Option<&mut Value>) {
    let Some(node) = node else { return };
    for decoder in members(node, "decoders") {
        if decoder["type"] == "ByteLevel" {
            *decoder = byte_level(true);
        } else if decoder["type"] == "Metaspace" {
            decoder["split"] = json!(true);
        }
    }
}

/// Template pieces by id become pieces by name, with the table that explains the names.
fn raise_template(root: &mut Map<String, Value>) -> Result<(), String> {
    let Some(mut node) = root.remove("post_processor") else { return Ok(()) };
    if node["type"] == "TemplateProcessing" && node["special_tokens"].is_null() {
        let mut table = Map::new();
        for key in ["single", "pair"] {
            let pieces = node[key].as_array().cloned().unwrap_or_default();
            let named = pieces.iter().map(|piece| name_piece(root, piece, &mut table));
            node[key] = Value::Array(named.collect::<Result<_, _>>()?);
        }
        node["special_tokens"] = Value::Object(table);
    }
    root.insert("post_processor".to_string(), node);
    Ok(())
}

fn name_piece(
    root: &Map<String, Value>,
    piece: &Value,
    table: &mut Map<String, Value>,
) -> Result<Value, String> {
    let type_id = piece["type_id"].as_u64().unwrap_or(0);
    if let Some(sequence) = piece["seq"].as_str() {
        return Ok(json!({"Sequence": {"id": sequence, "type_id": type_id}}));
    }
    let ids = piece["ids"].as_array().ok_or("a template piece is neither text nor ids")?;
    let names = ids.iter().map(|id| token_of(root, id)).collect::<Result<Vec<_>, _>>()?;
    let name = names.join(" ");
    let entry = json!({"id": name, "ids": ids, "tokens": names});
    table.insert(name.clone(), entry);
    Ok(json!({"SpecialToken": {"id": name, "type_id": type_id}}))
}

fn token_of(root: &Map<String, Value>, id: &Value) -> Result<String, String> {
    let added = root.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let added =
        added.filter(|token| token["id"] == *id).find_map(|token| token["content"].as_str());
    let vocab = root.get("model").and_then(|model| model["vocab"].as_object());
    let in_model =
        || vocab?.iter().find(|(_, other)| *other == id).map(|(token, _)| token.as_str());
    let token = added.or_else(in_model).ok_or_else(|| format!("id {id} is no token"))?;
    Ok(token.to_string())
}

/// A component by itself, or the members of a sequence.
fn members<'a>(node: &'a mut Value, key: &str) -> Vec<&'a mut Value> {
    if !node.get(key).is_some_and(Value::is_array) {
        return vec![node];
    }
    node.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().collect()
}
