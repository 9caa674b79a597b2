//! Files that are none, settings that cannot be: an error that says what is wrong, and never a panic.

use idiolect_tokenizer::{Error, Tokenizer, TrainConfig, train};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

static FIXTURES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("fixtures/parity.json")).unwrap());

fn check(text: &str, expected: &str) {
    match Tokenizer::from_json(text) {
        Err(error @ Error::Invalid { .. }) => {
            let message = error.to_string();
            assert!(message.contains(expected), "{message:?} instead of {expected:?}");
        }
        other => panic!("{other:?} for {text}"),
    }
}

/// A character tokenizer with one place changed.
fn changed(pointer: &str, value: Value) -> String {
    let mut file = json!({
        "version": "1.0",
        "added_tokens": [{
            "id": 2, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }],
        "model": {
            "type": "BPE", "unk_token": "<unk>", "vocab": {"a": 0, "b": 1, "<unk>": 2, "ab": 3},
            "merges": [["a", "b"]],
        },
    });
    assert!(Tokenizer::from_json(&file.to_string()).is_ok());
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match file.pointer_mut(parent).unwrap() {
        Value::Object(object) => object.insert(key.to_string(), value),
        Value::Array(array) => {
            Some(std::mem::replace(&mut array[key.parse::<usize>().unwrap()], value))
        }
        _ => None,
    };
    file.to_string()
}

