//! GGUF files: blocks dequantised to the bit, and a model that is the same as in Hugging Face's layout.

mod common;

use common::*;
use idiolect_files::gguf::{GgmlType, GgufFile, GgufWriter, MetadataValue};
use idiolect_files::safetensors::{Dtype, SafetensorsFile, SafetensorsWriter};
use idiolect_model::tch::Device;
use idiolect_model::{GptConfig, Model, ModelConfig, Quantize};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn a_file_is_the_model_of_its_folder() {
    let folder = Model::load(&fixture("llama"), Device::Cpu, None).unwrap();
    let file = Model::load(&fixture("tiny.gguf"), Device::Cpu, None).unwrap();
    let (a, b) = (folder.config(), file.config());
    assert_eq!((a.vocab_size(), a.context_length()), (b.vocab_size(), b.context_length()));
    let ids = inputs(&[3, 1, 4, 1, 5, 9, 2, 6]);
    let difference = distance(&folder.logits(&ids).unwrap(), &file.logits(&ids).unwrap());
    assert!(difference < 1e-6, "{difference}");
    let saved = tempfile::tempdir().unwrap();
    file.save(saved.path()).unwrap();
    let again = Model::load(saved.path(), Device::Cpu, None).unwrap();
    assert_eq!(distance(&again.logits(&ids).unwrap(), &file.logits(&ids).unwrap()), 0.0);
}

