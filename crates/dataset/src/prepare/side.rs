//! One side of a split as a file: JSON lines go in; a compressed file and its counts come out.

use crate::error::{IoContext, Result};
use crate::report::Side;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const BUFFER: usize = 1 << 20;

/// zstd's own default: 3 to 4 times smaller at some hundred megabytes a second.
const LEVEL: i32 = 3;

/// Writes documents into one `.jsonl.zst`.
pub(crate) struct SideWriter {
    encoder: zstd::Encoder<'static, File>,
    /// Where the file will be, for messages.
    path: PathBuf,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    side: Side,
}

impl SideWriter {
    /// Opens `name` in `folder`, which is to become `out`.
    pub(crate) fn create(folder: &Path, out: &Path, name: &str) -> Result<SideWriter> {
        let path = out.join(name);
        let file = File::create(folder.join(name)).on("create", &path)?;
        let mut encoder = zstd::Encoder::new(file, LEVEL).on("write", &path)?;
        encoder.include_checksum(true).on("write", &path)?;
        // The same bytes come out whatever the number of workers, as long as there is one.
        let workers = rayon::current_num_threads().clamp(1, 4) as u32;
        encoder.multithread(workers).on("write", &path)?;
        Ok(SideWriter {
            encoder,
            path,
            buffer: Vec::with_capacity(BUFFER),
            hasher: blake3::Hasher::new(),
            side: Side::default(),
        })
    }

    /// Adds a document by its JSON line.
    pub(crate) fn write(&mut self, line: &[u8], bytes: u64, characters: u64) -> Result<()> {
        self.side.documents += 1;
        self.side.bytes += bytes;
        self.side.characters += characters;
        if self.buffer.len() + line.len() > BUFFER {
            self.flush()?;
        }
        if line.len() > BUFFER {
            self.put(line)
        } else {
            self.buffer.extend_from_slice(line);
            Ok(())
        }
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<Side> {
        self.flush()?;
        self.encoder.finish().on("write", &self.path)?;
        Ok(Side { hash: self.hasher.finalize().to_hex().to_string(), ..self.side })
    }

    fn flush(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.put(&buffer);
        buffer.clear();
        self.buffer = buffer;
        done
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.encoder.write_all(bytes).on("write", &self.path)
    }
}
