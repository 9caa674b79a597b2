//! A GGUF file of any bytes in; the tokenizer inside, if there is one, encodes and decodes.
#![no_main]

use idiolect_tokenizer::{Tokenizer, gguf_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    idiolect_fuzz::with_file("x.gguf", bytes, |path| {
        let _ = gguf_text(path);
        let Ok(tokenizer) = Tokenizer::from_gguf(path) else { return };
        let ids = tokenizer.encode(" the cät 12 <|endoftext|>");
        assert!(tokenizer.decode(&ids, false).is_ok());
    });
});
