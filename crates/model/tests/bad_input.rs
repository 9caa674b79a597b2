//! What cannot be run is an error that says why: inputs, weights, sizes.

mod common;

use common::{inputs, random, row, small_bert, small_gpts};
use idiolect_model::tch::{Device, Kind, Tensor};
use idiolect_model::{GenerationConfig, GptConfig, Inputs, Model, ModelConfig, Result};
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::Path;

fn check<T: Debug>(result: Result<T>, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn inputs_that_do_not_fit() {
    let gpt = random(ModelConfig::Gpt(small_gpts().remove(0)));
    let bert = random(ModelConfig::Bert(small_bert()));
    let of = inputs;
    check(gpt.logits(&of(&[1, 23])), "id 23 is outside the vocabulary of 23");
    check(gpt.logits(&of(&[1, -1])), "id -1 is outside the vocabulary");
    check(gpt.logits(&of(&[0; 17])), "sequence of 17 ids, model takes 16");
    check(gpt.logits(&Inputs::new(Tensor::from_slice(&[1i64]))), "`ids` is of shape [1]");
    check(gpt.logits(&Inputs::new(row(&[1]).to_kind(Kind::Int))), "`ids` is Int [1, 1]");
    let short = Inputs { position_ids: Some(row(&[0])), ..of(&[1, 2]) };
    check(gpt.logits(&short), "`position_ids` is Int64 [1, 1], must be Int64 [1, 2]");
    let far = Inputs { position_ids: Some(row(&[0, 16])), ..of(&[1, 2]) };
    check(gpt.logits(&far), "`position_ids` has 16");
    let types = Inputs { token_type_ids: Some(row(&[0, 2])), ..of(&[1, 2]) };
    check(gpt.logits(&types), "`token_type_ids` belongs to BERT");
    check(bert.logits(&types), "`token_type_ids` has 2");
    check(gpt.loss(&of(&[1, 2]), &row(&[1])), "`labels` is Int64 [1, 1]");
    check(gpt.loss(&of(&[1, 2]), &row(&[1, 23])), "`labels` has 23");
    check(gpt.loss(&of(&[1, 2]), &row(&[1, -1])), "`labels` has -1");
}

#[test]
fn prompts_and_settings_that_do_not_fit() {
    let gpt = random(ModelConfig::Gpt(small_gpts().remove(0)));
    let bert = random(ModelConfig::Bert(small_bert()));
    let go = |model: &Model, prompt: &[u32], config: &GenerationConfig| {
        model.generate(prompt, config, None, &mut |_| ControlFlow::Continue(()))
    };
    let default = GenerationConfig::default();
    check(go(&gpt, &[], &default), "`ids` is of shape [1, 0]");
    check(go(&gpt, &[99], &default), "id 99 is outside");
    check(go(&gpt, &[1; 17], &default), "sequence of 17 ids, model takes 16");
    check(go(&gpt, &[1], &GenerationConfig { top_k: Some(0), ..default.clone() }), "`top_k`");
    check(go(&bert, &[1], &default), "a BERT cannot generate");
    check(bert.score(&[vec![1, 2]]), "a BERT cannot score");
    check(gpt.fill_mask(&[1], &[0], 1), "a GPT cannot fill in masks");
    check(bert.fill_mask(&[1], &[1], 1), "`positions` has 1");
    check(bert.pooled(&inputs(&[1])), "without a pooler");
}

#[test]
fn a_size_that_cannot_be_allocated() {
    let wide = GptConfig { vocab_size: 1 << 22, hidden_size: 3 << 16, ..GptConfig::gpt2() };
    let wide = ModelConfig::Gpt(wide);
    check(Model::new(&wide, 0, Device::Cpu), "out of memory");
}

/// A saved model, changed by `change`, loads with an error that has `expected`.
fn check_folder(change: impl FnOnce(&Path), expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = small_gpts().remove(1);
    random(ModelConfig::Gpt(config)).save(folder.path()).unwrap();
    change(folder.path());
    check(Model::load(folder.path(), Device::Cpu, None), expected);
}

fn replace(folder: &Path, from: &str, to: &str) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

#[test]
fn folders_that_do_not_fit() {
    check_folder(|folder| std::fs::remove_file(folder.join("config.json")).unwrap(), "config.json");
    check_folder(
        |folder| std::fs::remove_file(folder.join("model.safetensors")).unwrap(),
        "model.safetensors",
    );
    check_folder(
        |folder| {
            let path = folder.join("model.safetensors");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        },
        "model.safetensors",
    );
    check_folder(|folder| replace(folder, "{", ""), "config.json");
    check_folder(
        |folder| replace(folder, "\"vocab_size\": 23", "\"vocab_size\": 24"),
        "tensor `model.embed_tokens.weight` is of shape [23, 16], the model needs [24, 16]",
    );
    check_folder(
        |folder| replace(folder, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
        "is missing",
    );
    check_folder(
        |folder| replace(folder, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"),
        "belongs to no layer of this model",
    );
    check_folder(
        |folder| replace(folder, "\"rms_norm_eps\"", "\"rms_norm_epsilon\""),
        "`rms_norm_epsilon` is",
    );
}

#[test]
fn shards_are_read_through_their_index() {
    let folder = tempfile::tempdir().unwrap();
    let model = random(ModelConfig::Gpt(small_gpts().remove(0)));
    model.save(folder.path()).unwrap();
    let (whole, shard) = ("model.safetensors", "model-00001-of-00001.safetensors");
    std::fs::rename(folder.path().join(whole), folder.path().join(shard)).unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    let write = |name: &str| {
        let text = format!(
            r#"{{"metadata": {{}}, "weight_map": {{"transformer.wte.weight": "{name}"}}}}"#
        );
        std::fs::write(&index, text).unwrap();
    };
    write(shard);
    let loaded = Model::load(folder.path(), Device::Cpu, None).unwrap();
    assert_eq!(loaded.config().parameter_count(), model.config().parameter_count());
    write("../model-00001-of-00001.safetensors");
    check(Model::load(folder.path(), Device::Cpu, None), "which is not in the folder");
}
