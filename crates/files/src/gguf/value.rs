//! Metadata values: bytes of the map go in, typed values come out; and the other way round for writing.

use super::header::Cursor;
use std::ops::Range;

/// A value of a file's metadata, borrowed from the map.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum GgufValue<'a> {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// Any floating-point number; those of 32 bits are widened.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text, which should be UTF-8 and is not checked.
    Text(&'a [u8]),
    /// An array of values of one type.
    Array(GgufArray<'a>),
}

/// An array of a file's metadata, read as it is walked through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GgufArray<'a> {
    kind: Kind,
    count: usize,
    bytes: &'a [u8],
}

impl<'a> GgufArray<'a> {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that the values take in the file.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether its values are texts.
    pub fn holds_texts(&self) -> bool {
        self.kind == Kind::Text
    }

    /// Its values in order.
    pub fn values(&self) -> impl Iterator<Item = GgufValue<'a>> + use<'a> {
        let (kind, mut cursor) = (self.kind, Cursor::new(self.bytes));
        // Opening the file has walked through it once, so that every read succeeds.
        (0..self.count).map_while(move |_| cursor.scalar(kind).ok())
    }
}

/// What a value is to be written as.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // The names say it.
pub enum MetadataValue {
    U32(u32),
    U64(u64),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
    Bools(Vec<bool>),
}

impl MetadataValue {
    /// Appends the type's code and the value, as a file has them.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U32(value) => scalar(out, Kind::U32, &value.to_le_bytes()),
            Self::U64(value) => scalar(out, Kind::U64, &value.to_le_bytes()),
            Self::F32(value) => scalar(out, Kind::F32, &value.to_le_bytes()),
            Self::Bool(value) => scalar(out, Kind::Bool, &[u8::from(*value)]),
            Self::Text(value) => {
                scalar(out, Kind::Text, &[]);
                text(out, value);
            }
            Self::Texts(values) => {
                array(out, Kind::Text, values.len());
                values.iter().for_each(|value| text(out, value));
            }
            Self::F32s(values) => {
                array(out, Kind::F32, values.len());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
            Self::I32s(values) => {
                array(out, Kind::I32, values.len());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
            Self::Bools(values) => {
                array(out, Kind::Bool, values.len());
                out.extend(values.iter().map(|&value| u8::from(value)));
            }
        }
    }
}

/// Appends a text with its length.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn scalar(out: &mut Vec<u8>, kind: Kind, bytes: &[u8]) {
    out.extend((kind as u32).to_le_bytes());
    out.extend(bytes);
}

fn array(out: &mut Vec<u8>, kind: Kind, count: usize) {
    scalar(out, Kind::Array, &(kind as u32).to_le_bytes());
    out.extend((count as u64).to_le_bytes());
}

/// The types of values, with their codes in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Text = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl Kind {
    const ALL: [Kind; 13] = [
        Kind::U8,
        Kind::I8,
        Kind::U16,
        Kind::I16,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::Text,
        Kind::Array,
        Kind::U64,
        Kind::I64,
        Kind::F64,
    ];

    pub(super) fn from_code(code: u32) -> Option<Kind> {
        Kind::ALL.get(code as usize).copied()
    }

    /// The bytes of a value; of a text and of an array, those of its length.
    pub(super) fn size(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::Text | Kind::Array => 8,
        }
    }
}

/// Where a checked value lies in the file.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub kind: Kind,
    /// Of an array: the type and the number of its values.
    pub array: Option<(Kind, usize)>,
    pub range: Range<usize>,
}

impl Place {
    /// The value there.
    pub(super) fn value<'a>(&self, file: &'a [u8]) -> Option<GgufValue<'a>> {
        let bytes = file.get(self.range.clone())?;
        match self.array {
            Some((kind, count)) => Some(GgufValue::Array(GgufArray { kind, count, bytes })),
            None => Cursor::new(bytes).scalar(self.kind).ok(),
        }
    }
}
