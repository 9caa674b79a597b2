//! A GGUF file of any bytes in; whatever it says of itself is read.
#![no_main]

use idiolect_files::gguf::{GgufFile, GgufValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    idiolect_fuzz::with_file("x.gguf", bytes, |path| {
        let Ok(file) = GgufFile::open(path) else { return };
        for key in file.keys() {
            if let Some(GgufValue::Array(array)) = file.value(key) {
                assert_eq!(array.values().count(), array.len());
            }
        }
        for tensor in file.tensors() {
            assert!(file.get(&tensor.name).is_some());
        }
    });
});
