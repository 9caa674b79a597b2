//! `idiolect export`: a model in; a GGUF file that llama.cpp runs, or a folder that Transformers opens, out.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, bail};
use idiolect_files::gguf::{GgmlType, GgufFile, MetadataValue};
use idiolect_model::{GgufSaved, Model};
use idiolect_tokenizer::{GgufExtras, Tokenizer, gguf_text};
use serde_json::Value;

use super::import::write_folder;
use super::{DONE, model_folder};
use crate::arguments::{Common, Export, GgufType, Import};
use crate::machine;
use crate::output::{message, usage};
use crate::progress::Progress;
use crate::stop::Stop;

/// The key of a BERT's pooling.
const POOLING: &str = "bert.pooling_type";

/// Writes `to` whole or not at all: a GGUF file where it is named so, or else a folder.
pub fn run(export: &Export, common: &Common, stop: &Stop) -> Result<u8> {
    let is_gguf = export.to.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    match (is_gguf, export.gguf_type) {
        (false, Some(_)) => Err(usage("--type is for GGUF files: let TO end in .gguf")),
        (false, None) => {
            let (from, to) = (export.from.clone(), export.to.clone());
            write_folder(&Import { from, to }, common, "Exported", stop)
        }
        (true, _) if common.dtype.is_some() => {
            Err(usage("--dtype is for folders: --type sets the numbers of a GGUF file"))
        }
        (true, chosen) => write_gguf(export, chosen.unwrap_or(GgufType::F16), common, stop),
    }
}

fn write_gguf(export: &Export, chosen: GgufType, common: &Common, stop: &Stop) -> Result<u8> {
    if export.to.exists() {
        bail!("{} is there already: name a new file", export.to.display());
    }
    let from = model_folder::find(&export.from)?;
    let shown = from.display().to_string();
    let device = machine::prepare(common)?;
    let model = Model::load(&from, device, None)
        .with_context(|| format!("cannot load the model in {shown}"))?;
    let mut metadata = vec![("general.name".to_string(), MetadataValue::Text(name_of(&from)))];
    metadata.extend(texts(&from, model.config().vocab_size())?);
    metadata.extend(pooling(&from)?);
    stop.gracefully();
    let mut progress = Progress::new("writing tensors");
    let saved = model.save_gguf(&export.to, kind(chosen), &metadata, &mut |done, all| {
        progress.update(done as u64, Some(all as u64), "");
        if stop.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let Some(saved) = saved else { return Ok(stop.status()) };
    progress.finish(&words(&saved));
    report(&saved);
    message(format!("{shown} is now {}", export.to.display()));
    Ok(DONE)
}

/// What the folder, or the GGUF file, says of texts.
fn texts(from: &Path, vocab_size: usize) -> Result<Vec<(String, MetadataValue)>> {
    let (tokenizer, template, stop_ids) = if from.is_file() {
        let text = gguf_text(from)?;
        (Tokenizer::from_gguf(from)?, text.chat_template, text.stop_ids)
    } else {
        let tokenizer = Tokenizer::from_folder(from).context(
            "a GGUF file has its tokenizer inside, and that of the model cannot be read",
        )?;
        (tokenizer, chat_template(from)?, stop_ids(from)?)
    };
    if stop_ids.len() > 3 {
        message(format!("of the {} ids that end a text, three find a place", stop_ids.len()));
    }
    let extras = GgufExtras { vocab_size, stop_ids: &stop_ids, chat_template: template.as_deref() };
    Ok(tokenizer.to_gguf(&extras)?)
}

/// What becomes of an encoder's hidden states: as the file has it, or sentence-transformers beside the model.
fn pooling(from: &Path) -> Result<Option<(String, MetadataValue)>> {
    let entry = |kind| (POOLING.to_owned(), MetadataValue::U32(kind));
    if from.is_file() {
        let kind = GgufFile::open(from)?.integer(POOLING)?;
        return Ok(kind.and_then(|kind| u32::try_from(kind).ok()).map(entry));
    }
    let config = json(&from.join("1_Pooling").join("config.json"))?;
    // llama.cpp's `llama_pooling_type`.
    let known = [("mean_tokens", 1), ("cls_token", 2), ("lasttoken", 3)];
    let is_set = |name: &str| config[format!("pooling_mode_{name}")] == true;
    let found = known.iter().find(|known| is_set(known.0));
    Ok(found.map(|known| entry(known.1)))
}

/// The chat template of a folder: a file of its own, or a key of `tokenizer_config.json`.
fn chat_template(folder: &Path) -> Result<Option<String>> {
    if let Some(template) = read(&folder.join("chat_template.jinja"))? {
        return Ok(Some(template));
    }
    let config = json(&folder.join("tokenizer_config.json"))?;
    // A text, or a list of named ones.
    let mut named = config["chat_template"].as_array().into_iter().flatten();
    let default = named.find(|one| one["name"] == "default");
    let source = default.map_or(&config["chat_template"], |one| &one["template"]);
    Ok(source.as_str().map(str::to_owned))
}

/// The ids that end a text, as `generation_config.json` has them.
fn stop_ids(folder: &Path) -> Result<Vec<u32>> {
    let config = json(&folder.join("generation_config.json"))?;
    let ids = match &config["eos_token_id"] {
        Value::Array(ids) => ids.iter().collect(),
        Value::Null => Vec::new(),
        id => vec![id],
    };
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = ids.into_iter().map(id).collect();
    ids.with_context(|| {
        format!("{}: `eos_token_id` is no id", folder.join("generation_config.json").display())
    })
}

/// The JSON of a file, or null where there is none.
fn json(path: &Path) -> Result<Value> {
    let Some(text) = read(path)? else { return Ok(Value::Null) };
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn kind(chosen: GgufType) -> GgmlType {
    match chosen {
        GgufType::F32 => GgmlType::F32,
        GgufType::F16 => GgmlType::F16,
        GgufType::Bf16 => GgmlType::BF16,
        GgufType::Q8_0 => GgmlType::Q8_0,
        GgufType::Q4_0 => GgmlType::Q4_0,
        GgufType::Q4_K => GgmlType::Q4_K,
    }
}

fn words(saved: &GgufSaved) -> String {
    let megabytes = saved.bytes as f64 / 1e6;
    let bits = saved.bytes as f64 * 8.0 / saved.numbers.max(1) as f64;
    format!("{megabytes:.1} MB, {bits:.2} bits a number")
}

/// Tells what is not as it was asked for.
fn report(saved: &GgufSaved) {
    let mut types: Vec<GgmlType> = saved.fallbacks.iter().map(|fallback| fallback.1).collect();
    types.sort_unstable();
    types.dedup();
    for dtype in types {
        let names = saved.fallbacks.iter().filter(|fallback| fallback.1 == dtype);
        let names: Vec<&str> = names.map(|fallback| fallback.0.as_str()).collect();
        message(format!(
            "as {}, because blocks of the type do not divide their rows or it cannot hold their numbers: {}",
            dtype.as_str(),
            some(&names)
        ));
    }
    if !saved.left_out.is_empty() {
        let names: Vec<&str> = saved.left_out.iter().map(String::as_str).collect();
        message(format!("left out, because such files have no place for them: {}", some(&names)));
    }
}

/// The first few of many.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The name of a model's folder, or that of the run which made it.
fn name_of(from: &Path) -> String {
    let whole = from.canonicalize().unwrap_or_else(|_| from.to_owned());
    let name = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let own = name(&whole).filter(|name| name != "model");
    own.or_else(|| name(whole.parent()?)).unwrap_or_else(|| "model".to_owned())
}
