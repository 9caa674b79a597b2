//! A base and labels make a classifier: the base's numbers, a fresh head, and whatever the base lacks or has too much.

mod common;

use idiolect_model::tch::{Device, Kind, Tensor};
use idiolect_model::{FineTune, Inputs, Model};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn three() -> FineTune {
    FineTune { labels: ["a", "b", "c"].map(String::from).to_vec(), ..FineTune::default() }
}

fn check(name: &str) {
    let base = Model::load(&fixture(name), Device::Cpu, Some(Kind::Float)).unwrap();
    let model = three().load(&fixture(name), 5, Device::Cpu).unwrap();
    let ids = || Inputs::new(Tensor::from_slice(&[1i64, 2, 3, 4]).unsqueeze(0));
    assert_eq!(model.classify(&ids()).unwrap().size(), [1, 3], "{name}");
    let error = model.hidden_states(&ids()).unwrap() - base.hidden_states(&ids()).unwrap();
    assert_eq!(error.abs().max().double_value(&[]), 0.0, "{name}");
    // The head depends on the seed, and on nothing else.
    let scores =
        |seed| three().load(&fixture(name), seed, Device::Cpu).unwrap().classify(&ids()).unwrap();
    assert!(scores(5).equal(&scores(5)) && !scores(5).equal(&scores(6)), "{name}");
    // Saved, it opens as a classifier with these labels and scores.
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let again = Model::load(folder.path(), Device::Cpu, None).unwrap();
    assert_eq!(again.config().labels(), ["a", "b", "c"]);
    assert!(again.classify(&ids()).unwrap().equal(&model.classify(&ids()).unwrap()), "{name}");
}

#[test]
fn every_kind_of_base_gets_a_head() {
    for name in ["bert", "roberta", "distilbert", "modernbert", "llama", "qwen3", "gpt2"] {
        check(name);
    }
    for name in ["bert-classifier", "roberta-classifier", "llama-classifier"] {
        check(name);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let one = FineTune { labels: vec!["a".into()], ..FineTune::default() };
    let error = one.load(&fixture("bert"), 1, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("`labels` are 1, must be 2 or more"), "{error}");
    // A base with a layer more than its configuration says.
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("bert").join(file), folder.path().join(file)).unwrap();
    }
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["num_hidden_layers"] = 1.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let error = three().load(folder.path(), 1, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("belongs to no layer of this model"), "{error}");
}

#[test]
fn dropout_and_padding_can_be_given() {
    let tune = FineTune {
        pad_token_id: Some(3),
        hidden_dropout: Some(0.25),
        attention_dropout: Some(0.0),
        ..three()
    };
    let config = serde_json::to_value(tune.config(&fixture("bert")).unwrap()).unwrap();
    assert_eq!(
        (&config["hidden_dropout"], &config["attention_dropout"]),
        (&0.25.into(), &0.0.into())
    );
    let config = serde_json::to_value(tune.config(&fixture("llama")).unwrap()).unwrap();
    assert_eq!(config["residual_dropout"], 0.25);
}
