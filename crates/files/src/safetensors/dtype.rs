//! The number types of safetensors: names and sizes.

/// The type of a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs)] // The names say it.
pub enum Dtype {
    Bool,
    U8,
    I8,
    F8E5M2,
    F8E4M3,
    U16,
    I16,
    F16,
    Bf16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

const NAMES: [(Dtype, &str, usize); 15] = [
    (Dtype::Bool, "BOOL", 1),
    (Dtype::U8, "U8", 1),
    (Dtype::I8, "I8", 1),
    (Dtype::F8E5M2, "F8_E5M2", 1),
    (Dtype::F8E4M3, "F8_E4M3", 1),
    (Dtype::U16, "U16", 2),
    (Dtype::I16, "I16", 2),
    (Dtype::F16, "F16", 2),
    (Dtype::Bf16, "BF16", 2),
    (Dtype::U32, "U32", 4),
    (Dtype::I32, "I32", 4),
    (Dtype::F32, "F32", 4),
    (Dtype::U64, "U64", 8),
    (Dtype::I64, "I64", 8),
    (Dtype::F64, "F64", 8),
];

impl Dtype {
    /// Bytes a number takes.
    pub fn size(self) -> usize {
        NAMES[self as usize].2
    }

    /// The name in a header: `F32`.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The type of that name, if it is one whose numbers fill whole bytes.
    pub fn parse(name: &str) -> Option<Dtype> {
        NAMES.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }
}

#[test]
fn every_type_stands_at_its_place_in_the_table() {
    for (index, (dtype, name, _)) in NAMES.iter().enumerate() {
        assert_eq!(*dtype as usize, index);
        assert_eq!(Dtype::parse(name), Some(*dtype));
    }
}
