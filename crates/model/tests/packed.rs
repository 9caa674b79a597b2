//! Models in fewer bits, and the blocks in one call: what generating says must be what scoring says by the other way.

use idiolect_model::tch::{Device, Kind, Tensor};
use idiolect_model::{
    BertConfig, GenerationConfig, GptConfig, Inputs, Model, ModelConfig, Quantize,
};
use std::ops::ControlFlow;
use tempfile::TempDir;

/// The shapes that run in one call: grouped heads of 32, gated.
fn fused() -> GptConfig {
    GptConfig {
        vocab_size: 90,
        context_length: 400,
        hidden_size: 96,
        n_layers: 3,
        n_heads: 4,
        n_kv_heads: Some(2),
        head_dim: Some(32),
        intermediate_size: Some(64),
        ..GptConfig::llama_small()
    }
}

/// A folder of a new model whose weights are far enough apart to matter.
fn folder(config: GptConfig) -> TempDir {
    let model = Model::new(&ModelConfig::Gpt(config), 3, Device::Cpu).unwrap();
    for parameter in model.parameters() {
        let mut tensor = parameter.tensor.detach();
        if tensor.dim() == 2 {
            tensor *= 4.0;
        }
    }
    let folder = TempDir::new().unwrap();
    model.save(folder.path()).unwrap();
    folder
}

/// Generates after prompts that are prefilled in one and in several pieces, and compares the log-probabilities with
/// those of scoring, which uses neither cache nor one call.
fn check(name: &str, model: &Model, tolerance: f32) {
    let config = GenerationConfig { max_new_tokens: 12, ..GenerationConfig::default() };
    for length in [1, 5, 300] {
        let prompt: Vec<u32> = (0..length).map(|i| (i * 7 + 3) % 90).collect();
        let mut go_on = |_| ControlFlow::Continue(());
        let answer = model.generate(&prompt, &config, None, &mut go_on).unwrap();
        let whole = [prompt.clone(), answer.ids.clone()].concat();
        let scores = model.score(&[whole]).unwrap().remove(0);
        let expected = &scores[prompt.len() - 1..];
        assert_eq!(answer.log_probabilities.len(), expected.len());
        for (got, expected) in answer.log_probabilities.iter().zip(expected) {
            assert!((got - expected).abs() < tolerance, "{name} {length}: {got} {expected}");
        }
    }
}

#[test]
fn a_cache_in_one_call_gives_what_scoring_gives() {
    let plain = folder(fused());
    for (kind, tolerance) in [(Kind::Float, 2e-4), (Kind::BFloat16, 0.3)] {
        let model = Model::load(plain.path(), Device::Cpu, Some(kind)).unwrap();
        check("dense", &model, tolerance);
    }
    let rich = GptConfig { attention_bias: true, qk_norm: true, ..fused() };
    for config in [fused(), GptConfig { attention_bias: false, ..rich }] {
        let folder = folder(config);
        for quantize in [Quantize::Int8, Quantize::Int4] {
            let model = Model::load_packed(folder.path(), quantize).unwrap();
            check("packed", &model, 0.02);
        }
    }
}

#[test]
fn other_layouts_are_packed_too() {
    let gpt2 = GptConfig { vocab_size: 90, context_length: 400, ..GptConfig::tiny() };
    for quantize in [Quantize::Int8, Quantize::Int4] {
        let model = Model::load_packed(folder(gpt2.clone()).path(), quantize).unwrap();
        check("gpt2", &model, 0.02);
    }
}

#[test]
fn fewer_bits_are_near_the_weights() {
    let folder = folder(fused());
    let ids = Tensor::arange(60, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let logits = |model: &Model| model.logits(&Inputs::new(ids.shallow_clone())).unwrap();
    let whole = logits(&Model::load(folder.path(), Device::Cpu, None).unwrap());
    let spread = whole.std(false).double_value(&[]);
    for (quantize, share) in [(Quantize::Int8, 0.02), (Quantize::Int4, 0.25)] {
        let model = Model::load_packed(folder.path(), quantize).unwrap();
        let far = (logits(&model) - &whole).square().mean(Kind::Float).sqrt().double_value(&[]);
        assert!(far < share * spread && far > 0.0, "{quantize:?}: {far} of {spread}");
    }
}

#[test]
fn what_a_packed_model_cannot_do_is_said() {
    let folder = folder(fused());
    let model = Model::load_packed(folder.path(), Quantize::Int4).unwrap();
    let error = model.save(folder.path()).unwrap_err().to_string();
    assert_eq!(error, "a quantised model cannot be saved");
    let ids = Tensor::from_slice(&[1i64, 2]).unsqueeze(0);
    let error = model.loss(&Inputs::new(ids.copy()), &ids).unwrap_err().to_string();
    assert_eq!(error, "a quantised model cannot be trained");
    let bert = BertConfig { vocab_size: 40, ..BertConfig::tiny() };
    Model::new(&ModelConfig::Bert(bert), 1, Device::Cpu).unwrap().save(folder.path()).unwrap();
    let error = Model::load_packed(folder.path(), Quantize::Int8).unwrap_err().to_string();
    assert_eq!(error, "an encoder cannot be quantised");
}
