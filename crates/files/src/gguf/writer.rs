//! Writing: metadata and a layout go in, then the tensors' bytes in its order; the file appears when all are there.

use super::header::byte_size;
use super::value::text;
use super::{DEFAULT_ALIGNMENT, GgmlType, MAGIC, MetadataValue};
use crate::atomic_file::AtomicFile;
use crate::error::{Error, IoContext, Result};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

/// Writes a GGUF file (version 3) tensor by tensor, holding none of them.
#[derive(Debug)]
pub struct GgufWriter {
    file: AtomicFile,
    /// The bytes each tensor needs, in order.
    sizes: Vec<usize>,
    written: usize,
}

impl GgufWriter {
    /// Starts a file with this metadata and these tensors (name, type, shape with the row's length last), in this order.
    pub fn create(
        path: &Path,
        metadata: &[(String, MetadataValue)],
        layout: &[(String, GgmlType, Vec<usize>)],
    ) -> Result<GgufWriter> {
        let refused = |what: String| Error::Refused { path: path.to_path_buf(), what };
        let mut names = BTreeSet::new();
        let named =
            metadata.iter().map(|entry| &entry.0).chain(layout.iter().map(|entry| &entry.0));
        if let Some(name) = named.into_iter().find(|name| !names.insert(name.as_str())) {
            return Err(refused(format!("the name {name:?} is there twice")));
        }
        let (bytes, sizes) = header(metadata, layout).map_err(refused)?;
        let mut file = AtomicFile::create(path)?;
        file.write_all(&bytes).on("write", path)?;
        Ok(GgufWriter { file, sizes, written: 0 })
    }

    /// Writes the next tensor of the layout: rows of blocks.
    pub fn write_tensor(&mut self, bytes: &[u8]) -> Result<()> {
        match self.sizes.get(self.written) {
            Some(&size) if size == bytes.len() => {}
            Some(&size) => {
                let (index, got) = (self.written, bytes.len());
                return self.refuse(format!("tensor {index} needs {size} bytes, got {got}"));
            }
            None => return self.refuse(format!("more than {} tensors", self.sizes.len())),
        }
        let padding = [0; DEFAULT_ALIGNMENT];
        let padding = &padding[..padded(bytes.len()) - bytes.len()];
        let done = self.file.write_all(bytes).and_then(|()| self.file.write_all(padding));
        done.on("write", self.file.path())?;
        self.written += 1;
        Ok(())
    }

    /// Syncs the file and moves it to its place.
    pub fn finish(self) -> Result<()> {
        if self.written < self.sizes.len() {
            let (written, all) = (self.written, self.sizes.len());
            return self.refuse(format!("only {written} of {all} tensors were written"));
        }
        self.file.commit()
    }

    fn refuse(&self, what: String) -> Result<()> {
        Err(Error::Refused { path: self.file.path().to_path_buf(), what })
    }
}

/// The bytes before the tensors, and each tensor's length.
fn header(
    metadata: &[(String, MetadataValue)],
    layout: &[(String, GgmlType, Vec<usize>)],
) -> std::result::Result<(Vec<u8>, Vec<usize>), String> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((layout.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut bytes, key);
        value.write(&mut bytes);
    }
    let mut sizes = Vec::with_capacity(layout.len());
    let mut offset = 0usize;
    for (name, dtype, shape) in layout {
        let size = byte_size(*dtype, shape).map_err(|what| format!("tensor {name:?}: {what}"))?;
        text(&mut bytes, name);
        bytes.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&size| bytes.extend((size as u64).to_le_bytes()));
        bytes.extend(dtype.code().to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        offset = offset.checked_add(padded(size)).ok_or("it is larger than any memory")?;
        sizes.push(size);
    }
    bytes.resize(padded(bytes.len()), 0);
    Ok((bytes, sizes))
}

fn padded(size: usize) -> usize {
    size.next_multiple_of(DEFAULT_ALIGNMENT)
}
