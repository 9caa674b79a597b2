//! Saves a small random model of every layout, and each model of `tests/fixtures`, which has every family, under a folder, with
//! logits beside it, for `tests/open_in_transformers.py`.

use idiolect_files::safetensors::{Dtype, SafetensorsWriter};
use idiolect_model::tch::{Device, Kind, Tensor};
use idiolect_model::{BertConfig, GptConfig, Inputs, Mlp, Model, ModelConfig};
use std::collections::BTreeMap;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args().nth(1).ok_or("usage: save_all FOLDER")?;
    let gpt = |config: GptConfig| {
        ModelConfig::Gpt(GptConfig { vocab_size: 101, context_length: 32, n_layers: 3, ..config })
    };
    let layouts = [
        ("gpt2", gpt(GptConfig::tiny())),
        (
            "gpt2-untied",
            gpt(GptConfig { tie_embeddings: false, mlp: Mlp::SquaredRelu, ..GptConfig::tiny() }),
        ),
        ("llama", gpt(GptConfig::llama_small())),
        (
            "llama-tied",
            gpt(GptConfig { tie_embeddings: true, mlp_bias: true, ..GptConfig::llama_small() }),
        ),
        (
            "qwen3",
            gpt(GptConfig { head_dim: Some(32), rope_theta: 500.0, ..GptConfig::qwen3_small() }),
        ),
        ("nanochat", gpt(GptConfig::depth(3))),
        (
            "nanochat-tied",
            gpt(GptConfig {
                tie_embeddings: true,
                logit_softcap: None,
                n_kv_heads: Some(1),
                ..GptConfig::depth(3)
            }),
        ),
        (
            "bert",
            ModelConfig::Bert(BertConfig {
                vocab_size: 101,
                context_length: 32,
                ..BertConfig::tiny()
            }),
        ),
    ];
    for (name, config) in layouts {
        save(&Path::new(&out).join(name), &random(&config)?)?;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for entry in std::fs::read_dir(fixtures)? {
        let folder = entry?.path();
        if let (true, Some(name)) = (folder.join("config.json").exists(), folder.file_name()) {
            let again = Path::new(&out).join(format!("fixture-{}", name.display()));
            save(&again, &Model::load(&folder, Device::Cpu, None)?)?;
        }
    }
    Ok(())
}

fn random(config: &ModelConfig) -> Result<Model, Box<dyn std::error::Error>> {
    let model = Model::new(config, 1, Device::Cpu)?;
    let _guard = idiolect_torch::NoGrad::new();
    for parameter in model.parameters() {
        // Far from the start: nothing is zero, nothing symmetric.
        let noise =
            parameter.tensor.randn_like() * if parameter.tensor.dim() == 1 { 0.1 } else { 0.05 };
        let moved = &parameter.tensor + noise;
        parameter.tensor.shallow_clone().copy_(&moved);
    }
    Ok(model)
}

fn save(folder: &Path, model: &Model) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    model.save(folder)?;
    let config = model.config();
    let size = [2, config.context_length().min(32) as i64];
    // Low ids are padding in some families.
    let ids = Tensor::randint_low(4, config.vocab_size() as i64, size, (Kind::Int64, Device::Cpu));
    let inputs = Inputs::new(ids.shallow_clone());
    let _guard = idiolect_torch::NoGrad::new();
    let logits = match config.labels().is_empty() {
        true => model.logits(&inputs)?,
        false => model.classify(&inputs)?,
    };
    let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect();
    let layout = [
        ("ids".to_string(), Dtype::I64, shape(&ids)),
        ("logits".to_string(), Dtype::F32, shape(&logits)),
    ];
    let path = folder.join("expected.safetensors");
    let mut writer = SafetensorsWriter::create(&path, &layout, &BTreeMap::new())?;
    for tensor in [ids, logits] {
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.contiguous().copy_data_u8(&mut bytes, tensor.numel());
        writer.write_tensor(&bytes)?;
    }
    writer.finish()?;
    Ok(())
}
