//! `idiolect predict`: texts in, their labels with probabilities out.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::{DONE, model_folder};
use crate::arguments::{Common, Predict};
use crate::output::{Output, in_chunks, message, texts};

/// Texts that are classified before the first is printed.
const AT_ONCE: usize = 1024;

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    label: &'a str,
    probabilities: BTreeMap<&'a str, f32>,
}

/// Classifies each text.
pub fn run(predict: Predict, common: &Common, output: Output) -> Result<u8> {
    let backend = model_folder::load(&predict.model, common, None)?;
    let labels = backend.labels();
    in_chunks(texts(predict.text), AT_ONCE, |texts| {
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (found, cut) = backend.classify(&borrowed)?;
        if cut > 0 {
            let most = backend.config().context_length();
            message(format!("{cut} texts are longer than {most} tokens and lost their end"));
        }
        for (text, found) in borrowed.iter().zip(&found) {
            let names = labels.iter().map(String::as_str);
            let probabilities = names.zip(found.probabilities.iter().copied()).collect();
            output.result(&Line { text, label: &found.label, probabilities }, for_people)?;
        }
        Ok(())
    })?;
    Ok(DONE)
}

fn for_people(line: &Line<'_>) -> String {
    let probability = line.probabilities.get(line.label).copied().unwrap_or_default();
    format!("{} {:.1} %  {}", line.label, probability * 100.0, line.text)
}
