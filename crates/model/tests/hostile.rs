//! Files that someone broke on purpose or by accident: a model or an error comes of them, soon, and never a panic.

mod common;

use common::inputs;
use idiolect_model::Model;
use idiolect_model::tch::Device;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Loads what is there, and computes with it if that can be done.
fn load(path: &Path) {
    let started = Instant::now();
    if let Ok(model) = Model::load(path, Device::Cpu, None) {
        // A changed vocabulary or context may be too small for these: an error as well.
        let _ = model.logits(&inputs(&[1, 2, 3]));
    }
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(5), "{} took {taken:?}", path.display());
}

/// A folder with the files of a fixture, one of them as `change` makes it.
fn with_changed(name: &str, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    for other in ["config.json", "model.safetensors"] {
        let bytes = std::fs::read(fixture(name).join(other)).unwrap();
        std::fs::write(folder.path().join(other), &bytes).unwrap();
    }
    let bytes = std::fs::read(fixture(name).join(file)).unwrap_or_default();
    std::fs::write(folder.path().join(file), change(bytes)).unwrap();
    load(folder.path());
}

/// The value that `path` leads to, replaced.
fn replace(value: &mut Value, path: &[Index], new: Value) {
    let inside = match value {
        Value::Object(map) if !map.is_empty() => {
            let count = map.len();
            path.first().and_then(|index| map.values_mut().nth(index.index(count)))
        }
        Value::Array(items) if !items.is_empty() => {
            let count = items.len();
            path.first().and_then(|index| items.get_mut(index.index(count)))
        }
        _ => None,
    };
    match inside {
        Some(inside) => replace(inside, &path[1..], new),
        None => *value = new,
    }
}

fn mutated(mut bytes: Vec<u8>, changes: &[(Index, u8)], cut: Option<Index>) -> Vec<u8> {
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

const FAMILIES: [&str; 13] = [
    "gpt2",
    "gpt_neox",
    "llama-yarn",
    "llama3",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "nanochat",
    "bert",
    "roberta",
    "modernbert",
];

fn changes() -> impl Strategy<Value = (Vec<(Index, u8)>, Option<Index>)> {
    (prop::collection::vec(any::<(Index, u8)>(), 1..6), prop::option::of(any::<Index>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_config_with_other_values(
        family in prop::sample::select(FAMILIES.to_vec()),
        path in prop::collection::vec(any::<Index>(), 3),
        new in prop::sample::select(vec![
            json!(null), json!(0), json!(-1), json!(1e300), json!(1u64 << 31), json!(u64::MAX), json!(100_000),
            json!(""), json!("gelu"), json!([]), json!({}), json!(true), json!(0.5), json!([[]]), json!(7),
        ]),
    ) {
        with_changed(family, "config.json", |bytes| {
            let mut config: Value = serde_json::from_slice(&bytes).unwrap();
            replace(&mut config, &path, new);
            config.to_string().into_bytes()
        });
    }

    #[test]
    fn a_config_of_other_bytes(family in prop::sample::select(FAMILIES.to_vec()), (bytes, cut) in changes()) {
        with_changed(family, "config.json", |config| mutated(config, &bytes, cut));
    }

    #[test]
    fn weights_of_other_bytes(family in prop::sample::select(FAMILIES.to_vec()), (bytes, cut) in changes()) {
        with_changed(family, "model.safetensors", |weights| {
            // The header is where lengths and names are.
            let header = weights.len().min(2000);
            let mut start = mutated(weights[..header].to_vec(), &bytes, None);
            start.extend(&weights[header..]);
            mutated(start, &[], cut)
        });
    }

    #[test]
    fn an_index_of_any_words(shard in "[a-z./\\\\]{0,12}", text in "[\\[\\]{}:,\"a-z_]{0,40}", whole: bool) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture("llama/config.json"), folder.path().join("config.json")).unwrap();
        let index = if whole { json!({"weight_map": {"a": shard}}).to_string() } else { text };
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        prop_assert!(Model::load(folder.path(), Device::Cpu, None).is_err());
    }

    #[test]
    fn a_gguf_file_of_other_bytes((bytes, cut) in changes()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        let whole = std::fs::read(fixture("tiny.gguf")).unwrap();
        // Keys and descriptions of tensors are at the start.
        let (start, rest) = whole.split_at(2000);
        let start = mutated(start.to_vec(), &bytes, cut);
        std::fs::write(&path, [&start, rest].concat()).unwrap();
        load(&path);
    }
}

/// A hundred thousand layers took seconds and a gigabyte to be made, before their tensors were missed.
#[test]
fn layers_that_no_file_has_are_missed_before_they_are_made() {
    let config = |layers: u64| {
        let path = fixture("llama/config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        config["num_hidden_layers"] = layers.into();
        config.to_string().into_bytes()
    };
    for layers in [1000, 100_000, 1 << 31] {
        let started = Instant::now();
        with_changed("llama", "config.json", |_| config(layers));
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}
