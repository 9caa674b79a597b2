//! A `tokenizer.json` of any text in; a tokenizer encodes and decodes with what it gave.
#![no_main]

use idiolect_tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(tokenizer) = Tokenizer::from_json(text) else { return };
    let ids = tokenizer.encode(" Hello, wörld! 123 <unk>[CLS]");
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
    assert!(tokenizer.decode(&ids, false).is_ok());
    assert!(Tokenizer::from_json(&tokenizer.to_json()).is_ok());
});
