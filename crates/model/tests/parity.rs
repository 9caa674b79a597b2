//! Logits, loss and every gradient equal those of Transformers, on the committed fixtures.

mod common;

use common::{distance, open, read};
use idiolect_model::tch::Device;
use idiolect_model::{Inputs, Model};
use std::path::Path;

const TOLERANCE: f64 = 1e-5;

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let expected = open(&folder.join("expected.safetensors"));
    let tensor = |name: &str| read(&expected, name).unwrap();
    let model = Model::load(&folder, Device::Cpu, None).unwrap();
    let inputs = Inputs {
        ids: tensor("ids"),
        document_ids: None,
        position_ids: None,
        attention_mask: read(&expected, "attention_mask"),
        token_type_ids: read(&expected, "token_type_ids"),
    };

    let mut logits = model.logits(&inputs).unwrap();
    if let Some(mask) = &inputs.attention_mask {
        logits *= mask.unsqueeze(-1);
    }
    let error = distance(&logits, &tensor("logits"));
    assert!(error <= TOLERANCE, "{name}: logits differ by {error}");

    let loss = model.loss(&inputs, &tensor("labels")).unwrap();
    let error = distance(&loss.reshape([1]), &tensor("loss"));
    assert!(error <= 5.0 * TOLERANCE, "{name}: loss differs by {error}");

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
        let error = distance(&got, &tensor(&wanted.name));
        assert!(error <= TOLERANCE, "{name}: gradient of {parameter} differs by {error}");
        count += 1;
    }
    assert_eq!(count, gradients.tensors().len());
}

#[test]
fn gpt2() {
    check("gpt2");
}

#[test]
fn llama() {
    check("llama");
}

#[test]
fn qwen3() {
    check("qwen3");
}

#[test]
fn nanochat() {
    check("nanochat");
}

#[test]
fn bert() {
    check("bert");
}
