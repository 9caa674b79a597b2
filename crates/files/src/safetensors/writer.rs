//! Writing: a layout goes in, then the tensors' bytes in its order; the file appears when all are there.

use super::{Dtype, header};
use crate::atomic_file::AtomicFile;
use crate::error::{Error, IoContext, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Writes a safetensors file tensor by tensor, holding none of them.
#[derive(Debug)]
pub struct SafetensorsWriter {
    file: AtomicFile,
    /// The bytes each tensor needs, in order.
    sizes: Vec<usize>,
    written: usize,
}

impl SafetensorsWriter {
    /// Starts a file with these tensors (name, type, shape) in this order, and these texts as metadata.
    ///
    /// Transformers expects the metadata `format` = `pt`. With the widest types first, every tensor is aligned.
    pub fn create(
        path: &Path,
        layout: &[(String, Dtype, Vec<usize>)],
        metadata: &BTreeMap<String, String>,
    ) -> Result<SafetensorsWriter> {
        let (bytes, sizes) = header::write(layout, metadata)
            .map_err(|what| Error::Refused { path: path.to_path_buf(), what })?;
        let mut file = AtomicFile::create(path)?;
        file.write_all(&bytes).on("write", path)?;
        Ok(SafetensorsWriter { file, sizes, written: 0 })
    }

    /// Writes the next tensor of the layout: little-endian, row-major.
    pub fn write_tensor(&mut self, bytes: &[u8]) -> Result<()> {
        match self.sizes.get(self.written) {
            Some(&size) if size == bytes.len() => {}
            Some(&size) => {
                let (index, got) = (self.written, bytes.len());
                return self.refuse(format!("tensor {index} needs {size} bytes, got {got}"));
            }
            None => return self.refuse(format!("more than {} tensors", self.sizes.len())),
        }
        self.file.write_all(bytes).on("write", self.file.path())?;
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
