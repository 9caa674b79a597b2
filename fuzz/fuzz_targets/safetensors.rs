//! A safetensors file of any bytes in; every tensor that it says to have is read.
#![no_main]

use idiolect_files::safetensors::SafetensorsFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    idiolect_fuzz::with_file("x.safetensors", bytes, |path| {
        let Ok(file) = SafetensorsFile::open(path) else { return };
        for tensor in file.tensors() {
            assert!(file.get(&tensor.name).is_some());
        }
    });
});
