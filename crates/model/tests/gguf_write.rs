//! GGUF files out: the model that is read back is the one that was written, as far as its type holds it.

mod common;

use common::*;
use idiolect_files::gguf::{GgmlType, GgufFile};
use idiolect_model::tch::Device;
use idiolect_model::{
    Error, GGUF_TYPES, GgufSaved, GptConfig, LayerType, Mlp, Model, ModelConfig, Norm, Positions,
    RopeScaling,
};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn llama(hidden_size: usize, intermediate_size: usize) -> GptConfig {
    GptConfig {
        vocab_size: 64,
        context_length: 32,
        hidden_size,
        intermediate_size: Some(intermediate_size),
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: Some(2),
        tie_embeddings: false,
        ..GptConfig::llama_small()
    }
}

fn qwen2(config: GptConfig) -> GptConfig {
    GptConfig { attention_bias: true, attention_output_bias: Some(false), ..config }
}

fn written(model: &Model, dtype: GgmlType) -> (tempfile::TempDir, PathBuf, GgufSaved) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let saved = model.save_gguf(&path, dtype, &[], &mut |_, _| ControlFlow::Continue(()));
    (folder, path, saved.unwrap().unwrap())
}

/// Writes, reads and writes again: the tensors and keys of both files.
fn check_round_trip(config: GptConfig, dtype: GgmlType) -> GgufSaved {
    let model = random(ModelConfig::Gpt(config));
    let (_first, path, saved) = written(&model, dtype);
    let again = Model::load(&path, Device::Cpu, None).unwrap();
    assert_eq!(again.parameters().len(), model.parameters().len());
    let most = match dtype {
        GgmlType::F32 => 0.0,
        GgmlType::F16 => 1.0 / 2000.0,
        GgmlType::BF16 | GgmlType::Q8_0 => 1.0 / 200.0,
        _ => 1.0 / 5.0,
    };
    for (a, b) in model.parameters().iter().zip(again.parameters()) {
        let share = distance(&a.tensor, &b.tensor) / a.tensor.abs().max().double_value(&[]);
        assert!(a.name == b.name && share <= most, "{} {} {share}", dtype.as_str(), a.name);
    }
    let (_second, other, _) = written(&again, dtype);
    let (a, b) = (GgufFile::open(&path).unwrap(), GgufFile::open(&other).unwrap());
    assert!(a.keys().eq(b.keys()) && a.keys().all(|key| a.value(key) == b.value(key)));
    assert_eq!(a.tensors(), b.tensors());
    if dtype != GgmlType::Q4_K {
        // What a simple block holds is written as the same block; the search of Q4_K may find others for the same numbers.
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap());
    }
    saved
}

#[test]
fn what_is_written_is_read() {
    for dtype in GGUF_TYPES {
        let saved = check_round_trip(llama(256, 512), dtype);
        assert_eq!((saved.fallbacks, saved.left_out), (Vec::new(), Vec::new()));
    }
    check_round_trip(qwen2(llama(64, 96)), GgmlType::F32);
    check_round_trip(
        GptConfig { qk_norm: true, head_dim: Some(24), ..llama(64, 96) },
        GgmlType::F32,
    );
    check_round_trip(GptConfig { tie_embeddings: true, ..llama(64, 96) }, GgmlType::F16);
    let rope_scaling = Some(RopeScaling::Linear { factor: 4.0 });
    check_round_trip(GptConfig { rope_scaling, ..llama(64, 96) }, GgmlType::F32);
    check_round_trip(
        GptConfig { context_length: 32, vocab_size: 64, ..GptConfig::tiny() },
        GgmlType::F32,
    );
}

