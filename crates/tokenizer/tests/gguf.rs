//! Tokenizers inside of GGUF files: ids are llama.cpp's, and what is saved says the same.

use idiolect_tokenizer::Tokenizer;
use proptest::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn sentencepiece_ids_are_llama_cpps() {
    let tokenizer = Tokenizer::from_gguf(&fixture("gguf_spm.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save_folder(folder.path()).unwrap();
    let saved = Tokenizer::from_folder(folder.path()).unwrap();
    let rows = std::fs::read_to_string(fixture("gguf_spm.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
    let mut wrong = Vec::new();
    for row in &rows {
        let text = row["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        let got = tokenizer.encode(text);
        // The file asks for a token that begins a text.
        assert_eq!(got.first(), tokenizer.bos_id().as_ref());
        assert_eq!(got, saved.encode(text));
        if got[1..] != expected {
            wrong.push((text, got, expected));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}: {:?}",
        wrong.len(),
        rows.len(),
        &wrong[..wrong.len().min(4)]
    );
}

#[test]
fn sentencepiece_text_comes_back() {
    let tokenizer = Tokenizer::from_gguf(&fixture("gguf_spm.gguf")).unwrap();
    for text in ["Hello, world!", " two  blanks", "日本 🙂 naïve", "a<|turn|>"] {
        let ids = tokenizer.encode_ordinary(text);
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
    assert_eq!(
        (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.unk_id()),
        (Some(1), Some(2), Some(0))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_changed_file_never_panics(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = std::fs::read(fixture("gguf_spm.gguf")).unwrap();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.gguf");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_gguf(&path) {
            tokenizer.encode("Hello, world! 日本");
        }
    }
}
