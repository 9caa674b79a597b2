//! A GGUF file of any bytes in; it is loaded as a model, or refused.
#![no_main]

use idiolect_model::Model;
use idiolect_model::tch::Device;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    idiolect_fuzz::with_file("x.gguf", bytes, |path| {
        let _ = Model::load(path, Device::Cpu, None);
    });
});
