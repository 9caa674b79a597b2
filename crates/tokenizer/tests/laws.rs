//! The laws of tokenizers, on arbitrary text.

use idiolect_tokenizer::{Pattern, Special, Tokenizer, TrainConfig, train};
use proptest::prelude::*;
use std::sync::LazyLock;

const TEXT: &str = include_str!("fixtures/corpus.txt");

fn trained(config: &TrainConfig) -> Tokenizer {
    train(TEXT.lines(), config, &mut |_| {}).unwrap()
}

fn gpt4() -> TrainConfig {
    TrainConfig::Bpe {
        vocab_size: 400,
        min_frequency: 2,
        special_tokens: vec!["<|endoftext|>".into(), "<|user|>".into()],
        pattern: Pattern::Gpt4,
    }
}

static BYTE_LEVEL: LazyLock<[Tokenizer; 2]> =
    LazyLock::new(|| [trained(&TrainConfig::bpe(400)), trained(&gpt4())]);
static WORDPIECE: LazyLock<Tokenizer> = LazyLock::new(|| trained(&TrainConfig::wordpiece(300)));
static CHARACTER: LazyLock<Tokenizer> = LazyLock::new(|| trained(&TrainConfig::character()));

fn all() -> impl Iterator<Item = &'static Tokenizer> {
    BYTE_LEVEL.iter().chain([&*WORDPIECE, &*CHARACTER])
}

/// Text with what tokenizers stumble over: marks, emoji, wide characters, special tokens, runs of space.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z ,.'!?]{0,12}",
        2 => "\\PC{0,6}",
        1 => any::<char>().prop_map(String::from),
        1 => prop::sample::select(vec![
            "<|endoftext|>", "<|user|>", "[MASK]", "[CLS]", "<unk>", "e\u{301}\u{323}", "ﬁ", "İ",
            "ΑΣ", "中文", "가\u{11a8}", "\u{1F469}\u{200D}\u{1F4BB}", "\r\n\n", "   ", "\t", "\0", "\u{fffd}",
            "'s 'LL", "1234567", "ß", "\u{ad}", "\u{feff}",
        ])
        .prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn byte_level_text_comes_back(text in text()) {
        for tokenizer in BYTE_LEVEL.iter() {
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode_ordinary(&text), false).unwrap(), &*text);
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text), false).unwrap(), &*text);
        }
    }

    #[test]
    fn byte_level_offsets_tile_the_text(text in text()) {
        for tokenizer in BYTE_LEVEL.iter() {
            for special in [Special::Add, Special::Match, Special::Ordinary] {
                let encoding = tokenizer.encode_with_offsets(&text, special);
                let mut at = 0;
                for (range, id) in encoding.offsets.iter().zip(&encoding.ids) {
                    prop_assert_eq!(range.start, at);
                    let bytes = tokenizer.token_bytes(*id).unwrap();
                    prop_assert_eq!(&text.as_bytes()[range.clone()], &bytes[..]);
                    at = range.end;
                }
                prop_assert_eq!(at, text.len());
            }
        }
    }

    #[test]
    fn offsets_ascend_within_the_text_and_ids_are_the_same(text in text()) {
        for tokenizer in all() {
            for special in [Special::Add, Special::Match, Special::Ordinary] {
                let encoding = tokenizer.encode_with_offsets(&text, special);
                prop_assert_eq!(&encoding.ids, &tokenizer.encode_as(&text, special));
                let mut last = 0;
                for range in &encoding.offsets {
                    prop_assert!(range.start <= range.end && range.end <= text.len());
                    prop_assert!(range.start >= last, "{:?} in {:?}", range, text);
                    last = range.start;
                    if !tokenizer.is_byte_level() {
                        prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
                    }
                }
            }
        }
    }

    #[test]
    fn a_stream_gives_what_decoding_gives(text in text(), noise in prop::collection::vec(0u32..250, 0..12)) {
        for tokenizer in all() {
            let encoded = tokenizer.encode(&text);
            for ids in [&encoded, &noise] {
                let n = tokenizer.vocab_size() as u32;
                let ids: Vec<u32> = ids.iter().map(|id| id % n).collect();
                for skip in [false, true] {
                    let mut stream = tokenizer.decode_stream_as(skip);
                    let mut streamed = String::new();
                    for &id in &ids {
                        streamed.extend(stream.push(id).unwrap());
                    }
                    streamed += &stream.finish();
                    prop_assert_eq!(streamed, tokenizer.decode(&ids, skip).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_batch_is_its_texts(texts in prop::collection::vec(text(), 0..6)) {
        for tokenizer in all() {
            for special in [Special::Add, Special::Match, Special::Ordinary] {
                let single: Vec<_> = texts.iter().map(|text| tokenizer.encode_as(text, special)).collect();
                prop_assert_eq!(tokenizer.encode_batch(&texts, special), single);
            }
        }
    }
}

#[test]
fn a_saved_file_is_a_fixpoint() {
    for tokenizer in all() {
        let text = tokenizer.to_json();
        let again = Tokenizer::from_json(&text).unwrap();
        assert_eq!(again.to_json(), text);
        assert_eq!(again.hash(), tokenizer.hash());
        assert_eq!(again.encode(TEXT), tokenizer.encode(TEXT));
    }
}

#[test]
fn training_twice_gives_the_same() {
    for config in
        [TrainConfig::bpe(400), gpt4(), TrainConfig::wordpiece(300), TrainConfig::character()]
    {
        assert_eq!(trained(&config).to_json(), trained(&config).to_json());
    }
}

#[test]
fn merges_are_learned() {
    assert_eq!(BYTE_LEVEL[0].vocab_size(), 400);
    assert!(BYTE_LEVEL[0].token_to_id("Ġthe").is_some());
    assert_eq!(WORDPIECE.vocab_size(), 300);
    assert!(WORDPIECE.token_to_id("the").is_some());
}
