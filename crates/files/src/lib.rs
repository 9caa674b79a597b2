//! Bytes on disk, safely: what must survive goes in, whole files and folders come out or nothing does.
//!
//! ```text
//! bytes ──> write_atomic / AtomicFile ──> temporary ──flush, fsync──> rename ──> fsync folder
//! files ──> AtomicFolder ─────────────────┘
//! path  ──> Map ──> &[u8]        path ──> hash_file ──> blake3      folder ──> FolderLock
//! path  ──> safetensors::SafetensorsFile ──> names, shapes, &[u8]
//! path  ──> gguf::GgufFile ──> metadata, names, shapes, &[u8]
//! ```
//!
//! ```
//! use idiolect_files::safetensors::{Dtype, SafetensorsFile, SafetensorsWriter};
//! use std::collections::BTreeMap;
//!
//! # fn main() -> idiolect_files::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("model.safetensors");
//! let layout = [("bias".to_string(), Dtype::F32, vec![2])];
//! let mut writer = SafetensorsWriter::create(&path, &layout, &BTreeMap::new())?;
//! writer.write_tensor(&[0, 0, 128, 63, 0, 0, 0, 64])?;
//! assert!(!path.exists()); // nothing is there until it is there whole
//! writer.finish()?;
//!
//! let file = SafetensorsFile::open(&path)?;
//! let (info, bytes) = file.get("bias").unwrap();
//! assert_eq!(info.shape, [2]);
//! assert_eq!(bytes[..4], 1.0f32.to_le_bytes());
//! # Ok(())
//! # }
//! ```

mod atomic_file;
mod atomic_folder;
mod error;
pub mod gguf;
mod hash;
mod lock;
mod map;
pub mod safetensors;

pub use atomic_file::{AtomicFile, remove_temporaries, write_atomic};
pub use atomic_folder::AtomicFolder;
pub use error::{Error, Result};
pub use hash::hash_file;
pub use lock::FolderLock;
pub use map::Map;