#[test]
fn what_is_no_file_is_refused() {
    check("", "it is empty");
    check(" \n", "it is empty");
    check("\u{1}\u{2}binary", "it is not JSON");
    check(&"[".repeat(100_000), "it is not JSON");
    check("[]", "not a JSON object");
    check("{}", "no version");
    check(r#"{"version": "3.0"}"#, r#"version "3.0""#);
    check(r#"{"version": "1.0"}"#, "no model");
    check(r#"{"version": "2.0", "model": []}"#, "no model");
}

#[test]
fn a_wrong_vocabulary_is_refused() {
    check(&changed("/model/vocab", json!({})), "no token has the id 0, but one has 2");
    check(&changed("/model/vocab", json!(7)), "no vocabulary");
    check(&changed("/model/vocab/c", json!(9)), "no token has the id 4, but one has 9");
    check(&changed("/model/vocab/c", json!(u64::MAX)), "no token has the id 4");
    check(&changed("/model/vocab/c", json!(3)), "share id 3");
    check(&changed("/model/vocab/c", json!(-1)), r#""c" has no id"#);
    check(&changed("/model/vocab/c", json!(1.5)), r#""c" has no id"#);
    check(&changed("/model/vocab", json!([["a", 0.0], ["b"]])), "entry 1 is no pair");
    check(&changed("/added_tokens/0/id", json!(1)), "has the ids 2 and 1");
    check(&changed("/added_tokens/0/content", json!("new")), "share id 2");
    check(&changed("/added_tokens/0/id", json!(1u64 << 40)), "ids 2 and 1099511627776");
    check(&changed("/added_tokens/0", json!({})), "no id or no content");
    check(&changed("/added_tokens/0/special", json!("yes")), "special");
    let long = json!({"a": 0, "b": 1, "<unk>": 2, "ab": 3, "x".repeat(70_000): 4});
    check(&changed("/model/vocab", long), "token 4 has 70000 bytes");
}

#[test]
fn an_added_token_in_a_hole_is_refused() {
    let model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 3}, "merges": [["a", "b"]]});
    check(&changed("/model", model), "added token 2 fills a hole");
}

#[test]
fn a_wrong_part_is_refused() {
    check(&changed("/model/unk_token", json!("?")), r#"unknown token "?" is not in"#);
    check(&changed("/model/type", json!("Quantum")), "Quantum");
    check(&changed("/model/merges", json!([["a", "x"]])), "merge 0 of");
    check(&changed("/model/merges", json!(["a b c"])), "merge 0 of");
    check(&changed("/model/merges", json!([["b", "b"]])), "gives no token");
    check(&changed("/model/merges", json!([3])), "merge 0 is not a pair");
    check(&changed("/model/continuing_subword_prefix", json!("##")), "gives no token");
    check(&changed("/normalizer", json!({"type": "Rot13"})), "Rot13");
    check(&changed("/pre_tokenizer", json!("ByteLevel")), "type");
    let regex = json!({"type": "Split", "pattern": {"Regex": "(a+)+$".repeat(10_000)},
        "behavior": "Isolated", "invert": false});
    check(&changed("/pre_tokenizer", regex), "regex");
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
    check(&changed("/pre_tokenizer", byte_level), "add_prefix_space");
    let template = json!({"type": "TemplateProcessing", "single": [], "pair": [],
        "special_tokens": {"x": {"id": "x", "ids": [4], "tokens": ["x"]}}});
    check(&changed("/post_processor", template), "adds the id 4");
    let bert = json!({"type": "BertProcessing", "sep": ["x", 9], "cls": ["y", 0]});
    check(&changed("/post_processor", bert), "adds the id 9");
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read") && error.ends_with("tokenizer.json"), "{error}");
    std::fs::write(folder.path().join("tokenizer.json"), b"\xff\xfe").unwrap();
    assert!(Tokenizer::from_folder(folder.path()).is_err());
    std::fs::write(folder.path().join("tokenizer_config.json"), "[]").unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json"), "{error}");
}

#[test]
fn ids_outside_the_vocabulary_are_refused() {
    let tokenizer = train(["abc"].iter(), &TrainConfig::character(), &mut |_| {}).unwrap();
    assert_eq!(tokenizer.vocab_size(), 4);
    for id in [4, u32::MAX] {
        let expected = format!("id {id} is outside the vocabulary of 4");
        assert_eq!(tokenizer.decode(&[0, id], false).unwrap_err().to_string(), expected);
        assert_eq!(tokenizer.decode_stream().push(id).unwrap_err().to_string(), expected);
        assert_eq!(tokenizer.id_to_token(id), None);
        assert_eq!(tokenizer.token_bytes(id), None);
        assert!(!tokenizer.is_special(id) && !tokenizer.continues_word(id));
    }
}

#[test]
fn impossible_settings_are_refused() {
    let check = |config: Value, expected: &str| {
        let config: TrainConfig = serde_json::from_value(config).unwrap();
        let error = train(["some text"].iter(), &config, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} instead of {expected:?}");
    };
    check(json!({"type": "bpe", "vocab_size": 256}), "tokenizer.vocab_size: 256 is too small, 257");
    check(json!({"type": "bpe", "vocab_size": 1u64 << 40}), "more than ids can count");
    check(json!({"type": "wordpiece", "vocab_size": 9}), "9 is too small for 6 characters");
    let tokens =
        |tokens: &[&str]| json!({"type": "wordpiece", "vocab_size": 99, "special_tokens": tokens});
    check(tokens(&["[UNK]", "[CLS]"]), "tokenizer.special_tokens: [SEP] is missing");
    check(tokens(&["[UNK]", "[UNK]"]), "occurs twice");
    check(tokens(&["x"]), "too short");
    for config in [TrainConfig::bpe(300), TrainConfig::wordpiece(300), TrainConfig::character()] {
        for texts in [vec![], vec![""]] {
            let error = train(texts.iter(), &config, &mut |_| {}).unwrap_err().to_string();
            assert!(error.contains("no text"), "{error}");
        }
    }
    for text in [
        r#"{"type": "bpe"}"#,
        r#"{"type": "wordpeace", "vocab_size": 9}"#,
        r#"{"type": "bpe", "vocab_size": 300, "lowercase": true}"#,
    ] {
        assert!(serde_json::from_str::<TrainConfig>(text).is_err(), "{text}");
    }
}

/// Puts a wrong value, or none, at one place of a file.
fn mutate(value: &mut Value, path: &[u8], new: &Value) {
    let Some((step, rest)) = path.split_first() else {
        *value = new.clone();
        return;
    };
    let child = match value {
        Value::Object(object) => object.values_mut().nth(usize::from(*step) % 12),
        Value::Array(array) => array.get_mut(usize::from(*step) % 4),
        _ => None,
    };
    match child {
        Some(child) => mutate(child, rest, new),
        None => *value = new.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_file_causes_a_panic(
        path in prop::collection::vec(any::<u8>(), 1..5),
        new in prop::sample::select(vec![
            json!(null), json!(0), json!(-1), json!(1e300), json!(4_000_000_000_u64), json!("ByteLevel"), json!(""),
            json!([]), json!({}), json!(true), json!([[]]), json!({"type": "Sequence"}), json!({"type": "ByteLevel"}),
        ]),
        newer in any::<bool>(),
    ) {
        for fixture in FIXTURES.as_object().unwrap().values() {
            let mut file = fixture["file"].clone();
            if newer {
                let text = tokenizers::canonicalize_str(&file.to_string()).unwrap();
                file = serde_json::from_str(&text).unwrap();
            }
            mutate(&mut file, &path, &new);
            match Tokenizer::from_json(&file.to_string()) {
                Ok(tokenizer) => {
                    let text = " Hello, wörld! 123 <unk>[CLS]";
                    let ids = tokenizer.encode(text);
                    prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
                    let encoding = tokenizer.encode_with_offsets(text, idiolect_tokenizer::Special::Add);
                    prop_assert_eq!(&encoding.ids, &ids);
                    tokenizer.decode(&ids, false).unwrap();
                    Tokenizer::from_json(&tokenizer.to_json()).unwrap();
                }
                Err(error) => prop_assert!(!error.to_string().contains("cannot take it"), "{error}"),
            }
        }
    }
}
