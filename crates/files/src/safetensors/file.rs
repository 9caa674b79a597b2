//! Reading: a path goes in, names, shapes and borrowed bytes come out.

use super::header::Header;
use super::{Dtype, TensorInfo};
use crate::error::{Error, Result};
use crate::map::Map;
use std::collections::BTreeMap;
use std::path::Path;

/// A safetensors file, mapped into memory and checked.
#[derive(Debug)]
pub struct SafetensorsFile {
    map: Map,
    header: Header,
}

impl SafetensorsFile {
    /// Maps the file and checks its header; the tensors' bytes are not read yet.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        let map = Map::open(path)?;
        let header = Header::parse(&map)
            .map_err(|what| Error::Corrupt { path: path.to_path_buf(), what })?;
        Ok(SafetensorsFile { map, header })
    }

    /// Every tensor, sorted by name.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// A tensor's description and its bytes (little-endian, row-major, not necessarily aligned).
    pub fn get(&self, name: &str) -> Option<(&TensorInfo, &[u8])> {
        let tensors = &self.header.tensors;
        let index = tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        let info = &tensors[index];
        Some((info, &self.map[info.range.clone()]))
    }

    /// The texts that the writer attached.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// The layout, sorted by name, as [`super::SafetensorsWriter::create`] takes it.
    pub fn layout(&self) -> Vec<(String, Dtype, Vec<usize>)> {
        let entry = |t: &TensorInfo| (t.name.clone(), t.dtype, t.shape.clone());
        self.header.tensors.iter().map(entry).collect()
    }
}
