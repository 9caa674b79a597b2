//! The header: hostile bytes go in, checked places of values and tensors come out.

use super::value::{GgufValue, Kind, Place};
use super::{ALIGNMENT, DEFAULT_ALIGNMENT, GgmlType, MAGIC};
use std::collections::BTreeMap;
use std::ops::Range;

/// More entries than any model has; each costs memory of its own, unlike the elements of an array.
const MAX_ENTRIES: u64 = 1 << 16;

/// The longest key; the format allows 65,535 bytes, of which a hostile file could ask for 4 GiB.
const MAX_KEY: usize = 1024;

/// The longest name of a tensor; ggml itself takes 63 bytes.
const MAX_NAME: usize = 255;

/// The most dimensions of a tensor, as in ggml.
const MAX_DIMENSIONS: u32 = 4;

/// The widest alignment that makes sense: a huge page.
const MAX_ALIGNMENT: u64 = 1 << 21;

/// What a header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub dtype: GgmlType,
    /// Its shape, the row's length last: the reverse of the order in the file.
    pub shape: Vec<usize>,
    /// Where its bytes are, counted from the start of the file.
    pub range: Range<usize>,
}

/// A checked header.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub metadata: BTreeMap<String, Place>,
    /// Sorted by name.
    pub tensors: Vec<GgufTensor>,
}

impl Header {
    /// Reads and checks the header of a whole file.
    pub fn parse(bytes: &[u8]) -> Result<Header, String> {
        let mut cursor = Cursor::new(bytes);
        let (n_tensors, n_values) = counts(&mut cursor)?;
        let mut header = Header::default();
        for index in 0..n_values {
            let (key, place) = metadata_entry(&mut cursor, index)?;
            if header.metadata.contains_key(&key) {
                return Err(format!("the key {key:?} is there twice"));
            }
            header.metadata.insert(key, place);
        }
        let alignment = header.alignment(bytes)?;
        for index in 0..n_tensors {
            header.tensors.push(tensor_entry(&mut cursor, index)?);
        }
        let start = cursor.at.checked_next_multiple_of(alignment).unwrap_or(usize::MAX);
        for tensor in &mut header.tensors {
            place_tensor(tensor, start, alignment, bytes.len())?;
        }
        header.check_apart()?;
        header.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        match header.tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(format!("two tensors are named {:?}", pair[0].name)),
            None => Ok(header),
        }
    }

    fn alignment(&self, bytes: &[u8]) -> Result<usize, String> {
        let Some(place) = self.metadata.get(ALIGNMENT) else { return Ok(DEFAULT_ALIGNMENT) };
        match place.value(bytes) {
            Some(GgufValue::Unsigned(value))
                if value.is_power_of_two() && value <= MAX_ALIGNMENT =>
            {
                Ok(value as usize)
            }
            other => Err(format!("{ALIGNMENT} is {other:?}, must be a power of two")),
        }
    }

    /// No byte belongs to two tensors.
    fn check_apart(&mut self) -> Result<(), String> {
        self.tensors.sort_by_key(|tensor| tensor.range.start);
        let overlap = |pair: &&[GgufTensor]| pair[1].range.start < pair[0].range.end;
        match self.tensors.windows(2).find(overlap) {
            Some(pair) => {
                Err(format!("the tensors {:?} and {:?} overlap", pair[0].name, pair[1].name))
            }
            None => Ok(()),
        }
    }
}

/// Magic, version, and how many tensors and values there are.
fn counts(cursor: &mut Cursor) -> Result<(u64, u64), String> {
    if cursor.take(4)? != MAGIC {
        return Err("it does not begin with GGUF".to_string());
    }
    match cursor.u32()? {
        2 | 3 => {}
        version if matches!(version.swap_bytes(), 1..=3) => {
            return Err("it is big-endian, only little-endian files are read".to_string());
        }
        version => return Err(format!("it is of version {version}, known are 2 and 3")),
    }
    let (n_tensors, n_values) = (cursor.u64()?, cursor.u64()?);
    let most = MAX_ENTRIES.min(cursor.left() as u64);
    match n_tensors.max(n_values) > most {
        true => Err(format!("{n_tensors} tensors and {n_values} values, more than it can hold")),
        false => Ok((n_tensors, n_values)),
    }
}

fn metadata_entry(cursor: &mut Cursor, index: u64) -> Result<(String, Place), String> {
    let at = |what: String| format!("metadata key {index}: {what}");
    let key = cursor.name(MAX_KEY).map_err(at)?;
    let place = cursor.place().map_err(|what| format!("metadata key {key:?}: {what}"))?;
    Ok((key, place))
}

