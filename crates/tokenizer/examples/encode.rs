//! Encodes lines: a tokenizer folder as argument and JSON strings on standard input go in; ids, tokens and offsets come
//! out, a JSON object a line. `tests/fixtures/compare.py` compares them with Transformers.
#![allow(clippy::print_stdout)]

use idiolect_tokenizer::{Special, Tokenizer};
use serde_json::json;
use std::io::BufRead;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("the folder of a tokenizer is missing")?;
    let tokenizer = Tokenizer::from_folder(Path::new(&folder))?;
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let encoding = tokenizer.encode_with_offsets(&text, Special::Add);
        let offsets: Vec<_> = encoding.offsets.iter().map(|r| [r.start, r.end]).collect();
        let (added, plain) = (tokenizer.encode(&text), tokenizer.encode_ordinary(&text));
        println!(
            "{}",
            json!({
                "ids": added, "ordinary": plain, "offsets": offsets, "words": encoding.words,
                "with_offsets": encoding.ids,
                "decoded": tokenizer.decode(&added, false)?, "skipped": tokenizer.decode(&added, true)?,
            })
        );
    }
    Ok(())
}
