//! Reading: a path goes in, metadata, names, shapes and borrowed bytes come out.

use super::header::Header;
use super::{GgufArray, GgufTensor, GgufValue};
use crate::error::{Error, Result};
use crate::map::Map;
use std::path::{Path, PathBuf};

/// A GGUF file, mapped into memory and checked.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: Map,
    header: Header,
}

impl GgufFile {
    /// Maps the file and checks its header; the tensors' bytes are not read yet.
    pub fn open(path: &Path) -> Result<GgufFile> {
        let map = Map::open(path)?;
        let header = Header::parse(&map)
            .map_err(|what| Error::Corrupt { path: path.to_path_buf(), what })?;
        Ok(GgufFile { path: path.to_path_buf(), map, header })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every tensor, sorted by name.
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.header.tensors
    }

    /// A tensor's description and its bytes: rows of blocks, not necessarily aligned in memory.
    pub fn get(&self, name: &str) -> Option<(&GgufTensor, &[u8])> {
        let tensors = &self.header.tensors;
        let index = tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        let tensor = &tensors[index];
        Some((tensor, &self.map[tensor.range.clone()]))
    }

    /// Gives the memory of a tensor's bytes back, once they were copied; they can still be read.
    pub fn release(&self, name: &str) {
        if let Some((tensor, _)) = self.get(name) {
            self.map.release(tensor.range.clone());
        }
    }

    /// The keys of the metadata, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.header.metadata.keys().map(String::as_str)
    }

    /// The value of a key, if it is there.
    pub fn value(&self, key: &str) -> Option<GgufValue<'_>> {
        self.header.metadata.get(key)?.value(&self.map)
    }

    /// The text of a key, if it is there.
    ///
    /// # Errors
    /// If it is something else, or not UTF-8; this and the next functions name the file and the key.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Text(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(self.wrong(key, "is not UTF-8")),
            },
            Some(_) => Err(self.wrong(key, "is not a text")),
        }
    }

    /// The count or id of a key, if it is there: an integer that is not negative.
    pub fn integer(&self, key: &str) -> Result<Option<u64>> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Unsigned(value)) => Ok(Some(value)),
            Some(GgufValue::Signed(value)) if value >= 0 => Ok(Some(value as u64)),
            Some(_) => Err(self.wrong(key, "is not an integer of 0 or more")),
        }
    }

    /// The finite number of a key, if it is there.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Float(value)) if value.is_finite() => Ok(Some(value)),
            Some(GgufValue::Unsigned(value)) => Ok(Some(value as f64)),
            Some(GgufValue::Signed(value)) => Ok(Some(value as f64)),
            Some(_) => Err(self.wrong(key, "is not a finite number")),
        }
    }

    /// The truth value of a key, if it is there.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(key, "is not true or false")),
        }
    }

    /// The array of a key, if it is there.
    pub fn array(&self, key: &str) -> Result<Option<GgufArray<'_>>> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Array(array)) => Ok(Some(array)),
            Some(_) => Err(self.wrong(key, "is not an array")),
        }
    }

    /// An error about a key of this file.
    pub fn wrong(&self, key: &str, what: &str) -> Error {
        Error::Corrupt { path: self.path.clone(), what: format!("{key} {what}") }
    }
}
