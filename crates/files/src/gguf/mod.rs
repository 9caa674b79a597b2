//! The GGUF format (versions 2 and 3, little-endian): typed metadata, tensor descriptions, then the tensors' bytes, aligned.
//!
//! Nothing in a file is believed: counts, lengths, types, shapes, alignment and offsets are checked against the file's own
//! length before anything is allocated or sliced. Arrays stay where they are in the map until someone reads them.
//! The format is described in ggml's `docs/gguf.md`.

mod file;
mod header;
mod tensor_type;
mod value;
mod writer;

pub use file::GgufFile;
pub use header::GgufTensor;
pub use tensor_type::GgmlType;
pub use value::{GgufArray, GgufValue, MetadataValue};
pub use writer::GgufWriter;

/// The first four bytes of every file.
const MAGIC: [u8; 4] = *b"GGUF";

/// Where tensors begin unless `general.alignment` says otherwise.
const DEFAULT_ALIGNMENT: usize = 32;

/// The key that says otherwise.
const ALIGNMENT: &str = "general.alignment";
