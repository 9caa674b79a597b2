//! Folders and what is known of ids.

use idiolect_tokenizer::{Special, Tokenizer, TrainConfig, train};
use serde_json::Value;

const TEXTS: [&str; 2] = ["the cat sat on the mat", "the dog sat on the log, the log"];

fn trained(config: &TrainConfig) -> Tokenizer {
    train(TEXTS.iter(), config, &mut |_| {}).unwrap()
}

#[test]
fn a_folder_comes_back() {
    for config in [TrainConfig::bpe(280), TrainConfig::wordpiece(60), TrainConfig::character()] {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = trained(&config);
        tokenizer.save_folder(folder.path()).unwrap();
        let again = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(again.hash(), tokenizer.hash());
        assert_eq!(again.eos_id(), tokenizer.eos_id());
        let file = Tokenizer::from_file(&folder.path().join("tokenizer.json")).unwrap();
        assert_eq!(file.to_json(), tokenizer.to_json());
    }
}

#[test]
fn a_folder_says_which_token_ends_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = ["<|endoftext|>", "<|im_end|>"].map(String::from).to_vec();
    trained(&TrainConfig::Character { special_tokens: tokens }).save_folder(folder.path()).unwrap();
    assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().eos_id(), Some(0));
    for value in [r#""<|im_end|>""#, r#"{"content": "<|im_end|>", "special": true}"#] {
        let config = format!(r#"{{"eos_token": {value}, "pad_token": null}}"#);
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().eos_id(), Some(1));
    }
}

#[test]
fn wordpiece_has_the_tokens_of_bert() {
    let tokenizer = trained(&TrainConfig::wordpiece(60));
    let ids = [
        tokenizer.pad_id(),
        tokenizer.unk_id(),
        tokenizer.cls_id(),
        tokenizer.sep_id(),
        tokenizer.mask_id(),
    ];
    assert_eq!(ids, [0, 1, 2, 3, 4].map(Some));
    assert_eq!(tokenizer.eos_id(), None);
    assert_eq!(tokenizer.special_ids(), [0, 1, 2, 3, 4]);
    let encoding = tokenizer.encode_with_offsets("The [MASK] sat, Zoë!", Special::Add);
    assert_eq!(encoding.tokens, ["[CLS]", "the", "[MASK]", "sat", ",", "[UNK]", "[UNK]", "[SEP]"]);
    assert_eq!(encoding.offsets, [0..0, 0..3, 4..10, 11..14, 14..15, 16..20, 20..21, 21..21]);
    let words = [None, Some(0), None, Some(1), Some(2), Some(3), Some(4), None];
    assert_eq!(encoding.words, words);
    assert_eq!(tokenizer.decode(&encoding.ids, true).unwrap(), "the sat,");
    let id = tokenizer.token_to_id("##a").unwrap();
    assert!(tokenizer.continues_word(id) && !tokenizer.continues_word(encoding.ids[1]));
    assert_eq!(tokenizer.token_bytes(id).unwrap(), b"a");
}

#[test]
fn byte_level_tokens_are_bytes() {
    let tokenizer = trained(&TrainConfig::bpe(280));
    assert_eq!(tokenizer.eos_id(), Some(0));
    assert_eq!(tokenizer.encode("a<|endoftext|>").last(), Some(&0));
    assert!(!tokenizer.encode_ordinary("a<|endoftext|>").contains(&0));
    let the = tokenizer.token_to_id("Ġthe").unwrap();
    assert_eq!(tokenizer.token_bytes(the).unwrap(), b" the");
    assert!(!tokenizer.continues_word(the) && !tokenizer.continues_word(0));
    assert!(tokenizer.continues_word(tokenizer.token_to_id("e").unwrap()));
    let e = tokenizer.encode_with_offsets("é", Special::Ordinary);
    assert_eq!(e.offsets, [0..1, 1..2]);
}

#[test]
fn characters_without_a_token_are_left_out_if_nothing_stands_for_them() {
    let tokenizer = trained(&TrainConfig::Character { special_tokens: vec![] });
    assert_eq!(tokenizer.unk_id(), None);
    let encoding = tokenizer.encode_with_offsets("aZ?t", Special::Add);
    assert_eq!(encoding.tokens, ["a", "t"]);
    assert_eq!(encoding.offsets, [0..1, 3..4]);
}

#[test]
fn the_file_is_one_that_python_reads() {
    let file: Value = serde_json::from_str(&trained(&TrainConfig::bpe(280)).to_json()).unwrap();
    let keys: Vec<&str> = file.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys[0], "version");
    assert_eq!(keys[8], "model");
    assert_eq!(file["version"], "1.0");
    assert_eq!(file["model"]["vocab"]["<|endoftext|>"], 0);
}

/// A byte-level vocabulary of single bytes, without the byte 4, and with an unknown token or none.
fn without_a_byte(unknown: Option<&str>) -> Tokenizer {
    let mut vocab: Vec<String> = (0..=u8::MAX)
        .filter(|&byte| byte != 4)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte).to_string(),
            0..=32 => char::from_u32(256 + u32::from(byte)).unwrap().to_string(),
            127..=160 => char::from_u32(256 + 33 + u32::from(byte) - 127).unwrap().to_string(),
            _ => char::from_u32(256 + 67).unwrap().to_string(),
        })
        .collect();
    vocab.extend(unknown.map(str::to_string));
    let vocab: serde_json::Map<_, _> =
        vocab.into_iter().zip((0..).map(serde_json::Value::from)).collect();
    let file = serde_json::json!({
        "version": "1.0", "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "unk_token": unknown, "vocab": vocab, "merges": []},
    });
    Tokenizer::from_json(&file.to_string()).unwrap()
}

#[test]
fn a_byte_that_the_vocabulary_lacks_is_passed_over_or_unknown() {
    let check = |unknown, expected: &[&str], offsets: &[std::ops::Range<usize>]| {
        let tokenizer = without_a_byte(unknown);
        let encoding = tokenizer.encode_with_offsets("a\u{4}b", Special::Ordinary);
        assert_eq!(encoding.tokens, expected);
        assert_eq!(encoding.offsets, offsets);
        assert_eq!(tokenizer.encode("a\u{4}b"), encoding.ids);
        assert_eq!(tokenizer.vocab_size(), 255 + usize::from(unknown.is_some()));
    };
    check(None, &["a", "b"], &[0..1, 2..3]);
    check(Some("<unk>"), &["a", "<unk>", "b"], &[0..1, 1..2, 2..3]);
}