/// Each family's file, laid out as llama.cpp's converter does, against the folder that its weights came from.
#[test]
fn every_architecture_is_the_model_of_its_folder() {
    let _guard = idiolect_torch::NoGrad::new();
    for name in ["gpt2", "gpt_neox", "bert", "llama3", "gemma2", "llama-yarn"] {
        let folder = Model::load(&fixture(name), Device::Cpu, None).unwrap();
        let path = fixture(&format!("{name}.gguf"));
        let file = Model::load(&path, Device::Cpu, None).unwrap();
        let ids = inputs(&[3, 1, 4, 1, 5, 9, 2, 6]);
        let states = |model: &Model| model.hidden_states(&ids).unwrap();
        let difference = distance(&states(&folder), &states(&file));
        assert!(difference < 1e-5, "{name} {difference}");
        if name != "bert" {
            let difference = distance(&folder.logits(&ids).unwrap(), &file.logits(&ids).unwrap());
            assert!(difference < 1e-5, "{name} {difference}");
        }
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len() - 40).step_by(bytes.len() / 24) {
            let cut = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(cut.path(), &bytes[..length]).unwrap();
            assert!(Model::load(cut.path(), Device::Cpu, None).is_err(), "{name} {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Bytes of the header, where sizes and names are, changed at random: a model or an error, never a panic.
    #[test]
    fn changed_files_of_every_architecture_end_in_an_error_or_a_model(
        family in 0usize..6,
        changes in proptest::collection::vec((0usize..2600, any::<u8>()), 1..4),
    ) {
        let name = ["gpt2", "gpt_neox", "bert", "llama3", "gemma2", "llama-yarn"][family];
        let mut bytes = std::fs::read(fixture(&format!("{name}.gguf"))).unwrap();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let _ = Model::load(file.path(), Device::Cpu, None);
        let _ = Model::load_packed(file.path(), Quantize::Int8);
    }
}

/// A file with the values of the fixture `tiny.gguf`, its tensors as `change` leaves them.
fn changed(
    change: impl Fn(
        &mut Vec<(String, MetadataValue)>,
        &mut Vec<(String, GgmlType, Vec<usize>, Vec<u8>)>,
    ),
) -> String {
    let file = GgufFile::open(&fixture("tiny.gguf")).unwrap();
    let mut metadata: Vec<(String, MetadataValue)> = file
        .keys()
        .map(|key| {
            let value = match (file.text(key), file.integer(key), file.number(key)) {
                (Ok(Some(text)), ..) => MetadataValue::Text(text.into()),
                (_, Ok(Some(count)), _) => MetadataValue::U32(count as u32),
                (.., Ok(Some(number))) => MetadataValue::F32(number as f32),
                _ => panic!("{key}"),
            };
            (key.to_string(), value)
        })
        .collect();
    let mut tensors: Vec<_> = file
        .tensors()
        .iter()
        .map(|tensor| {
            let bytes = file.get(&tensor.name).unwrap().1.to_vec();
            (tensor.name.clone(), tensor.dtype, tensor.shape.clone(), bytes)
        })
        .collect();
    change(&mut metadata, &mut tensors);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    let layout: Vec<_> = tensors.iter().map(|one| (one.0.clone(), one.1, one.2.clone())).collect();
    let mut writer = GgufWriter::create(&path, &metadata, &layout).unwrap();
    tensors.iter().for_each(|tensor| writer.write_tensor(&tensor.3).unwrap());
    writer.finish().unwrap();
    match Model::load(&path, Device::Cpu, None) {
        Ok(_) => "loads".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_model_is_told() {
    let check = |text: String, expected: &str| assert!(text.contains(expected), "{text}");
    check(changed(|_, _| ()), "loads");
    let set = |key: &'static str, value: MetadataValue| {
        changed(move |metadata, _| {
            metadata.retain(|entry| entry.0 != key);
            metadata.push((key.into(), value.clone()));
        })
    };
    check(
        set("general.architecture", MetadataValue::Text("mamba".into())),
        "general.architecture is \"mamba\", known are llama",
    );
    check(set("llama.expert_count", MetadataValue::U32(8)), "mixtures of experts");
    // A window makes it a Mistral, which has no biases.
    check(set("llama.attention.sliding_window", MetadataValue::U32(9)), "belongs to no layer");
    check(set("llama.rope.scaling.type", MetadataValue::Text("yarn".into())), "loads");
    check(set("llama.rope.dimension_count", MetadataValue::U32(4)), "the width of a head");
    check(set("llama.rope.scaling.type", MetadataValue::Text("x".into())), "known are none");
    check(set("llama.attention.head_count", MetadataValue::U32(8)), "rows");
    check(set("llama.block_count", MetadataValue::U32(3)), "is missing");
    check(set("llama.block_count", MetadataValue::U32(1)), "belongs to no layer");
    check(set("llama.embedding_length", MetadataValue::U32(8)), "is of shape");
    let without = |key: &'static str| changed(move |metadata, _| metadata.retain(|e| e.0 != key));
    check(without("general.architecture"), "general.architecture is missing");
    check(without("llama.block_count"), "llama.block_count is missing");
    let renamed = |_: &mut Vec<_>, tensors: &mut Vec<(String, _, _, _)>| {
        tensors[0].0 = "blk.0.ssm_a".into();
    };
    check(changed(renamed), "belongs to no layer");
}

/// 32 numbers as a block of Q8_0, and as the numbers it then stands for.
fn q8_0(numbers: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let largest = numbers.iter().fold(0f32, |most, number| most.max(number.abs()));
    let scale = half::f16::from_f32(largest / 127.0);
    let quants = numbers.iter().map(|number| (number / scale.to_f32()).round() as i8);
    let mut block = scale.to_le_bytes().to_vec();
    block.extend(quants.clone().map(|quant| quant as u8));
    (block, quants.map(|quant| scale.to_f32() * f32::from(quant)).collect())
}

/// Writes a Llama as converters do: matrices in Q8_0, the halves of queries and keys alternating. Gives the file, and a folder of
/// what its blocks stand for.
fn quantised(place: &Path) -> (PathBuf, PathBuf) {
    let config = GptConfig {
        vocab_size: 90,
        context_length: 64,
        hidden_size: 96,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: Some(2),
        head_dim: Some(32),
        intermediate_size: Some(64),
        ..GptConfig::llama_small()
    };
    let folder = place.join("folder");
    std::fs::create_dir(&folder).unwrap();
    let model = Model::new(&ModelConfig::Gpt(config), 3, Device::Cpu).unwrap();
    model.save(&folder).unwrap();
    let weights = SafetensorsFile::open(&folder.join("model.safetensors")).unwrap();
    let (mut layout, mut data, mut rounded) = (Vec::new(), Vec::new(), Vec::new());
    for tensor in weights.tensors() {
        let bytes = weights.get(&tensor.name).unwrap().1;
        let numbers: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        let name = ggml_name(&tensor.name);
        let [rows, columns] = tensor.shape[..] else {
            layout.push((name, GgmlType::F32, tensor.shape.clone()));
            data.push(bytes.to_vec());
            rounded.push(numbers);
            continue;
        };
        let blocks: Vec<_> = numbers.chunks(32).map(q8_0).collect();
        let of_row = |row: usize| {
            blocks[row * columns / 32..(row + 1) * columns / 32].iter().flat_map(|block| &block.0)
        };
        let turned = name.contains("attn_q.") || name.contains("attn_k.");
        let place = |row: usize| match turned {
            true => row / 32 * 32 + row % 2 * 16 + row % 32 / 2,
            false => row,
        };
        data.push((0..rows).flat_map(|row| of_row(place(row))).copied().collect());
        layout.push((name, GgmlType::Q8_0, tensor.shape.clone()));
        rounded.push(blocks.iter().flat_map(|block| block.1.clone()).collect());
    }
    let plain: Vec<_> = weights
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), Dtype::F32, tensor.shape.clone()))
        .collect();
    let path = folder.join("rounded.safetensors");
    let mut writer = SafetensorsWriter::create(&path, &plain, &Default::default()).unwrap();
    for numbers in rounded {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        writer.write_tensor(&bytes).unwrap();
    }
    writer.finish().unwrap();
    std::fs::rename(path, folder.join("model.safetensors")).unwrap();
    let file = place.join("model.gguf");
    let mut writer = GgufWriter::create(&file, &llama_metadata(), &layout).unwrap();
    data.iter().for_each(|bytes| writer.write_tensor(bytes).unwrap());
    writer.finish().unwrap();
    (file, folder)
}

