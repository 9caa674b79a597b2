//! Reading shards: a folder goes in; the ids of all its shards, as one line, come out of memory maps.

use super::format::{BYTES, ENDS, Header, IDS, VERSION};
use crate::error::{Error, IoContext, Result};
use crate::tokens::Tokens;
use idiolect_files::Map;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(super) const SIDECAR_FILE: &str = "shards.json";

/// What stands beside the shards. Fields that a later version adds are passed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sidecar {
    pub version: u32,
    pub tokenizer_hash: String,
    pub vocab_size: usize,
    pub end_of_document: Option<u32>,
    pub shards: Vec<ShardEntry>,
    #[serde(default)]
    pub token_bytes: Option<Vec<u32>>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// One shard of a set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ShardEntry {
    pub file: String,
    pub checksum: String,
}

/// A folder of shards. The ids stay in the files; what is read of them stays in the system's cache.
pub struct ShardSet {
    folder: PathBuf,
    sidecar: Sidecar,
    shards: Vec<Shard>,
    /// Before each shard, and after the last: tokens and documents.
    tokens_before: Vec<u64>,
    documents_before: Vec<u64>,
    bytes: u64,
}

impl ShardSet {
    /// Opens a folder that [`crate::write_shards`] or [`crate::ShardWriter`] made. Every size and checksum is checked, which
    /// reads the files once.
    pub fn open(folder: &Path) -> Result<ShardSet> {
        let path = folder.join(SIDECAR_FILE);
        let json = std::fs::read(&path).on("read", &path)?;
        let corrupt = |what: String| Error::Corrupt { path: path.clone(), what };
        let sidecar: Sidecar =
            serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()))?;
        if sidecar.version != VERSION {
            let what = format!("version {}; this program reads {VERSION}", sidecar.version);
            return Err(Error::Mismatch { path, what });
        }
        let shards: Vec<Shard> = sidecar
            .shards
            .par_iter()
            .map(|entry| Shard::open(folder, entry, &sidecar))
            .collect::<Result<_>>()?;
        let before = |count: fn(&Header) -> u64| {
            std::iter::once(0)
                .chain(shards.iter().scan(0, |sum, shard| {
                    *sum += count(&shard.header);
                    Some(*sum)
                }))
                .collect::<Vec<u64>>()
        };
        let set = ShardSet {
            folder: folder.to_path_buf(),
            tokens_before: before(|header| header.tokens),
            documents_before: before(|header| header.documents),
            bytes: shards.iter().map(|shard| shard.header.bytes).sum(),
            sidecar,
            shards,
        };
        if set.document_count() > 0
            && set.document_end(set.document_count() - 1) != set.token_count()
        {
            return Err(corrupt("the last document has no end: is a shard missing?".to_string()));
        }
        Ok(set)
    }

    /// Opens a folder, and refuses it unless its ids were made by the tokenizer of this hash.
    pub fn open_for(folder: &Path, tokenizer_hash: &str) -> Result<ShardSet> {
        let set = ShardSet::open(folder)?;
        if set.tokenizer_hash() != tokenizer_hash {
            let made = set.tokenizer_hash();
            let what = format!(
                "the shards were made by tokenizer {made}, not by {tokenizer_hash}: make them anew"
            );
            return Err(Error::Mismatch { path: folder.to_path_buf(), what });
        }
        Ok(set)
    }

    /// Where the shards are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The hash of the tokenizer that made the ids.
    pub fn tokenizer_hash(&self) -> &str {
        &self.sidecar.tokenizer_hash
    }

    /// The size of its vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.sidecar.vocab_size
    }

    /// The id after every document, if there is one.
    pub fn end_of_document(&self) -> Option<u32> {
        self.sidecar.end_of_document
    }

    /// The bytes of text of all documents.
    pub fn byte_count(&self) -> u64 {
        self.bytes
    }

    /// What the writer noted besides.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.sidecar.metadata
    }

    /// The ids at some positions; what lies past the end is left out.
    pub fn ids(&self, range: Range<u64>) -> Vec<u32> {
        let end = range.end.min(self.token_count());
        let mut ids = vec![0; end.saturating_sub(range.start) as usize];
        self.read(range.start, &mut ids);
        ids.into_iter().map(|id| id as u32).collect()
    }

    /// Copies a plane's bytes from position `start` on. Gives whether every shard that it read has this plane.
    pub fn read_plane(&self, name: &str, start: u64, out: &mut [u8]) -> bool {
        let mut complete = true;
        self.for_each_part(start, out, |shard, at, out| match shard.plane(name) {
            Some(plane) => out.copy_from_slice(&plane[at..at + out.len()]),
            None => complete = false,
        });
        complete
    }

    /// Splits `out` by shards; what lies past the end is left out.
    fn for_each_part<T>(
        &self,
        start: u64,
        mut out: &mut [T],
        mut part: impl FnMut(&Shard, usize, &mut [T]),
    ) {
        let mut position = start;
        while !out.is_empty() && position < self.token_count() {
            let index = last_not_above(&self.tokens_before, position);
            let at = position - self.tokens_before[index];
            let rest = (self.shards[index].header.tokens - at).min(out.len() as u64);
            let (now, later) = out.split_at_mut(rest as usize);
            part(&self.shards[index], at as usize, now);
            out = later;
            position += rest;
        }
    }

    fn shard_of_document(&self, document: u64) -> Option<(usize, usize)> {
        if document >= self.document_count() {
            return None;
        }
        let index = last_not_above(&self.documents_before, document);
        Some((index, (document - self.documents_before[index]) as usize))
    }
}

