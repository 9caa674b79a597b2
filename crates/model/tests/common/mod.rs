//! What several tests need: small models of each layout, and tensors read from files.
#![allow(dead_code)] // Each test target uses a part.

use idiolect_files::safetensors::{Dtype, SafetensorsFile};
use idiolect_model::tch::{Device, Kind, Tensor};
use idiolect_model::{
    BertConfig, GptConfig, Inputs, LayerType, Mlp, Model, ModelConfig, Norm, Positions,
};
use std::path::Path;

/// Where the tests run: `IDIOLECT_TEST_DEVICE=cuda` is what `cargo xtask test --device cuda` sets.
pub fn device() -> Device {
    match std::env::var("IDIOLECT_TEST_DEVICE").as_deref() {
        Ok("cuda") => Device::Cuda(0),
        _ => Device::Cpu,
    }
}

/// A small configuration of each layout.
pub fn small_gpts() -> Vec<GptConfig> {
    let small = |config: GptConfig| GptConfig {
        vocab_size: 23,
        context_length: 16,
        hidden_size: 16,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: config.n_kv_heads.map(|_| 2),
        ..config
    };
    vec![
        small(GptConfig::gpt2()),
        GptConfig { tie_embeddings: true, attention_bias: true, ..small(GptConfig::llama_small()) },
        GptConfig { head_dim: Some(6), mlp: Mlp::GatedGelu, ..small(GptConfig::qwen3_small()) },
        GptConfig { n_kv_heads: Some(1), ..small(GptConfig::depth(1)) },
        gemma(small(GptConfig::llama_small())),
        // GPT-NeoX.
        GptConfig {
            positions: Positions::Rotary,
            partial_rotary_factor: 0.5,
            parallel_residual: true,
            tie_embeddings: false,
            ..small(GptConfig::gpt2())
        },
    ]
}

/// Gemma 2: a window, bent scores, norms around each half.
fn gemma(config: GptConfig) -> GptConfig {
    GptConfig {
        norm: Norm::RmsNormOffset,
        mlp: Mlp::GatedGeluTanh,
        post_norm: true,
        scale_embeddings: true,
        tie_embeddings: true,
        head_dim: Some(6),
        query_pre_attn_scalar: Some(10.0),
        attention_softcap: Some(2.0),
        logit_softcap: Some(3.0),
        sliding_window: Some(5),
        layer_types: vec![LayerType::SlidingAttention, LayerType::FullAttention],
        norm_epsilon: 1e-6,
        ..config
    }
}

/// BERT, and ModernBERT with a window that is shorter than the context.
pub fn small_berts() -> Vec<BertConfig> {
    let modern = BertConfig {
        local_attention: Some(4),
        layer_types: vec![LayerType::FullAttention, LayerType::SlidingAttention],
        vocab_size: 23,
        context_length: 16,
        hidden_size: 16,
        n_layers: 2,
        n_heads: 4,
        ..BertConfig::modern_mini()
    };
    vec![small_bert(), modern]
}

pub fn small_bert() -> BertConfig {
    BertConfig {
        vocab_size: 23,
        context_length: 16,
        hidden_size: 16,
        n_layers: 2,
        n_heads: 4,
        ..BertConfig::base()
    }
}

/// A model whose every weight is random: the published initialisation has zeros and ones.
pub fn random(config: ModelConfig) -> Model {
    idiolect_torch::set_threads(1); // These are too small for more.
    let model = Model::new(&config, 5, device()).unwrap();
    let _guard = idiolect_torch::NoGrad::new();
    for (index, parameter) in model.parameters().iter().enumerate() {
        let mut tensor = parameter.tensor.shallow_clone();
        let angles = Tensor::arange(tensor.numel() as i64, (Kind::Float, tensor.device()));
        let noise = ((angles + index as f64 * 7.0) * 12.9898).sin() * 43758.547;
        let noise = (&noise - noise.floor() - 0.5).reshape(tensor.size());
        let shift = if parameter.name.contains("norm") || parameter.name.contains("Norm.w") {
            1.0
        } else {
            0.0
        };
        tensor.copy_(&(noise * 0.8 + shift));
    }
    model
}

pub fn row(ids: &[i64]) -> Tensor {
    Tensor::from_slice(ids).unsqueeze(0).to_device(device())
}

pub fn inputs(ids: &[i64]) -> Inputs {
    Inputs::new(row(ids))
}

/// The largest absolute difference.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// A tensor of a file, if it is there.
pub fn read(file: &SafetensorsFile, name: &str) -> Option<Tensor> {
    let (info, bytes) = file.get(name)?;
    let shape: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
    let kind = match info.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::I64 => Kind::Int64,
        other => panic!("{other:?}"),
    };
    Some(Tensor::from_data_size(bytes, &shape, kind).to_device(device()))
}

pub fn open(path: &Path) -> SafetensorsFile {
    SafetensorsFile::open(path).unwrap()
}
