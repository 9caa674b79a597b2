//! The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes.
//!
//! Nothing in a header is believed: lengths, offsets, shapes and names are checked against the file before anything is
//! allocated or sliced.

mod dtype;
mod file;
mod header;
mod writer;

pub use dtype::Dtype;
pub use file::SafetensorsFile;
pub use header::TensorInfo;
pub use writer::SafetensorsWriter;
