//! Token shards: documents and a tokenizer go in; files of ids, read through a memory map, come out.

mod format;
mod set;
mod writer;

pub use set::ShardSet;
pub use writer::{ShardConfig, ShardWriter};

use crate::document::Document;
use crate::error::{Error, Result};
use crate::progress::{OnProgress, Progress, report};
use idiolect_tokenizer::{Special, Tokenizer};
use std::path::Path;

/// How much text is tokenised at once, which bounds the memory: enough to keep many threads busy.
const BATCH_BYTES: usize = 8 << 20;

/// Tokenises documents in parallel into the folder `out`, each followed by `end_of_document`.
///
/// The folder appears when it is whole. One that is there is replaced if it holds shards, and is an error otherwise.
pub fn write_shards(
    documents: impl IntoIterator<Item = Result<Document>>,
    tokenizer: &Tokenizer,
    end_of_document: Option<u32>,
    out: &Path,
    on_progress: OnProgress<'_>,
) -> Result<ShardSet> {
    let mut config = ShardConfig::new(tokenizer.hash(), tokenizer.vocab_size());
    config.end_of_document = end_of_document;
    let mut writer = ShardWriter::create(out, config)?;
    let mut token_bytes = Some(token_byte_table(tokenizer, end_of_document));
    let mut progress = Progress::default();
    let mut documents = documents.into_iter();
    loop {
        let texts = take_batch(&mut documents)?;
        if texts.is_empty() {
            break;
        }
        for (text, mut ids) in texts.iter().zip(tokenizer.encode_batch(&texts, Special::Ordinary)) {
            ids.extend(end_of_document);
            writer.push(&ids, text.len() as u64, &[])?;
            token_bytes = token_bytes.filter(|table| adds_up(table, &ids, text.len()));
            progress.documents += 1;
            progress.bytes += text.len() as u64;
            progress.tokens += ids.len() as u64;
        }
        report(on_progress, progress)?;
    }
    if progress.tokens == 0 {
        return Err(Error::TooFewTokens { tokens: 0, needed: 1 });
    }
    writer.finish(token_bytes)
}

/// The next documents, of about [`BATCH_BYTES`] together; none at the end.
fn take_batch(documents: &mut impl Iterator<Item = Result<Document>>) -> Result<Vec<String>> {
    let (mut texts, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        let Some(document) = documents.next() else { break };
        let text = document?.text;
        bytes += text.len() + size_of::<String>();
        texts.push(text);
    }
    Ok(texts)
}

/// The bytes of text behind every id; none behind special ones and the end of a document.
fn token_byte_table(tokenizer: &Tokenizer, end_of_document: Option<u32>) -> Vec<u32> {
    let bytes = |id| match tokenizer.token_bytes(id) {
        Some(bytes) if !tokenizer.is_special(id) && Some(id) != end_of_document => bytes.len(),
        _ => 0,
    };
    (0..tokenizer.vocab_size() as u32).map(|id| bytes(id) as u32).collect()
}

fn adds_up(table: &[u32], ids: &[u32], bytes: usize) -> bool {
    let sum: u64 =
        ids.iter().map(|&id| u64::from(table.get(id as usize).copied().unwrap_or(0))).sum();
    sum == bytes as u64
}
