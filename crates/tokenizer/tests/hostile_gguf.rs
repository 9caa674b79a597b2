//! GGUF files whose tokenizer someone broke: a tokenizer or an error comes of them, and never a panic.

use idiolect_files::gguf::{GgufWriter, MetadataValue};
use idiolect_tokenizer::{GgufExtras, Tokenizer, TrainConfig, gguf_text, train};
use proptest::prelude::*;
use proptest::sample::Index;
use std::path::Path;
use std::sync::LazyLock;

/// The metadata of a small tokenizer.
static METADATA: LazyLock<Vec<(String, MetadataValue)>> = LazyLock::new(|| {
    let texts = ["the cat sat on the mat", "the dog sat on the log"];
    let tokenizer = train(texts.iter(), &TrainConfig::bpe(280), &mut |_| {}).unwrap();
    let extras = GgufExtras { vocab_size: 300, ..GgufExtras::default() };
    tokenizer.to_gguf(&extras).unwrap()
});

fn read(path: &Path) {
    let _ = gguf_text(path);
    if let Ok(tokenizer) = Tokenizer::from_gguf(path) {
        let ids = tokenizer.encode(" the cät 12 <|endoftext|>");
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        tokenizer.decode(&ids, false).unwrap();
    }
}

fn write(path: &Path, metadata: &[(String, MetadataValue)]) {
    GgufWriter::create(path, metadata, &[]).unwrap().finish().unwrap();
}

/// Other values for a key.
fn others() -> impl Strategy<Value = MetadataValue> {
    prop_oneof![
        prop::sample::select(vec![0, 1, 299, 300, u32::MAX]).prop_map(MetadataValue::U32),
        "\\PC{0,6}".prop_map(MetadataValue::Text),
        prop::sample::select(vec!["gpt2", "llama", "bert", "t5", "qwen2", "smollm", "llama-bpe"])
            .prop_map(|name| MetadataValue::Text(name.into())),
        any::<bool>().prop_map(MetadataValue::Bool),
        prop::collection::vec("[a-z ▁<>#]{0,4}", 0..300).prop_map(MetadataValue::Texts),
        prop::collection::vec(-2i32..8, 0..301).prop_map(MetadataValue::I32s),
        prop::collection::vec(any::<f32>(), 0..301).prop_map(MetadataValue::F32s),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn other_values(changes in prop::collection::vec((any::<Index>(), prop::option::of(others())), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        let mut metadata = METADATA.clone();
        for (at, value) in changes {
            let at = at.index(metadata.len());
            match value {
                Some(value) => metadata[at].1 = value,
                None => drop(metadata.remove(at)),
            }
        }
        write(&path, &metadata);
        read(&path);
    }

    #[test]
    fn other_bytes(changes in prop::collection::vec(any::<(Index, u8)>(), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        write(&path, &METADATA);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        std::fs::write(&path, bytes).unwrap();
        read(&path);
    }
}
