//! The safetensors format: what is written is read, and nothing hostile is believed.

use idiolect_files::Error;
use idiolect_files::safetensors::{Dtype, SafetensorsFile, SafetensorsWriter};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A file of this header and this many zero bytes of tensors.
fn file(header: &str, n_bytes: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + n_bytes, 0);
    bytes
}

fn open(bytes: &[u8]) -> Result<SafetensorsFile, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    SafetensorsFile::open(file.path()).map_err(|error| match error {
        Error::Corrupt { what, .. } => what,
        other => panic!("{other}"),
    })
}

fn check_refused(header: &str, n_bytes: usize, expected: &str) {
    let what = open(&file(header, n_bytes)).unwrap_err();
    assert!(what.contains(expected), "{what:?} for {header}");
}

#[test]
fn hostile_lengths_are_refused() {
    assert!(open(b"").unwrap_err().contains("too short"));
    assert!(open(b"1234567").unwrap_err().contains("too short"));
    for length in [3, 1 << 40, u64::MAX] {
        let mut bytes = u64::to_le_bytes(length).to_vec();
        bytes.extend(b"{}");
        assert!(open(&bytes).unwrap_err().contains("a header of"));
    }
}

#[test]
fn hostile_headers_are_refused() {
    let tensor = |shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    check_refused("", 0, "the header: EOF");
    check_refused("[]", 0, "an object of tensors");
    check_refused(&"[".repeat(10_000), 0, "the header");
    check_refused(r#"{"a":1}"#, 0, "invalid type");
    check_refused(&tensor("[1]", "[0,4]"), 0, "lies at 0..4 of 0 bytes");
    check_refused(&tensor("[1]", "[4,0]"), 4, "lies at 4..0");
    check_refused(&tensor("[1]", "[0,18446744073709551615]"), 4, "lies at");
    check_refused(&tensor("[-1]", "[0,4]"), 4, "invalid value");
    check_refused(&tensor("[2]", "[0,4]"), 4, "needs 8 bytes but has 4");
    check_refused(&tensor("[4294967296,4294967296]", "[0,4]"), 4, "larger than any memory");
    check_refused(&tensor("[0,18446744073709551615,2]", "[0,4]"), 4, "needs 0 bytes");
    check_refused(&tensor("[1]", "[4,8]"), 8, "follows a gap");
    check_refused(&tensor("[1]", "[0,4]"), 5, "1 bytes belong to no tensor");
    check_refused(&tensor("[1]", "[0,4]").replace("F32", "F4"), 4, r#"unknown type "F4""#);
    check_refused(&tensor("[1]", "[0,4],\"more\":1"), 4, "unknown field");
    let two = |a: &str, b: &str, at: &str| {
        format!(
            r#"{{"{a}":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}},
                "{b}":{{"dtype":"U8","shape":[2],"data_offsets":{at}}}}}"#
        )
    };
    check_refused(&two("a", "a", "[2,4]"), 4, "occurs twice");
    check_refused(&two("a", "b", "[1,3]"), 3, "overlaps another");
    check_refused(&two("a", "b", "[0,2]"), 2, "overlaps another");
    assert_eq!(open(&file(&two("b", "a", "[2,4]"), 4)).unwrap().tensors()[0].name, "a");
}

#[test]
fn empty_tensors_and_no_tensors_are_fine() {
    assert!(open(&file("{}", 0)).unwrap().tensors().is_empty());
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[0,3],"data_offsets":[0,0]}}"#;
    let file = open(&file(header, 0)).unwrap();
    assert_eq!(file.get("a").unwrap().1, b"");
    assert_eq!(file.metadata()["format"], "pt");
    assert!(file.get("b").is_none());
}

#[test]
fn a_writer_holds_to_its_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let layout = [("a".to_string(), Dtype::U16, vec![2, 2]), ("b".to_string(), Dtype::I8, vec![])];
    let create = || SafetensorsWriter::create(&path, &layout, &BTreeMap::new()).unwrap();
    let refused = |error: Error| assert!(matches!(error, Error::Refused { .. }), "{error}");
    refused(create().write_tensor(&[0; 7]).unwrap_err());
    refused(create().finish().unwrap_err());
    let mut writer = create();
    writer.write_tensor(&[0; 8]).unwrap();
    writer.write_tensor(&[1]).unwrap();
    refused(writer.write_tensor(&[]).unwrap_err());
    drop(writer);
    let huge = ("a".to_string(), Dtype::F64, vec![usize::MAX]);
    let twice = vec![layout[0].clone(), layout[0].clone()];
    let reserved = vec![("__metadata__".to_string(), Dtype::U8, vec![])];
    for layout in [vec![huge], twice, reserved] {
        refused(SafetensorsWriter::create(&path, &layout, &BTreeMap::new()).unwrap_err());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        shapes in prop::collection::btree_map("\\PC{0,8}", prop::collection::vec(0usize..4, 0..4), 0..5),
        metadata in prop::collection::btree_map("[a-z]{1,4}", "\\PC{0,8}", 0..3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let dtypes = [Dtype::F32, Dtype::Bf16, Dtype::Bool, Dtype::I64];
        let layout: Vec<_> = shapes
            .into_iter()
            .zip(dtypes.into_iter().cycle())
            .map(|((name, shape), dtype)| (name, dtype, shape))
            .collect();
        let mut writer = SafetensorsWriter::create(&path, &layout, &metadata).unwrap();
        let bytes = |(_, dtype, shape): &(String, Dtype, Vec<usize>), seed: usize| -> Vec<u8> {
            (0..shape.iter().product::<usize>() * dtype.size()).map(|i| (i + seed) as u8).collect()
        };
        for (seed, entry) in layout.iter().enumerate() {
            writer.write_tensor(&bytes(entry, seed)).unwrap();
        }
        writer.finish().unwrap();
        let file = SafetensorsFile::open(&path).unwrap();
        prop_assert_eq!(file.metadata(), &metadata);
        prop_assert_eq!(file.layout(), layout.clone());
        for (seed, entry) in layout.iter().enumerate() {
            prop_assert_eq!(file.get(&entry.0).unwrap().1, bytes(entry, seed));
        }
    }

    #[test]
    fn no_bytes_cause_a_panic(
        header in "[\\[\\]{}:,\"0-9a-z_]{0,40}",
        cut in 0usize..80,
        flip in any::<(usize, u8)>(),
    ) {
        let good = r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
        for text in [header.as_str(), good] {
            let mut bytes = file(text, 8);
            let at = flip.0 % bytes.len();
            bytes[at] ^= flip.1;
            bytes.truncate(bytes.len().saturating_sub(cut % 20));
            let _ = open(&bytes);
        }
    }
}
