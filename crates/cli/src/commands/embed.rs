//! `idiolect embed`: texts in, a vector for each out.

use anyhow::Result;
use idiolect_prompting::{EmbedConfig, LocalBackend, Pooling};
use serde::Serialize;

use super::{DONE, model_folder};
use crate::arguments::{Common, Embed, PoolingArgument};
use crate::output::{Output, in_chunks, message, texts};

/// Texts that are embedded before the first is printed.
const AT_ONCE: usize = 1024;

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    embedding: &'a [f32],
}

/// Embeds each text.
pub fn run(embed: Embed, common: &Common, output: Output) -> Result<u8> {
    let backend = model_folder::load(&embed.model, common, None)?;
    let config = config(&embed, &backend);
    in_chunks(texts(embed.text), AT_ONCE, |texts| {
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embeddings = backend.embed_with(&borrowed, config)?;
        if embeddings.cut > 0 {
            let most = backend.config().context_length();
            message(format!(
                "{} texts are longer than {most} tokens and lost their end",
                embeddings.cut
            ));
        }
        for (text, embedding) in borrowed.iter().zip(&embeddings.vectors) {
            output.result(&Line { text, embedding }, for_people)?;
        }
        Ok(())
    })?;
    Ok(DONE)
}

/// What the model's folder says, with the flags on top.
fn config(embed: &Embed, backend: &LocalBackend) -> EmbedConfig {
    let own = backend.embed_config();
    let pooling = match embed.pooling {
        None => own.pooling,
        Some(PoolingArgument::Mean) => Pooling::Mean,
        Some(PoolingArgument::Cls) => Pooling::Cls,
        Some(PoolingArgument::Last) => Pooling::Last,
    };
    let normalize = (own.normalize || embed.normalize) && !embed.no_normalize;
    EmbedConfig { pooling, normalize }
}

/// Numbers alone, so that other programs can read them.
fn for_people(line: &Line<'_>) -> String {
    let numbers: Vec<String> = line.embedding.iter().map(f32::to_string).collect();
    numbers.join(" ")
}
