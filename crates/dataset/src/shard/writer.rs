//! Writing shards: documents of ids go in, one by one; a folder of shards and their sidecar comes out, whole or not at all.

use super::format::{ALIGNMENT, BYTES, ENDS, Header, IDS, id_width, is_section_name};
use super::set::{SIDECAR_FILE, ShardEntry, ShardSet, Sidecar};
use crate::error::{Error, IoContext, Result};
use idiolect_files::AtomicFolder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What the ids are and how they are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardConfig {
    /// The tokenizer's hash: blake3, in hex.
    pub tokenizer_hash: String,
    /// The size of its vocabulary, which every id must fit.
    pub vocab_size: usize,
    /// The id that ends a document, for the record; [`ShardWriter::push`] does not add it.
    pub end_of_document: Option<u32>,
    /// The number of ids in a shard.
    pub max_tokens: u64,
    /// The names of planes with one byte an id, for instance `loss_mask`.
    pub planes: Vec<String>,
    /// What else readers may want to know.
    pub metadata: BTreeMap<String, String>,
}

impl ShardConfig {
    /// Shards of 2^25 ids (64 or 128 MiB), without planes.
    pub fn new(tokenizer_hash: impl Into<String>, vocab_size: usize) -> ShardConfig {
        ShardConfig {
            tokenizer_hash: tokenizer_hash.into(),
            vocab_size,
            end_of_document: None,
            max_tokens: 1 << 25,
            planes: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }
}

/// Writes shards from ids that are there already; [`crate::write_shards`] makes them from text.
///
/// In memory are 16 bytes a document of the shard that is being written, and its planes.
///
/// ```
/// use idiolect_dataset::{ShardConfig, ShardWriter, Tokens};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let config = ShardConfig::new(blake3::hash(b"my tokenizer").to_hex().as_str(), 100);
/// let mut writer = ShardWriter::create(&folder.path().join("shards"), config)?;
/// writer.push(&[5, 6, 7], 12, &[])?;
/// let shards = writer.finish(None)?;
/// assert_eq!((shards.token_count(), shards.document_bytes(0)), (3, 12));
/// # Ok::<(), idiolect_dataset::Error>(())
/// ```
pub struct ShardWriter {
    config: ShardConfig,
    tokenizer: [u8; 32],
    folder: AtomicFolder,
    out: PathBuf,
    shard: Option<ShardFile>,
    done: Vec<ShardEntry>,
}

impl ShardWriter {
    /// Begins the folder `out`. One that is there is replaced if it holds shards, and is an error otherwise.
    pub fn create(out: &Path, config: ShardConfig) -> Result<ShardWriter> {
        let refuse = |key, what: &str| Err(Error::Config { key, what: what.to_string() });
        let Ok(tokenizer) = blake3::Hash::from_hex(&config.tokenizer_hash) else {
            return refuse("tokenizer_hash", "is no blake3 hash in hex");
        };
        if u32::try_from(config.vocab_size).is_err() {
            return refuse("vocab_size", "does not fit 32 bits");
        }
        if config.max_tokens == 0 {
            return refuse("max_tokens", "must be at least 1");
        }
        let mut names = BTreeSet::from([IDS, ENDS, BYTES]);
        if !config.planes.iter().all(|name| is_section_name(name) && names.insert(name)) {
            return refuse("planes", "need names of their own, of at most 16 of a-z, 0-9 and _");
        }
        Ok(ShardWriter {
            folder: AtomicFolder::replacing_ours(out, SIDECAR_FILE)?,
            tokenizer: *tokenizer.as_bytes(),
            out: out.to_path_buf(),
            config,
            shard: None,
            done: Vec::new(),
        })
    }

