//! The header of a shard: its fields go in, bytes come out, and back, with every size checked against the file.
//!
//! Little-endian throughout.
//!
//! ```text
//!   0  magic "idiotoks"           24  tokens         u64     56  blake3 of the tokenizer  32 bytes
//!   8  version             u32    32  documents      u64     88  checksum                 32 bytes
//!  12  header bytes        u32    40  bytes of text  u64    120  reserved, 0               8 bytes
//!  16  width of an id      u32    48  vocab size     u32    128  sections: name (16 bytes, padded with 0),
//!  20  number of sections  u32    52  reserved, 0    u32         offset u64, length u64
//! ```
//!
//! Sections: `ids`; `ends`, for every document that ends here the position after its last id (u64; a document may go on in the
//! next shard); `bytes`, the bytes of its text (u64); and any number of planes, which hold a fixed number of bytes an id. A
//! reader passes over sections it does not know, so there is room to grow. The checksum is the blake3 hash of all that follows the
//! header, then of the header with zeros in the checksum's place.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

const MAGIC: &[u8; 8] = b"idiotoks";
pub(super) const VERSION: u32 = 1;
const FIXED_BYTES: usize = 128;
const SECTION_BYTES: usize = 32;
const NAME_BYTES: usize = 16;
/// The header and every section begin at multiples of this, so that a map of them is aligned for any plane.
pub(super) const ALIGNMENT: usize = 64;
const CHECKSUM: Range<usize> = 88..120;

pub(super) const IDS: &str = "ids";
pub(super) const ENDS: &str = "ends";
pub(super) const BYTES: &str = "bytes";

/// What the head of a shard says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub tokens: u64,
    pub documents: u64,
    pub bytes: u64,
    pub vocab_size: u32,
    pub tokenizer: [u8; 32],
    /// Where each section lies in the file.
    pub sections: BTreeMap<String, Range<usize>>,
}

impl Header {
    /// The length of a header with this many sections.
    pub(super) fn length(sections: usize) -> usize {
        (FIXED_BYTES + sections * SECTION_BYTES).next_multiple_of(ALIGNMENT)
    }

    /// 2 where every id of the vocabulary fits, otherwise 4.
    pub(super) fn id_width(&self) -> usize {
        id_width(self.vocab_size)
    }

    /// The bytes of the header, with the checksum that ends `body`, the hash of all that follows it.
    pub(super) fn encode(&self, mut body: blake3::Hasher) -> (Vec<u8>, blake3::Hash) {
        let length = Header::length(self.sections.len());
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(MAGIC);
        for number in [VERSION, length as u32, self.id_width() as u32, self.sections.len() as u32] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.tokens, self.documents, self.bytes, u64::from(self.vocab_size)] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.tokenizer);
        out.resize(FIXED_BYTES, 0);
        for (name, range) in &self.sections {
            let mut padded = [0; NAME_BYTES];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            out.extend_from_slice(&padded);
            out.extend_from_slice(&(range.start as u64).to_le_bytes());
            out.extend_from_slice(&(range.len() as u64).to_le_bytes());
        }
        out.resize(length, 0);
        let checksum = body.update(&out).finalize();
        out[CHECKSUM].copy_from_slice(checksum.as_bytes());
        (out, checksum)
    }

    /// Reads and checks the header of a whole file.
    pub(super) fn decode(file: &[u8], path: &Path) -> Result<(Header, blake3::Hash)> {
        Decoder { file, path }.header()
    }
}

/// Whether a section can have this name.
pub(super) fn is_section_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(plain)
}

pub(super) fn id_width(vocab_size: u32) -> usize {
    if vocab_size <= 1 << 16 { 2 } else { 4 }
}

struct Decoder<'a> {
    file: &'a [u8],
    path: &'a Path,
}

impl Decoder<'_> {
    fn header(&self) -> Result<(Header, blake3::Hash)> {
        if self.file.len() < FIXED_BYTES {
            return Err(self.corrupt(format!("{} bytes are no shard", self.file.len())));
        }
        if &self.file[..8] != MAGIC {
            return Err(self.corrupt("it does not begin as a shard does"));
        }
        let version = self.u32_at(8);
        if version != VERSION {
            let what = format!("a shard of version {version}; this program reads {VERSION}");
            return Err(Error::Mismatch { path: self.path.to_path_buf(), what });
        }
        let (length, width) = (self.u32_at(12) as usize, self.u32_at(16) as usize);
        let count = self.u32_at(20) as usize;
        let whole = count <= self.file.len() && length == Header::length(count);
        if !whole || length > self.file.len() {
            return Err(self.corrupt("the table of sections does not fit the file"));
        }
        let mut header = Header {
            tokens: self.u64_at(24),
            documents: self.u64_at(32),
            bytes: self.u64_at(40),
            vocab_size: self.u32_at(48),
            tokenizer: std::array::from_fn(|index| self.file[56 + index]),
            sections: BTreeMap::new(),
        };
        for index in 0..count {
            let (name, range) = self.section(FIXED_BYTES + index * SECTION_BYTES, length)?;
            header.sections.insert(name, range);
        }
        if width != header.id_width() {
            return Err(self.corrupt(format!("ids of {width} bytes")));
        }
        self.expect(&header, IDS, header.tokens, width)?;
        self.expect(&header, ENDS, header.documents, 8)?;
        self.expect(&header, BYTES, header.documents, 8)?;
        Ok((header, self.check_sum(length)?))
    }

    fn section(&self, at: usize, header: usize) -> Result<(String, Range<usize>)> {
        let name = self.file[at..at + NAME_BYTES].split(|&byte| byte == 0).next();
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        let (offset, length) = (self.u64_at(at + NAME_BYTES), self.u64_at(at + NAME_BYTES + 8));
        match offset.checked_add(length) {
            Some(end) if end <= self.file.len() as u64 && offset >= header as u64 => {
                Ok((name, offset as usize..end as usize))
            }
            _ => {
                let size = self.file.len();
                let what = format!(
                    "section `{name}` has {length} bytes at {offset}, the file has {size}: was it cut short?"
                );
                Err(self.corrupt(what))
            }
        }
    }

    fn expect(&self, header: &Header, name: &str, count: u64, width: usize) -> Result<()> {
        let found = header.sections.get(name).map(|range| range.len() as u64);
        if found.is_some() && found == count.checked_mul(width as u64) {
            return Ok(());
        }
        Err(self.corrupt(format!("section `{name}` does not hold {count} times {width} bytes")))
    }

    fn check_sum(&self, header: usize) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.file[header..]);
        hasher.update(&self.file[..CHECKSUM.start]);
        hasher.update(&[0; 32]);
        hasher.update(&self.file[CHECKSUM.end..header]);
        let checksum = hasher.finalize();
        if checksum.as_bytes()[..] == self.file[CHECKSUM] {
            return Ok(checksum);
        }
        Err(self.corrupt("its checksum is not that of its content"))
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|index| self.file[at + index]))
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|index| self.file[at + index]))
    }

    fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.to_path_buf(), what: what.into() }
    }
}
