//! GGUF files: blocks dequantised to the bit, and a model that is the same as in Hugging Face's layout.

mod common;

use common::*;
use idiolect_files::gguf::{GgmlType, GgufFile, GgufWriter, MetadataValue};
use idiolect_model::Model;
use idiolect_model::tch::Device;
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
    check(set("llama.attention.sliding_window", MetadataValue::U32(9)), "windows are not");
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