/// A tensor whose range is still its offset and its length.
fn tensor_entry(cursor: &mut Cursor, index: u64) -> Result<GgufTensor, String> {
    let name = cursor.name(MAX_NAME).map_err(|what| format!("tensor {index}: {what}"))?;
    let at = |what: String| format!("tensor {name:?}: {what}");
    let n_dimensions = cursor.u32().map_err(at)?;
    if !(1..=MAX_DIMENSIONS).contains(&n_dimensions) {
        return Err(at(format!("{n_dimensions} dimensions, must be 1 to {MAX_DIMENSIONS}")));
    }
    let mut shape = Vec::new();
    for _ in 0..n_dimensions {
        let size = cursor.u64().map_err(at)?;
        let size = usize::try_from(size).ok().filter(|&size| size > 0);
        shape.insert(0, size.ok_or_else(|| at("a dimension is 0 or too large".to_string()))?);
    }
    let code = cursor.u32().map_err(at)?;
    let dtype = GgmlType::from_code(code).ok_or_else(|| {
        let known: Vec<_> = GgmlType::all().map(GgmlType::as_str).collect();
        at(format!("its type has the code {code}, known are {}", known.join(", ")))
    })?;
    let offset = cursor.u64().map_err(at)?;
    let length = byte_size(dtype, &shape).map_err(at)?;
    let offset = usize::try_from(offset).map_err(|_| at(format!("offset {offset}")))?;
    Ok(GgufTensor { name, dtype, shape, range: offset..length })
}

/// The bytes of a tensor of this type and shape, or what is wrong with it.
pub(super) fn byte_size(dtype: GgmlType, shape: &[usize]) -> Result<usize, String> {
    let (Some(&row), rows) = (shape.last(), &shape[..shape.len().saturating_sub(1)]) else {
        return Err("it has no dimensions".to_string());
    };
    if !row.is_multiple_of(dtype.block_size()) {
        let (name, block) = (dtype.as_str(), dtype.block_size());
        return Err(format!(
            "a row of {row} numbers, which blocks of {block} ({name}) do not fill"
        ));
    }
    let size = dtype.row_bytes(row).and_then(|bytes| {
        rows.iter().try_fold(bytes, |bytes: usize, &count| bytes.checked_mul(count))
    });
    size.ok_or_else(|| format!("shape {shape:?} is larger than any memory"))
}

/// Turns offset and length into a place in the file.
fn place_tensor(
    tensor: &mut GgufTensor,
    start: usize,
    alignment: usize,
    end: usize,
) -> Result<(), String> {
    let Range { start: offset, end: length } = tensor.range;
    let at = |what: String| format!("tensor {:?}: {what}", tensor.name);
    if !offset.is_multiple_of(alignment) {
        return Err(at(format!("offset {offset} is not a multiple of {alignment}")));
    }
    let from = start.checked_add(offset);
    match from.and_then(|from| Some(from..from.checked_add(length)?)) {
        Some(range) if range.end <= end => {
            tensor.range = range;
            Ok(())
        }
        _ => Err(at(format!("{length} bytes at {offset} pass the file's end"))),
    }
}

/// A place in the bytes that never passes their end.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| {
            format!("{count} bytes at {} pass the end at {}", self.at, self.bytes.len())
        })?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a [u8], String> {
        let length = self.u64()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn name(&mut self, most: usize) -> Result<String, String> {
        let bytes = self.text()?;
        if bytes.is_empty() || bytes.len() > most {
            return Err(format!("a name of {} bytes, must be 1 to {most}", bytes.len()));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| "a name that is not UTF-8".to_string())
    }

    fn kind(&mut self) -> Result<Kind, String> {
        let code = self.u32()?;
        Kind::from_code(code).ok_or_else(|| format!("a value of the unknown type {code}"))
    }

    /// A value that is no array.
    pub(super) fn scalar(&mut self, kind: Kind) -> Result<GgufValue<'a>, String> {
        use GgufValue::{Bool, Float, Signed, Text, Unsigned};
        Ok(match kind {
            Kind::U8 => Unsigned(u64::from(self.array::<1>()?[0])),
            Kind::I8 => Signed(i64::from(self.array().map(i8::from_le_bytes)?)),
            Kind::U16 => Unsigned(u64::from(self.array().map(u16::from_le_bytes)?)),
            Kind::I16 => Signed(i64::from(self.array().map(i16::from_le_bytes)?)),
            Kind::U32 => Unsigned(u64::from(self.u32()?)),
            Kind::I32 => Signed(i64::from(self.array().map(i32::from_le_bytes)?)),
            Kind::U64 => Unsigned(self.u64()?),
            Kind::I64 => Signed(self.array().map(i64::from_le_bytes)?),
            Kind::F32 => Float(f64::from(self.array().map(f32::from_le_bytes)?)),
            Kind::F64 => Float(self.array().map(f64::from_le_bytes)?),
            Kind::Bool => match self.array::<1>()?[0] {
                0 => Bool(false),
                1 => Bool(true),
                other => return Err(format!("a truth value of {other}")),
            },
            Kind::Text => Text(self.text()?),
            Kind::Array => return Err("an array inside an array".to_string()),
        })
    }

    /// Passes over a value and says where it is.
    fn place(&mut self) -> Result<Place, String> {
        let kind = self.kind()?;
        if kind != Kind::Array {
            let start = self.at;
            self.scalar(kind)?;
            return Ok(Place { kind, array: None, range: start..self.at });
        }
        let of = self.kind()?;
        let count = self.u64()?;
        if count > (self.left() / of.size()) as u64 {
            return Err(format!("an array of {count} values in {} bytes", self.left()));
        }
        let start = self.at;
        match of {
            Kind::Array | Kind::Text | Kind::Bool => {
                for _ in 0..count {
                    self.scalar(of)?;
                }
            }
            _ => self.at += count as usize * of.size(),
        }
        Ok(Place { kind, array: Some((of, count as usize)), range: start..self.at })
    }
}
