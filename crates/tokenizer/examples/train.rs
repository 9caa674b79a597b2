//! Trains a tokenizer: a configuration (JSON), a text file and a folder as arguments go in; the folder gets the files.
#![allow(clippy::print_stdout)]

use idiolect_tokenizer::{TrainConfig, train};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, config, text, folder] = arguments.as_slice() else {
        return Err("usage: train CONFIG TEXT FOLDER".into());
    };
    let config: TrainConfig = serde_json::from_str(config)?;
    let text = std::fs::read_to_string(text)?;
    let start = Instant::now();
    let tokenizer = train(std::iter::once(text), &config, &mut |step| println!("{step:?}"))?;
    println!("{tokenizer:?} in {:.2} s", start.elapsed().as_secs_f64());
    std::fs::create_dir_all(folder)?;
    tokenizer.save_folder(Path::new(folder))?;
    Ok(())
}
