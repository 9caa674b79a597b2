//! A model folder or a GGUF file in; the ids that end a text out.

use std::path::Path;

use idiolect_tokenizer::{Tokenizer, gguf_text};
use serde::Deserialize;

use crate::{Error, Result};

/// The ids that end a text: the tokenizer's, and those of the GGUF file or of `generation_config.json` if there is one.
pub(super) fn stop_ids(place: &Path, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let mut ids: Vec<u32> = tokenizer.eos_id().into_iter().collect();
    ids.extend(match place.is_file() {
        true => gguf_text(place)?.stop_ids,
        false => of_folder(place)?,
    });
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn of_folder(folder: &Path) -> Result<Vec<u32>> {
    #[derive(Deserialize)]
    struct File {
        eos_token_id: Option<Ids>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        One(u32),
        Several(Vec<u32>),
    }
    let path = folder.join("generation_config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Read { path, source }),
    };
    let file: File = serde_json::from_str(&text).map_err(|source| Error::Json { path, source })?;
    Ok(match file.eos_token_id {
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Several(ids)) => ids,
        None => Vec::new(),
    })
}
