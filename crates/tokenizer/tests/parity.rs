//! Our ids, offsets and texts against those of Python's `tokenizers`, on files of both.

use idiolect_tokenizer::{Special, Tokenizer, train};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

fn fixtures() -> BTreeMap<String, Value> {
    serde_json::from_str(include_str!("fixtures/parity.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut stream = tokenizer.decode_stream();
    let parts: String = ids.iter().filter_map(|&id| stream.push(id).unwrap()).collect();
    parts + &stream.finish()
}

#[test]
fn a_run_of_bytes_is_text_or_not_as_a_whole() {
    let tokenizer = Tokenizer::from_json(&fixtures()["byte_fallback"]["file"].to_string()).unwrap();
    let id = |token: &str| tokenizer.token_to_id(token).unwrap();
    for tokens in [
        &["<0x41>", "<0xE2>"][..],
        &["t", "<0xC3>", "<0xA9>", "<0x41>", "h"],
        &["<0xC3>", "h", "<0xA9>"],
    ] {
        let ids: Vec<u32> = tokens.iter().map(|token| id(token)).collect();
        assert_eq!(streamed(&tokenizer, &ids), tokenizer.decode(&ids, true).unwrap());
    }
}

/// Where characters are composed, Python counts only the first of them to the token, we count all.
fn check_offsets(name: &str, text: &str, ours: &[Range<usize>], theirs: &Value) {
    let theirs: Vec<[usize; 2]> = serde_json::from_value(theirs.clone()).unwrap();
    assert_eq!(ours.len(), theirs.len(), "{name}: {text:?}");
    let composes = name == "unigram";
    for (our, [start, end]) in ours.iter().zip(theirs) {
        let same_end = our.end == end || composes && our.end > end;
        assert!(our.start == start && same_end, "{name}: {text:?} {our:?} {start} {end}");
    }
}

#[test]
fn ids_offsets_and_texts_are_those_of_python() {
    for (name, fixture) in fixtures() {
        let tokenizer = Tokenizer::from_json(&fixture["file"].to_string()).unwrap();
        for case in fixture["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let expected = ids(&case["ids"]);
            assert_eq!(tokenizer.encode(text), expected, "{name}: {text:?}");
            assert_eq!(tokenizer.encode_ordinary(text), ids(&case["ordinary"]), "{name}: {text:?}");
            assert_eq!(tokenizer.decode(&expected, false).unwrap(), case["decoded"], "{name}");
            assert_eq!(tokenizer.decode(&expected, true).unwrap(), case["skipped"], "{name}");
            assert_eq!(streamed(&tokenizer, &expected), case["skipped"], "{name}: {text:?}");
            let encoding = tokenizer.encode_with_offsets(text, Special::Match);
            assert_eq!(encoding.ids, tokenizer.encode_as(text, Special::Match), "{name}: {text:?}");
            if case["offsets"].is_array() {
                check_offsets(&name, text, &encoding.offsets, &case["offsets"]);
            }
        }
    }
}

#[test]
fn training_gives_the_files_that_python_was_shown() {
    for (name, fixture) in fixtures() {
        let Ok(config) = serde_json::from_value(fixture["config"].clone()) else { continue };
        let texts = [include_str!("fixtures/corpus.txt")];
        let tokenizer = train(texts.iter(), &config, &mut |_| {}).unwrap();
        let file: Value = serde_json::from_str(&tokenizer.to_json()).unwrap();
        assert_eq!(file, fixture["file"], "{name}");
    }
}

#[test]
fn version_2_is_read_and_means_the_same() {
    for (name, fixture) in fixtures() {
        let original = Tokenizer::from_json(&fixture["file"].to_string()).unwrap();
        let newer = tokenizers::canonicalize_str(&fixture["file"].to_string()).unwrap();
        let tokenizer = Tokenizer::from_json(&newer).unwrap();
        let text = tokenizer.to_json();
        assert!(text.contains(r#""version": "1.0""#));
        if name.starts_with("our") {
            assert_eq!(tokenizer.hash(), original.hash(), "{name}");
        }
        assert_eq!(Tokenizer::from_json(&text).unwrap().to_json(), text, "{name}");
        for case in fixture["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text), original.encode(text), "{name}: {text:?}");
        }
    }
}