    /// Adds a document: its ids, the bytes of its text, and for every plane a byte an id.
    pub fn push(&mut self, ids: &[u32], text_bytes: u64, planes: &[&[u8]]) -> Result<()> {
        let vocab_size = self.config.vocab_size;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::IdOutOfRange { id, vocab_size });
        }
        let fits = planes.iter().all(|plane| plane.len() == ids.len());
        if planes.len() != self.config.planes.len() || !fits {
            let what = "every plane needs a byte an id".to_string();
            return Err(Error::Config { key: "planes", what });
        }
        let mut start = 0;
        while start < ids.len() {
            let shard = self.shard_with_room()?;
            let room = shard.room.min((ids.len() - start) as u64) as usize;
            let part = start..start + room;
            shard.write_ids(&ids[part.clone()])?;
            for (plane, bytes) in shard.planes.iter_mut().zip(planes) {
                plane.extend_from_slice(&bytes[part.clone()]);
            }
            start += room;
        }
        if self.shard.is_none() {
            self.shard_with_room()?;
        }
        if let Some(shard) = &mut self.shard {
            shard.ends.push(shard.tokens);
            shard.bytes.push(text_bytes);
        }
        Ok(())
    }

    /// Ends the folder and opens it. `token_bytes` says how many bytes of text each id stands for, if that adds up.
    pub fn finish(mut self, token_bytes: Option<Vec<u32>>) -> Result<ShardSet> {
        self.end_shard()?;
        let sidecar = Sidecar {
            version: super::format::VERSION,
            tokenizer_hash: self.config.tokenizer_hash,
            vocab_size: self.config.vocab_size,
            end_of_document: self.config.end_of_document,
            shards: self.done,
            token_bytes,
            metadata: self.config.metadata,
        };
        let path = self.out.join(SIDECAR_FILE);
        let json = serde_json::to_vec(&sidecar).map_err(std::io::Error::from).on("write", &path)?;
        std::fs::write(self.folder.path().join(SIDECAR_FILE), json).on("write", &path)?;
        self.folder.commit()?;
        ShardSet::open(&self.out)
    }

    fn shard_with_room(&mut self) -> Result<&mut ShardFile> {
        if self.shard.as_ref().is_some_and(|shard| shard.room == 0) {
            self.end_shard()?;
        }
        let shard = match self.shard.take() {
            Some(shard) => shard,
            None => {
                let name = format!("{:05}.tokens", self.done.len());
                ShardFile::create(self.folder.path(), &self.out, name, &self.config)?
            }
        };
        Ok(self.shard.insert(shard))
    }

    fn end_shard(&mut self) -> Result<()> {
        if let Some(shard) = self.shard.take() {
            self.done.push(shard.finish(&self.config, self.tokenizer)?);
        }
        Ok(())
    }
}

/// One shard in the making.
struct ShardFile {
    file: BufWriter<File>,
    name: String,
    path: PathBuf,
    hasher: blake3::Hasher,
    header: usize,
    /// Bytes written after the header.
    written: usize,
    width: usize,
    tokens: u64,
    room: u64,
    ends: Vec<u64>,
    bytes: Vec<u64>,
    planes: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl ShardFile {
    fn create(folder: &Path, out: &Path, name: String, config: &ShardConfig) -> Result<ShardFile> {
        let path = out.join(&name);
        let file = File::create(folder.join(&name)).on("create", &path)?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        let header = Header::length(3 + config.planes.len());
        // The header is known last.
        file.write_all(&vec![0; header]).on("write", &path)?;
        Ok(ShardFile {
            file,
            name,
            path,
            hasher: blake3::Hasher::new(),
            header,
            written: 0,
            width: id_width(config.vocab_size as u32),
            tokens: 0,
            room: config.max_tokens,
            ends: Vec::new(),
            bytes: Vec::new(),
            planes: vec![Vec::new(); config.planes.len()],
            scratch: Vec::new(),
        })
    }

    fn write_ids(&mut self, ids: &[u32]) -> Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        if self.width == 2 {
            scratch.extend(ids.iter().flat_map(|&id| (id as u16).to_le_bytes()));
        } else {
            scratch.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        }
        self.put(&scratch)?;
        self.scratch = scratch;
        self.tokens += ids.len() as u64;
        self.room -= ids.len() as u64;
        Ok(())
    }

    fn finish(mut self, config: &ShardConfig, tokenizer: [u8; 32]) -> Result<ShardEntry> {
        let mut header = Header {
            tokens: self.tokens,
            documents: self.ends.len() as u64,
            bytes: self.bytes.iter().sum(),
            vocab_size: config.vocab_size as u32,
            tokenizer,
            ..Header::default()
        };
        header.sections.insert(IDS.to_string(), self.header..self.header + self.written);
        let numbers = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        let mut rest: Vec<(&str, Vec<u8>)> =
            vec![(ENDS, numbers(&self.ends)), (BYTES, numbers(&self.bytes))];
        let planes = std::mem::take(&mut self.planes);
        rest.extend(config.planes.iter().map(String::as_str).zip(planes));
        for (name, bytes) in rest {
            self.put(&vec![0; self.written.next_multiple_of(ALIGNMENT) - self.written])?;
            let start = self.header + self.written;
            self.put(&bytes)?;
            header.sections.insert(name.to_string(), start..start + bytes.len());
        }
        let (bytes, checksum) = header.encode(self.hasher);
        self.file.seek(SeekFrom::Start(0)).on("write", &self.path)?;
        self.file.write_all(&bytes).on("write", &self.path)?;
        self.file.flush().on("write", &self.path)?;
        Ok(ShardEntry { file: self.name, checksum: checksum.to_hex().to_string() })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.written += bytes.len();
        self.file.write_all(bytes).on("write", &self.path)
    }
}