fn ggml_name(name: &str) -> String {
    let pairs = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    pairs.iter().fold(name.to_string(), |name, (from, to)| name.replace(from, to))
}

fn llama_metadata() -> Vec<(String, MetadataValue)> {
    let counts = [
        ("vocab_size", 90),
        ("context_length", 64),
        ("embedding_length", 96),
        ("block_count", 2),
        ("feed_forward_length", 64),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("attention.key_length", 32),
        ("rope.dimension_count", 32),
    ];
    let mut metadata =
        vec![("general.architecture".to_string(), MetadataValue::Text("llama".into()))];
    let epsilon = GptConfig::llama_small().norm_epsilon as f32;
    metadata
        .push(("llama.attention.layer_norm_rms_epsilon".to_string(), MetadataValue::F32(epsilon)));
    metadata.extend(
        counts.iter().map(|(key, count)| (format!("llama.{key}"), MetadataValue::U32(*count))),
    );
    metadata
}

#[test]
fn blocks_taken_as_they_are_give_the_model_that_they_stand_for() {
    let place = tempfile::tempdir().unwrap();
    let (file, folder) = quantised(place.path());
    let ids = inputs(&[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]);
    let expected = Model::load(&folder, Device::Cpu, None).unwrap().logits(&ids).unwrap();
    let full = Model::load(&file, Device::Cpu, None).unwrap().logits(&ids).unwrap();
    assert!(distance(&full, &expected) < 1e-5, "{}", distance(&full, &expected));
    let spread = expected.std(false).double_value(&[]);
    let rounding = |model: Model| distance(&model.logits(&ids).unwrap(), &expected) / spread;
    // What is left is the rounding of the products' inputs.
    let taken = rounding(Model::load_packed(&file, Quantize::Int8).unwrap());
    assert!(taken < 0.1, "{taken}");
    let four = rounding(Model::load_packed(&file, Quantize::Int4).unwrap());
    assert!(four > taken && four < 1.0, "{four}");
}
