//! The header: hostile bytes go in, checked tensor descriptions come out, and the other way round.

use super::Dtype;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// The largest header that is read, as in the reference implementation.
const MAX_HEADER: usize = 100_000_000;

/// The bytes that give the header's length.
const LENGTH_BYTES: usize = 8;

const METADATA: &str = "__metadata__";

/// What a header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Its shape; empty for a single number.
    pub shape: Vec<usize>,
    /// Where its bytes are, counted from the start of the file.
    pub range: Range<usize>,
}

/// A checked header.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// Sorted by name.
    pub tensors: Vec<TensorInfo>,
    pub metadata: BTreeMap<String, String>,
}

impl Header {
    /// Reads and checks the header of a whole file.
    pub fn parse(bytes: &[u8]) -> Result<Header, String> {
        let text = header_text(bytes)?;
        let raw: RawHeader =
            serde_json::from_slice(text).map_err(|error| format!("the header: {error}"))?;
        let start = LENGTH_BYTES + text.len();
        let mut tensors = raw
            .tensors
            .into_iter()
            .map(|(name, raw)| tensor_info(name, raw, start, bytes.len()))
            .collect::<Result<Vec<_>, _>>()?;
        check_cover(&mut tensors, start, bytes.len())?;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Header { tensors, metadata: raw.metadata })
    }
}

/// The bytes that come before the tensors, and the length of all of them together.
pub(super) fn write(
    layout: &[(String, Dtype, Vec<usize>)],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<usize>), String> {
    let mut json = serde_json::Map::new();
    if !metadata.is_empty() {
        json.insert(METADATA.to_string(), serde_json::json!(metadata));
    }
    let mut sizes = Vec::with_capacity(layout.len());
    let mut end = 0usize;
    for (name, dtype, shape) in layout {
        let size = byte_size(*dtype, shape).ok_or_else(|| too_large(name))?;
        let begin = end;
        end = begin.checked_add(size).ok_or_else(|| too_large(name))?;
        let raw = serde_json::json!(RawTensor {
            dtype: dtype.as_str().to_string(),
            shape: shape.clone(),
            data_offsets: (begin, end),
        });
        if name == METADATA || json.insert(name.clone(), raw).is_some() {
            return Err(format!("two tensors, or a tensor and the metadata, are named {name:?}"));
        }
        sizes.push(size);
    }
    let mut text = serde_json::Value::Object(json).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(LENGTH_BYTES), b' ');
    if text.len() > MAX_HEADER {
        return Err(format!("a header of {} bytes, the format takes {MAX_HEADER}", text.len()));
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    Ok((bytes, sizes))
}

fn header_text(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(format!("{} bytes, too short for a header", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    match usize::try_from(length) {
        Ok(length) if length <= MAX_HEADER && length <= rest.len() => Ok(&rest[..length]),
        _ => Err(format!("a header of {length} bytes in a file of {}", bytes.len())),
    }
}

/// Checks one tensor by itself: type, size, bounds.
fn tensor_info(
    name: String,
    raw: RawTensor,
    start: usize,
    end: usize,
) -> Result<TensorInfo, String> {
    let Some(dtype) = Dtype::parse(&raw.dtype) else {
        return Err(format!("tensor {name:?} has the unknown type {:?}", raw.dtype));
    };
    let size = byte_size(dtype, &raw.shape).ok_or_else(|| too_large(&name))?;
    let (from, to) = raw.data_offsets;
    if from > to || to > end - start {
        return Err(format!("tensor {name:?} lies at {from}..{to} of {} bytes", end - start));
    }
    if to - from != size {
        let (shape, got) = (&raw.shape, to - from);
        return Err(format!("tensor {name:?} of shape {shape:?} needs {size} bytes but has {got}"));
    }
    Ok(TensorInfo { name, dtype, shape: raw.shape, range: start + from..start + to })
}

/// Checks all tensors together: they fill the rest of the file, without gap or overlap.
fn check_cover(tensors: &mut [TensorInfo], start: usize, end: usize) -> Result<(), String> {
    tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut at = start;
    for TensorInfo { name, range, .. } in tensors {
        if range.start != at {
            let relation = if range.start < at { "overlaps another" } else { "follows a gap" };
            return Err(format!("tensor {name:?} {relation}"));
        }
        at = range.end;
    }
    if at == end { Ok(()) } else { Err(format!("{} bytes belong to no tensor", end - at)) }
}

fn byte_size(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(dtype.size(), |size, &n| size.checked_mul(n))
}

fn too_large(name: &str) -> String {
    format!("tensor {name:?} is larger than any memory")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The header's JSON as it stands; read by hand because a map would swallow duplicate names.
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawHeader, D::Error> {
        deserializer.deserialize_map(RawHeaderVisitor)
    }
}

struct RawHeaderVisitor;

impl<'de> Visitor<'de> for RawHeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut names = HashSet::new();
        let mut raw = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new() };
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the name {name:?} occurs twice")));
            }
            if name == METADATA {
                // Written as null by some tools.
                raw.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
            } else {
                raw.tensors.push((name, map.next_value()?));
            }
        }
        Ok(raw)
    }
}