#[test]
fn a_gemma_3_is_read_as_it_was_written() {
    let layer_types = (1..=6).map(|layer| match layer % 6 {
        0 => LayerType::FullAttention,
        _ => LayerType::SlidingAttention,
    });
    let config = GptConfig {
        n_layers: 6,
        norm: Norm::RmsNormOffset,
        mlp: Mlp::GatedGeluTanh,
        post_norm: true,
        qk_norm: true,
        scale_embeddings: true,
        tie_embeddings: true,
        head_dim: Some(16),
        query_pre_attn_scalar: Some(16.0),
        sliding_window: Some(4),
        layer_types: layer_types.collect(),
        local_rope_theta: Some(10_000.0),
        rope_theta: 1e6,
        ..llama(64, 96)
    };
    let model = random(ModelConfig::Gpt(config));
    let (_folder, path, _) = written(&model, GgmlType::F32);
    let again = Model::load(&path, Device::Cpu, None).unwrap();
    let ids = inputs(&[3, 1, 4, 1, 5, 9, 2, 6]);
    let difference = distance(&model.logits(&ids).unwrap(), &again.logits(&ids).unwrap());
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn an_encoder_leaves_out_its_heads() {
    let model = random(ModelConfig::Bert(small_bert()));
    let (_folder, path, saved) = written(&model, GgmlType::F32);
    let names =
        |start: &str| model.parameters().iter().filter(|one| one.name.starts_with(start)).count();
    let heads = names("cls.") + names("bert.pooler.");
    assert!(heads > 0 && saved.left_out.len() == heads, "{:?}", saved.left_out);
    let file = GgufFile::open(&path).unwrap();
    assert!(file.get("blk.1.layer_output_norm.weight").is_some());
    assert_eq!(file.flag("bert.attention.causal").unwrap(), Some(false));
}

/// The rows of 48 have no blocks, and those of 96 no large ones.
#[test]
fn rows_that_no_block_divides_fall_back() {
    let saved = check_round_trip(llama(48, 96), GgmlType::Q4_K);
    let dtype = |name: &str| saved.fallbacks.iter().find(|entry| entry.0 == name).map(|e| e.1);
    assert_eq!(dtype("blk.0.attn_q.weight"), Some(GgmlType::F16));
    assert_eq!(dtype("blk.1.ffn_down.weight"), Some(GgmlType::Q5_0));
    assert_eq!(dtype("output.weight"), Some(GgmlType::F16));
    assert_eq!(dtype("output_norm.weight"), None);
    let saved = check_round_trip(llama(64, 96), GgmlType::Q4_0);
    assert_eq!(saved.fallbacks, []);
    assert!(saved.bytes * 8 > saved.numbers * 4 && saved.bytes * 8 < saved.numbers * 8);
}

#[test]
fn numbers_that_sixteen_bits_cannot_hold_stay_whole() {
    let model = random(ModelConfig::Gpt(llama(64, 96)));
    let up = model.parameters().iter().find(|parameter| parameter.name.contains("down")).unwrap();
    let _guard = idiolect_torch::NoGrad::new();
    let mut first = up.tensor.get(0).get(0);
    let _ = first.fill_(1e6);
    let (_folder, path, saved) = written(&model, GgmlType::F16);
    assert_eq!(saved.fallbacks, [("blk.0.ffn_down.weight".to_string(), GgmlType::F32)]);
    assert!(Model::load(&path, Device::Cpu, None).is_ok());
    let _ = first.fill_(f64::NAN);
    check_refused(&model, "`blk.0.ffn_down.weight` has a number that is not finite");
}

fn check_refused(model: &Model, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let on_tensor = &mut |_, _| ControlFlow::Continue(());
    let error = model.save_gguf(&path, GgmlType::Q8_0, &[], on_tensor).unwrap_err();
    assert!(matches!(error, Error::Gguf { .. }));
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_such_files_cannot_say_is_refused() {
    let check = |config: GptConfig, expected: &str| {
        check_refused(&random(ModelConfig::Gpt(config)), expected);
    };
    let depth = GptConfig { vocab_size: 64, context_length: 32, ..GptConfig::depth(1) };
    check(depth, "of the family nanochat, and written are llama, ");
    check(GptConfig { mlp: Mlp::GatedGelu, ..llama(64, 96) }, "its MLP is GatedGelu");
    let dynamic = RopeScaling::Dynamic { factor: 2.0, original_max_position_embeddings: 16 };
    check(GptConfig { rope_scaling: Some(dynamic), ..llama(64, 96) }, "dynamic");
    let labels = vec!["no".to_string(), "yes".to_string()];
    check(GptConfig { labels, ..llama(64, 96) }, "a classification head");
    let model = random(ModelConfig::Gpt(llama(64, 96)));
    let path = Path::new("/nowhere/x.gguf");
    let on_tensor = &mut |_, _| ControlFlow::Continue(());
    let error = model.save_gguf(path, GgmlType::Q6_K, &[], on_tensor).unwrap_err();
    assert!(error.to_string().contains("Q6_K is not a type that is written"), "{error}");
}

#[test]
fn breaking_off_leaves_nothing() {
    let model = random(ModelConfig::Gpt(llama(64, 96)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for last in [0, 7, 21] {
        let on_tensor = &mut |done: usize, all: usize| {
            assert_eq!(all, 21);
            if done == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let saved = model.save_gguf(&path, GgmlType::Q8_0, &[], on_tensor).unwrap();
        assert_eq!(saved, None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_sizes_come_back(
        (pairs, heads, kv_heads) in (1usize..9, 1usize..4, 1usize..3),
        wide in 1usize..80,
        dtype in 0usize..6,
        tie_embeddings: bool,
    ) {
        let config = GptConfig {
            n_heads: heads * kv_heads,
            n_kv_heads: Some(kv_heads),
            head_dim: Some(2 * pairs),
            tie_embeddings,
            ..llama(heads * kv_heads * 2 * pairs, wide)
        };
        prop_assert_eq!((config.norm, config.positions), (Norm::RmsNorm, Positions::Rotary));
        check_round_trip(config, GGUF_TYPES[dtype]);
    }
}
