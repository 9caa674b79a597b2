//! Logits, hidden states, loss and every gradient equal those of Transformers, on the committed fixtures.

mod common;

use common::{device, distance, open, read};
use idiolect_files::safetensors::SafetensorsFile;
use idiolect_model::tch::Tensor;
use idiolect_model::{Inputs, Model};
use std::path::{Path, PathBuf};

const TOLERANCE: f64 = 1e-5;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn close(name: &str, what: &str, got: &Tensor, wanted: &Tensor, tolerance: f64) {
    let error = distance(got, wanted);
    assert!(error <= tolerance, "{name}: {what} differs by {error}");
}

/// Logits, or scores of classes, and hidden states.
fn check_forward(name: &str) -> (Model, Inputs, SafetensorsFile) {
    let expected = open(&folder(name).join("expected.safetensors"));
    let tensor = |name: &str| read(&expected, name).unwrap();
    let model = Model::load(&folder(name), device(), None).unwrap();
    let inputs = Inputs {
        ids: tensor("ids"),
        document_ids: None,
        position_ids: None,
        attention_mask: read(&expected, "attention_mask"),
        token_type_ids: read(&expected, "token_type_ids"),
    };
    let real = inputs.attention_mask.as_ref().map(|mask| mask.unsqueeze(-1));
    let shown = |x: Tensor| real.as_ref().map_or(x.shallow_clone(), |real| x * real);
    let logits = match model.config().labels() {
        [] => shown(model.logits(&inputs).unwrap()),
        _ => model.classify(&inputs).unwrap(),
    };
    close(name, "logits", &logits, &tensor("logits"), TOLERANCE);
    let states = model.hidden_states_all(&inputs).unwrap();
    assert!(read(&expected, &format!("hidden_states.{}", states.len())).is_none());
    for (layer, state) in states.into_iter().enumerate() {
        let wanted = tensor(&format!("hidden_states.{layer}"));
        close(name, &format!("state {layer}"), &shown(state), &wanted, TOLERANCE);
    }
    (model, inputs, expected)
}

fn check(name: &str) {
    let (model, inputs, expected) = check_forward(name);
    let tensor = |name: &str| read(&expected, name).unwrap();
    let loss = model.loss(&inputs, &tensor("labels")).unwrap();
    close(name, "loss", &loss.reshape([1]), &tensor("loss"), 5.0 * TOLERANCE);

    // Saved in place of the weights, the gradients have the names they have in Transformers.
    loss.backward();
    let guard = idiolect_torch::NoGrad::new();
    for parameter in model.parameters() {
        parameter.tensor.shallow_clone().copy_(&parameter.tensor.grad());
    }
    drop(guard);
    let saved = tempfile::tempdir().unwrap();
    model.save(saved.path()).unwrap();
    let gradients = open(&saved.path().join("model.safetensors"));
    let mut count = 0;
    for wanted in expected.tensors() {
        let Some(parameter) = wanted.name.strip_prefix("gradient.") else { continue };
        let got = read(&gradients, parameter).unwrap_or_else(|| panic!("{name}: no {parameter}"));
        let what = format!("gradient of {parameter}");
        close(name, &what, &got, &tensor(&wanted.name), 2.0 * TOLERANCE);
        count += 1;
    }
    assert_eq!(count, gradients.tensors().len());
}

/// The same keys, save those that say nothing about what is computed, and the same tensors.
fn check_saved(name: &str) {
    let saved = tempfile::tempdir().unwrap();
    let model = Model::load(&folder(name), device(), None).unwrap();
    model.save(saved.path()).unwrap();
    let again = Model::load(saved.path(), device(), None).unwrap();
    assert_eq!(again.config(), model.config(), "{name}");
    let value = |folder: &Path| -> serde_json::Value {
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let (old, new) = (value(&folder(name)), value(saved.path()));
    for key in ["architectures", "model_type", "vocab_size", "layer_types", "id2label"] {
        if old.get(key).is_some() && (key != "id2label" || !model.config().labels().is_empty()) {
            assert_eq!(old.get(key), new.get(key), "{name}: {key}");
        }
    }
    let names = |folder: &Path| -> Vec<String> {
        let file = open(&folder.join("model.safetensors"));
        file.tensors().iter().map(|tensor| tensor.name.clone()).collect()
    };
    assert_eq!(names(&folder(name)), names(saved.path()), "{name}");
}

#[test]
fn gpt2() {
    check("gpt2");
    check_saved("gpt2");
}

#[test]
fn llama() {
    check("llama");
    check_saved("llama");
}

#[test]
fn llama3() {
    check_forward("llama3");
    check_saved("llama3");
}

#[test]
fn llama_linear() {
    check_forward("llama-linear");
    check_saved("llama-linear");
}

#[test]
fn llama_dynamic() {
    check_forward("llama-dynamic");
    check_saved("llama-dynamic");
}

#[test]
fn llama_yarn() {
    check_forward("llama-yarn");
    check_saved("llama-yarn");
}

#[test]
fn mistral() {
    check("mistral");
    check_saved("mistral");
}

#[test]
fn qwen2() {
    check("qwen2");
    check_saved("qwen2");
}

#[test]
fn qwen3() {
    check("qwen3");
    check_saved("qwen3");
}

#[test]
fn nanochat() {
    check("nanochat");
    check_saved("nanochat");
}

#[test]
fn gpt_neox() {
    check("gpt_neox");
    check_saved("gpt_neox");
}

#[test]
fn gemma2() {
    check("gemma2");
    check_saved("gemma2");
}

#[test]
fn gemma3() {
    check("gemma3");
    check_saved("gemma3");
}

#[test]
fn bert() {
    check("bert");
    check_saved("bert");
}

#[test]
fn roberta() {
    check("roberta");
    check_saved("roberta");
}

#[test]
fn distilbert() {
    check("distilbert");
    check_saved("distilbert");
}

#[test]
fn modernbert() {
    check("modernbert");
    check_saved("modernbert");
}

#[test]
fn classifiers() {
    let encoders = ["bert", "roberta", "distilbert", "modernbert"];
    for name in encoders.into_iter().chain(["llama"]) {
        let name = format!("{name}-classifier");
        let (model, _, _) = check_forward(&name);
        assert_eq!(model.config().labels(), ["bad", "so so", "good"]);
        let count: usize = model.parameters().iter().map(|one| one.tensor.numel()).sum();
        assert_eq!(model.config().parameter_count(), count as u64, "{name}");
        check_saved(&name);
    }
}