impl Tokens for ShardSet {
    fn token_count(&self) -> u64 {
        self.tokens_before.last().copied().unwrap_or(0)
    }

    fn document_count(&self) -> u64 {
        self.documents_before.last().copied().unwrap_or(0)
    }

    fn read(&self, start: u64, out: &mut [i64]) {
        self.for_each_part(start, out, |shard, at, out| shard.read(at, out));
    }

    fn document_at(&self, position: u64) -> u64 {
        if position >= self.token_count() {
            return self.document_count();
        }
        let index = last_not_above(&self.tokens_before, position);
        let at = position - self.tokens_before[index];
        self.documents_before[index] + self.shards[index].ends_up_to(at)
    }

    fn document_end(&self, document: u64) -> u64 {
        match self.shard_of_document(document) {
            Some((index, at)) => {
                self.tokens_before[index] + u64::from_le_bytes(self.shards[index].ends()[at])
            }
            None => self.token_count(),
        }
    }

    fn document_bytes(&self, document: u64) -> u64 {
        let found = self.shard_of_document(document);
        found.map_or(0, |(index, at)| u64::from_le_bytes(self.shards[index].bytes()[at]))
    }

    fn token_bytes(&self) -> Option<&[u32]> {
        self.sidecar.token_bytes.as_deref()
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardSet")
            .field("folder", &self.folder)
            .field("tokens", &self.token_count())
            .field("documents", &self.document_count())
            .finish_non_exhaustive()
    }
}

/// The index of the last number that is not above `value`; the first is 0. Of equal numbers, the last: an empty shard holds nothing.
fn last_not_above(before: &[u64], value: u64) -> usize {
    before.partition_point(|&start| start <= value) - 1
}

/// One file.
struct Shard {
    map: Map,
    header: Header,
    ids: Range<usize>,
    ends: Range<usize>,
    bytes: Range<usize>,
}

impl Shard {
    fn open(folder: &Path, entry: &ShardEntry, sidecar: &Sidecar) -> Result<Shard> {
        let path = folder.join(&entry.file);
        let corrupt =
            |what: &str| Err(Error::Corrupt { path: path.clone(), what: what.to_string() });
        if Path::new(&entry.file).components().count() != 1 || Path::new(&entry.file).is_absolute()
        {
            return corrupt("the sidecar names a file outside its folder");
        }
        let map = Map::open(&path)?;
        let (header, checksum) = Header::decode(&map, &path)?;
        if checksum.to_hex().as_str() != entry.checksum {
            return corrupt("it is not the shard that the sidecar was written for");
        }
        if header.vocab_size as usize != sidecar.vocab_size
            || blake3::Hash::from_bytes(header.tokenizer).to_hex().as_str()
                != sidecar.tokenizer_hash
        {
            return corrupt("it and the sidecar name different tokenizers");
        }
        let section = |name| header.sections.get(name).cloned().unwrap_or_default();
        let (ids, ends, bytes) = (section(IDS), section(ENDS), section(BYTES));
        let shard = Shard { map, header, ids, ends, bytes };
        let mut ends = shard.ends().iter().map(|end| u64::from_le_bytes(*end));
        if !ends.clone().is_sorted()
            || ends.next_back().is_some_and(|end| end > shard.header.tokens)
        {
            return corrupt("the ends of its documents do not ascend within it");
        }
        Ok(shard)
    }

    fn read(&self, at: usize, out: &mut [i64]) {
        let bytes = &self.map[self.ids.clone()];
        if self.header.id_width() == 2 {
            let (ids, _) = bytes[at * 2..].as_chunks::<2>();
            for (out, id) in out.iter_mut().zip(ids) {
                *out = i64::from(u16::from_le_bytes(*id));
            }
        } else {
            let (ids, _) = bytes[at * 4..].as_chunks::<4>();
            for (out, id) in out.iter_mut().zip(ids) {
                *out = i64::from(u32::from_le_bytes(*id));
            }
        }
    }

    // The bounds of sections were checked when the file was opened.
    fn ends(&self) -> &[[u8; 8]] {
        self.map[self.ends.clone()].as_chunks().0
    }

    fn bytes(&self) -> &[[u8; 8]] {
        self.map[self.bytes.clone()].as_chunks().0
    }

    /// How many documents end at or before a position of this shard.
    fn ends_up_to(&self, position: u64) -> u64 {
        self.ends().partition_point(|end| u64::from_le_bytes(*end) <= position) as u64
    }

    /// A plane of one byte an id.
    fn plane(&self, name: &str) -> Option<&[u8]> {
        let range = self.header.sections.get(name)?;
        (range.len() as u64 == self.header.tokens).then(|| &self.map[range.clone()])
    }
}
