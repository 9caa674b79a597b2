//! A model's folder in, whose configuration, index or weights have any bytes; it is loaded, or refused.
#![no_main]

use idiolect_model::Model;
use idiolect_model::tch::Device;
use libfuzzer_sys::fuzz_target;

const CONFIG: &[u8] = include_bytes!("../../crates/model/tests/fixtures/llama/config.json");
const WEIGHTS: &[u8] = include_bytes!("../../crates/model/tests/fixtures/llama/model.safetensors");

fuzz_target!(|input: (u8, &[u8])| {
    let (which, bytes) = input;
    let files: &[(&str, &[u8])] = match which % 3 {
        0 => &[("config.json", bytes), ("model.safetensors", WEIGHTS)],
        1 => &[("config.json", CONFIG), ("model.safetensors", bytes)],
        _ => &[("config.json", CONFIG), ("model.safetensors.index.json", bytes)],
    };
    idiolect_fuzz::with_folder(files, |folder| {
        let _ = Model::load(folder, Device::Cpu, None);
    });
});
