//! The number types of GGUF tensors: codes, names, and how many numbers and bytes a block has.

/// The type of a tensor's numbers. All but the plain ones come in blocks of 32 or 256 numbers of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, non_camel_case_types)] // The format's own names.
pub enum GgmlType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    BF16,
}

use GgmlType::*;

/// Type, code in files, name, numbers a block, bytes a block.
const TABLE: [(GgmlType, u32, &str, usize, usize); 14] = [
    (F32, 0, "F32", 1, 4),
    (F16, 1, "F16", 1, 2),
    (Q4_0, 2, "Q4_0", 32, 18),
    (Q4_1, 3, "Q4_1", 32, 20),
    (Q5_0, 6, "Q5_0", 32, 22),
    (Q5_1, 7, "Q5_1", 32, 24),
    (Q8_0, 8, "Q8_0", 32, 34),
    (Q2_K, 10, "Q2_K", 256, 84),
    (Q3_K, 11, "Q3_K", 256, 110),
    (Q4_K, 12, "Q4_K", 256, 144),
    (Q5_K, 13, "Q5_K", 256, 176),
    (Q6_K, 14, "Q6_K", 256, 210),
    (Q8_K, 15, "Q8_K", 256, 292),
    (BF16, 30, "BF16", 1, 2),
];

impl GgmlType {
    /// Every type, by code.
    pub fn all() -> impl Iterator<Item = GgmlType> {
        TABLE.iter().map(|row| row.0)
    }

    /// The type with this code in a file, if it is one that is read here.
    pub fn from_code(code: u32) -> Option<GgmlType> {
        TABLE.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    /// The code in a file.
    pub fn code(self) -> u32 {
        TABLE[self as usize].1
    }

    /// The format's name: `Q4_K`.
    pub fn as_str(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// How many numbers a block has.
    pub fn block_size(self) -> usize {
        TABLE[self as usize].3
    }

    /// How many bytes a block takes.
    pub fn block_bytes(self) -> usize {
        TABLE[self as usize].4
    }

    /// The bytes of a row of `count` numbers; `None` where blocks do not divide it, or it is larger than any memory.
    pub fn row_bytes(self, count: usize) -> Option<usize> {
        let whole = count.is_multiple_of(self.block_size());
        whole.then(|| (count / self.block_size()).checked_mul(self.block_bytes())).flatten()
    }
}

#[test]
fn every_type_stands_at_its_place_in_the_table() {
    for (index, row) in TABLE.iter().enumerate() {
        assert_eq!(row.0 as usize, index);
        assert_eq!(GgmlType::from_code(row.1), Some(row.0));
    }
    assert_eq!(Q4_K.row_bytes(512), Some(288));
    assert_eq!(Q4_K.row_bytes(576), None);
}
