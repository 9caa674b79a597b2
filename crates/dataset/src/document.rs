//! Documents of a prepared file, one JSON line each: written, and read back one by one.

use crate::error::{Error, Result};
use crate::read::{Block, BlockReader, Source, Unit, from_json, from_owned_bytes};
use std::path::Path;
use std::sync::Arc;

/// A text that stands for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document {
    /// The text.
    pub text: String,
}

impl Document {
    /// A document of a text.
    pub fn new(text: impl Into<String>) -> Document {
        Document { text: text.into() }
    }
}

/// The documents of a file that [`crate::prepare`] wrote, or of any JSONL with the field `text`, `.gz` or `.zst` or neither.
///
/// About a megabyte is in memory at a time. A damaged file is an error, also if it is only found to be when its end is read.
pub fn documents(path: &Path) -> Result<impl Iterator<Item = Result<Document>> + Send + use<>> {
    let source = Source::open(path, Arc::default())?;
    let blocks = BlockReader::new(source, Unit::Line, u64::MAX);
    Ok(Documents { blocks, block: None, next: 0 })
}

/// The text of a whole file, `.gz` or `.zst` or neither. What is not text is an error that names the line.
pub fn read_text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    Source::open(path, Arc::default())?.take(None, usize::MAX, &mut bytes)?;
    let text = from_owned_bytes(bytes).map_err(|bad| Error::NotText {
        path: path.to_path_buf(),
        line: bad.line_offset + 1,
        what: bad.what,
    })?;
    Ok(text.into_owned())
}

struct Documents {
    blocks: BlockReader,
    block: Option<Block>,
    next: usize,
}

impl Iterator for Documents {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Result<Document>> {
        if self.block.is_none() {
            self.next = 0;
            match self.blocks.next_block() {
                Ok(block) => self.block = Some(block?),
                Err(error) => return Some(Err(error)),
            }
        }
        let block = self.block.as_ref()?;
        let document = document(block, self.next);
        self.next += 1;
        if self.next == block.rows.len() {
            // Now, so that a large document is not in memory twice while its text is used.
            self.block = None;
        }
        Some(document)
    }
}

fn document(block: &Block, index: usize) -> Result<Document> {
    let row = &block.rows[index];
    // The limit is the largest number there is, so every row was kept.
    let bytes = row.range.clone().map_or(&[][..], |range| &block.bytes[range]);
    match from_json(bytes, FIELD) {
        Ok(text) => Ok(Document { text: text.into_owned() }),
        Err(bad) => Err(Error::Corrupt {
            path: block.path.to_path_buf(),
            what: format!("line {}: {}", row.line, bad.what),
        }),
    }
}

const FIELD: &str = "text";

/// Appends the JSON line of a text.
pub(crate) fn write_line(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"text\":");
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read(texts in proptest::collection::vec(any::<String>(), 0..8)) {
            let mut lines = Vec::new();
            texts.iter().for_each(|text| write_line(text, &mut lines));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.jsonl");
            fs::write(&path, lines).unwrap();
            let read: Vec<_> = documents(&path).unwrap().map(|read| read.unwrap().text).collect();
            prop_assert_eq!(read, texts);
        }
    }

    #[test]
    fn a_line_that_is_no_document_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "{\"text\":\"a\"}\n{}\n").unwrap();
        let error = documents(&path).unwrap().nth(1).unwrap().unwrap_err();
        assert!(error.to_string().ends_with("line 2: no field `text`"), "{error}");
    }
}
