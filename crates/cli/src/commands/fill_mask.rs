//! `idiolect fill-mask`: texts with masks in, the likeliest tokens at each mask out.

use anyhow::Result;
use idiolect_prompting::Prediction;
use serde::Serialize;

use super::{DONE, model_folder};
use crate::arguments::{Common, FillMask};
use crate::output::{Output, texts};

#[derive(Serialize)]
struct Line {
    text: String,
    /// One list a mask, always nested.
    predictions: Vec<Vec<Prediction>>,
}

/// Fills in the masks of each text.
pub fn run(fill_mask: FillMask, common: &Common, output: Output) -> Result<u8> {
    let backend = model_folder::load(&fill_mask.model, common, None)?;
    for text in texts(fill_mask.text) {
        let text = text?;
        let predictions = backend.fill_mask(&text, fill_mask.top_k as usize)?;
        output.result(&Line { text, predictions }, for_people)?;
    }
    Ok(DONE)
}

fn for_people(line: &Line) -> String {
    let word = |found: &Prediction| format!("{} {:.1} %", found.token, found.probability * 100.0);
    let masks = line.predictions.iter().map(|mask| {
        let words: Vec<String> = mask.iter().map(word).collect();
        format!("\n  {}", words.join(", "))
    });
    line.text.clone() + &masks.collect::<String>()
}
