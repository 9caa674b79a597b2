//! One input file: a path goes in, its bytes come out, unpacked where the name ends in `.gz` or `.zst`.

use crate::error::{Error, IoContext, Result};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BUFFER: usize = 1 << 17;

/// An open input file.
pub(crate) struct Source {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    /// Bytes read of the file as it lies on disk.
    read: Arc<AtomicU64>,
    packed: bool,
}

impl Source {
    /// Opens a file, adding the bytes read of it to `total_read`.
    pub(crate) fn open(path: &Path, total_read: Arc<AtomicU64>) -> Result<Source> {
        let file = File::open(path).on("open", path)?;
        if file.metadata().on("look at", path)?.is_dir() {
            let source = io::ErrorKind::IsADirectory.into();
            return Err(Error::Io { action: "read", path: path.to_path_buf(), source });
        }
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, read: read.clone(), total: total_read };
        let raw = BufReader::with_capacity(BUFFER, counted);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let (reader, packed): (Box<dyn BufRead + Send>, bool) = match extension {
            Some("gz") => {
                (Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw))), true)
            }
            Some("zst" | "zstd") => {
                let decoder = zstd::Decoder::with_buffer(raw).on("unpack", path)?;
                (Box::new(BufReader::with_capacity(BUFFER, decoder)), true)
            }
            _ => (Box::new(raw), false),
        };
        Ok(Source { path: path.to_path_buf(), reader, read, packed })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is left, as a reader.
    pub(crate) fn into_reader(self) -> Box<dyn BufRead + Send> {
        self.reader
    }

    /// Appends bytes up to and including `stop`, or to the end of the file. Once there are more than `limit`, they are thrown
    /// away and only the end is looked for.
    pub(crate) fn take(
        &mut self,
        stop: Option<u8>,
        limit: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<Taken> {
        let start = bytes.len();
        let mut taken = Taken { any: false, fits: true };
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.error(error)),
            };
            let found = stop.and_then(|stop| memchr::memchr(stop, chunk));
            let length = found.map_or(chunk.len(), |at| at + 1);
            taken.any |= length > 0;
            if taken.fits && bytes.len() - start + length <= limit {
                bytes.extend_from_slice(&chunk[..length]);
            } else if taken.fits {
                taken.fits = false;
                bytes.truncate(start);
            }
            self.reader.consume(length);
            if found.is_some() || length == 0 {
                return Ok(taken);
            }
        }
    }

    fn error(&self, source: io::Error) -> Error {
        let path = self.path.clone();
        if self.packed {
            Error::Damaged { path, read: self.read.load(Ordering::Relaxed), source }
        } else {
            Error::Io { action: "read", path, source }
        }
    }
}

/// What [`Source::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whether there was any byte left.
    pub any: bool,
    /// Whether they were within the limit, and so kept.
    pub fits: bool,
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        self.total.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
