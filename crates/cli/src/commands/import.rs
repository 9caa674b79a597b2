//! `idiolect import`: a GGUF file or a Hugging Face folder in, a model folder that Transformers opens out.

use std::path::Path;

use anyhow::{Context, Result, bail};
use idiolect_files::{AtomicFolder, write_atomic};
use idiolect_model::Model;
use idiolect_tokenizer::{Tokenizer, gguf_text};
use serde_json::json;

use super::{DONE, model_folder};
use crate::arguments::{Common, Import};
use crate::machine;
use crate::output::message;
use crate::stop::Stop;

/// What lies beside the weights of a folder and comes along as it is.
const ALONG: [&str; 5] = [
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "modules.json",
];

/// Reads `from`, and writes the folder `to` whole or not at all.
pub fn run(import: &Import, common: &Common, stop: &Stop) -> Result<u8> {
    write_folder(import, common, "Imported", stop)
}

/// The same, with a word for the model's card on what was `done`.
pub(super) fn write_folder(
    import: &Import,
    common: &Common,
    done: &str,
    stop: &Stop,
) -> Result<u8> {
    if import.to.exists() {
        bail!("{} is there already: name a new folder", import.to.display());
    }
    let from = model_folder::find(&import.from)?;
    let shown = from.display().to_string();
    let device = machine::prepare(common)?;
    let model = Model::load(&from, device, common.dtype.map(machine::kind))
        .with_context(|| format!("cannot load the model in {shown}"))?;
    // From here on a signal is heard between steps, so that nothing half written stays behind.
    stop.gracefully();
    let making = AtomicFolder::create(&import.to)?;
    model.save(making.path())?;
    match from.is_file() {
        true => texts_of_gguf(&from, making.path())?,
        false => texts_of_folder(&from, making.path())?,
    }
    let card = format!(
        "---\nlibrary_name: transformers\ntags:\n- idiolect\n---\n\n{done} by Idiolect {} from `{}`.\n",
        env!("CARGO_PKG_VERSION"),
        from.file_name().unwrap_or(from.as_os_str()).to_string_lossy(),
    );
    write_atomic(&making.path().join("README.md"), card.as_bytes())?;
    if stop.asked() {
        return Ok(stop.status());
    }
    making.commit()?;
    message(format!("{shown} is now {}", import.to.display()));
    Ok(DONE)
}

fn texts_of_gguf(file: &Path, to: &Path) -> Result<()> {
    Tokenizer::from_gguf(file)?.save_folder(to)?;
    let text = gguf_text(file)?;
    if let Some(template) = &text.chat_template {
        write_atomic(&to.join("chat_template.jinja"), template.as_bytes())?;
    }
    let generation = json!({"bos_token_id": text.bos_id, "eos_token_id": text.stop_ids});
    Ok(write_atomic(&to.join("generation_config.json"), format!("{generation:#}\n").as_bytes())?)
}

fn texts_of_folder(from: &Path, to: &Path) -> Result<()> {
    Tokenizer::from_folder(from)?.save_folder(to)?;
    for name in ALONG {
        let path = from.join(name);
        if path.is_file() {
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            write_atomic(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}
