//! The GGUF format: what is written is read, and nothing hostile is believed.

use idiolect_files::Error;
use idiolect_files::gguf::{GgmlType, GgufFile, GgufValue, GgufWriter, MetadataValue};
use proptest::prelude::*;

/// A file put together by hand: values and tensors as given, `n_bytes` zero bytes after them.
struct Raw {
    version: u32,
    counts: (u64, u64),
    values: Vec<u8>,
    tensors: Vec<u8>,
    n_bytes: usize,
}

impl Raw {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.counts.0.to_le_bytes());
        bytes.extend(self.counts.1.to_le_bytes());
        bytes.extend(&self.values);
        bytes.extend(&self.tensors);
        bytes.resize(bytes.len().next_multiple_of(32) + self.n_bytes, 0);
        bytes
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn value(key: &str, kind: u32, rest: &[u8]) -> Vec<u8> {
    [&text(key), &kind.to_le_bytes()[..], rest].concat()
}

fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((shape.len() as u32).to_le_bytes());
    shape.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

fn with_values(values: &[Vec<u8>]) -> Raw {
    let (counts, values) = ((0, values.len() as u64), values.concat());
    Raw { version: 3, counts, values, tensors: Vec::new(), n_bytes: 0 }
}

fn with_tensors(tensors: &[Vec<u8>], n_bytes: usize) -> Raw {
    let (counts, tensors) = ((tensors.len() as u64, 0), tensors.concat());
    Raw { version: 3, counts, values: Vec::new(), tensors, n_bytes }
}

fn open(bytes: &[u8]) -> Result<GgufFile, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    GgufFile::open(file.path()).map_err(|error| match error {
        Error::Corrupt { what, .. } => what,
        other => panic!("{other}"),
    })
}

fn check_refused(raw: &Raw, expected: &str) {
    let what = open(&raw.bytes()).unwrap_err();
    assert!(what.contains(expected), "{what:?}, not {expected:?}");
}

#[test]
fn hostile_counts_and_versions_are_refused() {
    assert!(open(b"").unwrap_err().contains("pass the end"));
    assert!(open(b"GGML").unwrap_err().contains("does not begin with GGUF"));
    let raw = |version, counts| Raw { version, counts, ..with_values(&[]) };
    check_refused(&raw(1, (0, 0)), "version 1, known are 2 and 3");
    check_refused(&raw(3u32.swap_bytes(), (0, 0)), "big-endian");
    for counts in [(1 << 60, 0), (0, 1 << 60), (u64::MAX, u64::MAX), (1 << 20, 0)] {
        check_refused(&raw(3, counts), "more than it can hold");
    }
    check_refused(&raw(3, (3, 0)), "tensor 0");
    assert!(open(&raw(2, (0, 0)).bytes()).is_ok());
}

#[test]
fn hostile_metadata_is_refused() {
    let check = |values: &[Vec<u8>], expected| check_refused(&with_values(values), expected);
    let array = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    check(&[value("", 7, &[1])], "a name of 0 bytes");
    check(&[value(&"k".repeat(2000), 7, &[1])], "a name of 2000 bytes");
    check(&[[&text("k")[..3], &[0xff; 16]].concat()], "metadata key 0");
    check(&[value("k", 13, &[0; 8])], "unknown type 13");
    check(&[value("k", 7, &[2])], "a truth value of 2");
    check(&[value("k", 8, &u64::MAX.to_le_bytes())], "pass the end");
    check(&[value("k", 9, &array(4, 1 << 60))], "an array of 1152921504606846976 values");
    check(&[value("k", 9, &array(8, 1 << 60))], "an array of 1152921504606846976 values");
    check(&[value("k", 9, &[array(9, 1), array(9, 1)].concat())], "an array inside an array");
    check(&[value("k", 7, &[1]), value("k", 7, &[1])], "\"k\" is there twice");
    for (kind, bytes) in [(4, &[3, 0, 0, 0][..]), (4, &[0; 4]), (8, &[0; 8]), (10, &[255; 8])] {
        check(&[value("general.alignment", kind, bytes)], "must be a power of two");
    }
}

