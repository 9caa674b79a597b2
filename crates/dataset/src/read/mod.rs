//! Reading: paths as configured go in, blocks of rows come out, with the file and line of each row.

mod blocks;
mod paths;
mod row;
mod source;

pub(crate) use blocks::{Block, BlockReader, Row, Unit};
pub use paths::{InputFile, find_files};
pub(crate) use row::{BadRow, from_bytes, from_json, from_owned_bytes};
pub(crate) use source::Source;
