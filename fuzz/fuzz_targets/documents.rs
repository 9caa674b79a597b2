//! A file of documents of any bytes in, plain, gzip or Zstandard; every document is read.
#![no_main]

use idiolect_dataset::{documents, read_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let name = ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst"][usize::from(kind) % 3];
    idiolect_fuzz::with_file(name, bytes, |path| {
        if let Ok(documents) = documents(path) {
            // Whatever comes after a damaged place is not asked for.
            documents.take_while(Result::is_ok).for_each(drop);
        }
        let _ = read_text(path);
    });
});