#[test]
fn hostile_tensors_are_refused() {
    let check = |tensors: &[Vec<u8>], n_bytes, expected| {
        check_refused(&with_tensors(tensors, n_bytes), expected)
    };
    let huge = 1 << 33;
    check(&[tensor("a", &[], 0, 0)], 0, "0 dimensions");
    check(&[tensor("a", &[1; 5], 0, 0)], 64, "5 dimensions");
    check(&[tensor("a", &[0], 0, 0)], 64, "a dimension is 0");
    check(&[tensor("a", &[huge, huge], 0, 0)], 64, "larger than any memory");
    check(&[tensor("a", &[32, u64::MAX], 2, 0)], 64, "larger than any memory");
    check(&[tensor("a", &[8], 99, 0)], 64, "its type has the code 99, known are F32, F16");
    check(&[tensor("a", &[48], 2, 0)], 64, "a row of 48 numbers");
    check(&[tensor("a", &[8], 0, 8)], 64, "not a multiple of 32");
    check(&[tensor("a", &[17], 0, 0)], 64, "pass the file's end");
    check(&[tensor("a", &[8], 0, u64::MAX - 31)], 64, "pass the file's end");
    check(&[tensor("a", &[9], 0, 0), tensor("b", &[8], 0, 32)], 64, "\"a\" and \"b\" overlap");
    check(&[tensor("a", &[8], 0, 0), tensor("a", &[8], 0, 32)], 64, "two tensors are named");
    assert!(
        open(&with_tensors(&[tensor("a", &[8], 0, 32), tensor("b", &[8], 0, 0)], 64).bytes())
            .is_ok()
    );
}

/// A small file with a value of each kind and two tensors.
fn sample() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.gguf");
    let metadata = [
        ("general.architecture", MetadataValue::Text("llama".into())),
        ("flag", MetadataValue::Bool(true)),
        ("count", MetadataValue::U32(7)),
        ("large", MetadataValue::U64(1 << 40)),
        ("share", MetadataValue::F32(0.5)),
        ("tokens", MetadataValue::Texts(vec!["a".into(), "bé".into(), String::new()])),
        ("types", MetadataValue::I32s(vec![1, -3])),
        ("scores", MetadataValue::F32s(vec![0.25])),
        ("flags", MetadataValue::Bools(vec![false, true])),
    ]
    .map(|(key, value)| (key.to_string(), value));
    let layout =
        [("w".to_string(), GgmlType::Q8_0, vec![3, 64]), ("b".to_string(), GgmlType::F32, vec![3])];
    let mut writer = GgufWriter::create(&path, &metadata, &layout).unwrap();
    assert!(writer.write_tensor(&[0; 3]).is_err());
    writer.write_tensor(&[5; 204]).unwrap();
    writer.write_tensor(&[6; 12]).unwrap();
    assert!(writer.write_tensor(&[0; 12]).is_err());
    assert!(!path.exists());
    writer.finish().unwrap();
    std::fs::read(&path).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let file = open(&sample()).unwrap();
    assert_eq!(file.text("general.architecture").unwrap(), Some("llama"));
    assert_eq!(file.flag("flag").unwrap(), Some(true));
    assert_eq!(file.integer("count").unwrap(), Some(7));
    assert_eq!(file.integer("large").unwrap(), Some(1 << 40));
    assert_eq!(file.number("share").unwrap(), Some(0.5));
    assert_eq!(file.number("count").unwrap(), Some(7.0));
    assert_eq!(file.text("absent").unwrap(), None);
    assert!(file.integer("flag").unwrap_err().to_string().contains("flag is not an integer"));
    let array = |key: &str| file.array(key).unwrap().unwrap().values().collect::<Vec<_>>();
    let texts = ["a", "bé", ""].map(|text| GgufValue::Text(text.as_bytes()));
    assert_eq!(array("tokens"), texts);
    assert_eq!(array("types"), [GgufValue::Signed(1), GgufValue::Signed(-3)]);
    assert_eq!(array("scores"), [GgufValue::Float(0.25)]);
    assert_eq!(array("flags"), [GgufValue::Bool(false), GgufValue::Bool(true)]);
    let (tensor, bytes) = file.get("w").unwrap();
    assert_eq!((tensor.dtype, &tensor.shape[..]), (GgmlType::Q8_0, &[3, 64][..]));
    assert_eq!(bytes, [5; 204]);
    assert_eq!(file.get("b").unwrap().1, [6; 12]);
    assert!(file.get("c").is_none());
}

/// Reads everything there is.
fn walk(file: &GgufFile) {
    for key in file.keys() {
        if let Some(GgufValue::Array(array)) = file.value(key) {
            assert_eq!(array.values().count(), array.len());
        }
    }
    for tensor in file.tensors() {
        assert_eq!(file.get(&tensor.name).unwrap().1.len(), tensor.range.len());
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample();
    // The last tensor's padding may be missing, as in files of ggml itself.
    for length in 0..bytes.len() - 20 {
        assert!(open(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if bytes.len() > 24 {
            bytes[..8].copy_from_slice(b"GGUF\x03\0\0\0");
            bytes[9..16].fill(0);
            bytes[17..24].fill(0);
        }
        if let Ok(file) = open(&bytes) { walk(&file) }
    }

    #[test]
    fn random_mutations_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = sample();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(file) = open(&bytes) { walk(&file) }
    }
}
