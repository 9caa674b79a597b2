//! Where samples read: the ids of all documents as one line, with the places where documents end.

use std::ops::Range;

/// Ids of documents that lie one after the other. [`crate::ShardSet`] reads them from files, [`TokenStore`] from memory.
pub trait Tokens: Send + Sync {
    /// The number of ids.
    fn token_count(&self) -> u64;

    /// The number of documents.
    fn document_count(&self) -> u64;

    /// Copies the ids from position `start` on; what would lie past the end is left as it is.
    fn read(&self, start: u64, out: &mut [i64]);

    /// The number of the document that the id at this position belongs to.
    fn document_at(&self, position: u64) -> u64;

    /// The position after the last id of a document.
    fn document_end(&self, document: u64) -> u64;

    /// The bytes of text of a document.
    fn document_bytes(&self, document: u64) -> u64;

    /// The bytes of text behind every id, where these add up to the bytes of the documents (byte-level tokenizers).
    fn token_bytes(&self) -> Option<&[u32]>;
}

/// Ids in memory, for tests, benches and small data.
///
/// ```
/// use idiolect_dataset::{TokenStore, Tokens};
///
/// let store = TokenStore::from_documents([vec![5, 6, 0], vec![7, 0]]);
/// assert_eq!(store.token_count(), 5);
/// assert_eq!(store.document_at(3), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TokenStore {
    ids: Vec<u32>,
    ends: Vec<u64>,
    bytes: Vec<u64>,
    token_bytes: Option<Vec<u32>>,
}

impl TokenStore {
    /// One document of these ids, whose bytes of text are not known (0).
    pub fn new(ids: Vec<u32>) -> TokenStore {
        TokenStore { ends: vec![ids.len() as u64], bytes: vec![0], ids, token_bytes: None }
    }

    /// Documents, whose bytes of text are not known (0).
    pub fn from_documents(documents: impl IntoIterator<Item = impl AsRef<[u32]>>) -> TokenStore {
        let mut store = TokenStore::default();
        for document in documents {
            store.push(document.as_ref(), 0);
        }
        store
    }

    /// Adds a document with the number of bytes of its text.
    pub fn push(&mut self, ids: &[u32], bytes: u64) {
        self.ids.extend_from_slice(ids);
        self.ends.push(self.ids.len() as u64);
        self.bytes.push(bytes);
    }

    /// Says how many bytes of text each id of the vocabulary stands for.
    pub fn with_token_bytes(mut self, token_bytes: Vec<u32>) -> TokenStore {
        self.token_bytes = Some(token_bytes);
        self
    }
}

impl Tokens for TokenStore {
    fn token_count(&self) -> u64 {
        self.ids.len() as u64
    }

    fn document_count(&self) -> u64 {
        self.ends.len() as u64
    }

    fn read(&self, start: u64, out: &mut [i64]) {
        let rest = self.ids.get(start as usize..).unwrap_or_default();
        for (out, id) in out.iter_mut().zip(rest) {
            *out = i64::from(*id);
        }
    }

    fn document_at(&self, position: u64) -> u64 {
        self.ends.partition_point(|&end| end <= position) as u64
    }

    fn document_end(&self, document: u64) -> u64 {
        self.ends.get(document as usize).copied().unwrap_or(self.ids.len() as u64)
    }

    fn document_bytes(&self, document: u64) -> u64 {
        self.bytes.get(document as usize).copied().unwrap_or(0)
    }

    fn token_bytes(&self) -> Option<&[u32]> {
        self.token_bytes.as_deref()
    }
}

/// A part of a range of positions that lies in one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub document: u64,
    /// The positions of the whole document.
    pub whole: Range<u64>,
    /// The part.
    pub part: Range<u64>,
}

/// The documents that a range of positions touches, in order, none of them empty.
pub(crate) fn pieces(tokens: &dyn Tokens, range: Range<u64>) -> impl Iterator<Item = Piece> {
    let end = range.end.min(tokens.token_count());
    let mut start = range.start;
    let mut document = if start < end { tokens.document_at(start) } else { 0 };
    std::iter::from_fn(move || {
        while start < end {
            let whole_start = if document == 0 { 0 } else { tokens.document_end(document - 1) };
            let whole = whole_start..tokens.document_end(document);
            document += 1;
            if !whole.is_empty() {
                let part = start..whole.end.min(end);
                start = part.end;
                return Some(Piece { document: document - 1, whole, part });
            }
        }
        None
    })
}

/// The bytes of text behind positions of one document, where the bytes of single ids are not known: each id counts the same,
/// rounded so that the parts of a document add up to it.
pub(crate) fn shared_bytes(tokens: &dyn Tokens, piece: &Piece) -> u64 {
    let bytes = u128::from(tokens.document_bytes(piece.document));
    let count = u128::from(piece.whole.end - piece.whole.start).max(1);
    let before = |position: u64| bytes * u128::from(position - piece.whole.start) / count;
    (before(piece.part.end) - before(piece.part.start)) as u64
}

/// The bytes of text behind ids, by the table of a byte-level tokenizer; negative labels count nothing.
pub(crate) fn table_bytes(table: &[u32], ids: &[i64]) -> u64 {
    ids.iter().map(|&id| u64::from(table.get(id as usize).copied().unwrap_or(0))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_skip_empty_documents_and_tile_the_range() {
        let store =
            TokenStore::from_documents([vec![1, 2], vec![], vec![3], vec![], vec![4, 5, 6]]);
        let found: Vec<_> = pieces(&store, 1..9).map(|p| (p.document, p.part)).collect();
        assert_eq!(found, [(0, 1..2), (2, 2..3), (4, 3..6)]);
        assert_eq!(pieces(&store, 6..9).count(), 0);
    }

    #[test]
    fn shared_bytes_add_up() {
        let mut store = TokenStore::default();
        store.push(&[1; 7], 100);
        let sum: u64 = [0..3, 3..4, 4..7]
            .into_iter()
            .flat_map(|range| pieces(&store, range).collect::<Vec<_>>())
            .map(|piece| shared_bytes(&store, &piece))
            .sum();
        assert_eq!(sum, 100);
    }
}
