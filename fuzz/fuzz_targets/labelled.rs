//! A table of labelled rows of any bytes in, CSV, TSV or JSONL; its rows are read.
#![no_main]

use idiolect_dataset::{LabelledConfig, read_labelled};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let name = ["x.csv", "x.tsv", "x.jsonl"][usize::from(kind) % 3];
    idiolect_fuzz::with_file(name, bytes, |path| {
        let _ = read_labelled(path, &LabelledConfig::default());
    });
});
