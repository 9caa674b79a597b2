//! Laws of token shards: they give back what was put in, and refuse what was tampered with.

use idiolect_dataset::{Error, ShardConfig, ShardSet, ShardWriter, TokenStore, Tokens};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn config(vocab_size: usize, max_tokens: u64) -> ShardConfig {
    let mut config = ShardConfig::new(hash("ours"), vocab_size);
    config.max_tokens = max_tokens;
    config
}

fn hash(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex().to_string()
}

fn write(folder: &Path, config: ShardConfig, documents: &[Vec<u32>]) -> ShardSet {
    let mut writer = ShardWriter::create(folder, config).unwrap();
    for ids in documents {
        writer.push(ids, ids.len() as u64 * 3, &[]).unwrap();
    }
    writer.finish(None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn give_back_the_ids(
        documents in proptest::collection::vec(proptest::collection::vec(0u32..70_000, 0..12), 1..12),
        max_tokens in 1u64..20,
        wide: bool,
        start in 0u64..40,
    ) {
        let vocab_size = if wide { 70_000 } else { 65_536 };
        let documents: Vec<Vec<u32>> =
            documents.iter().map(|ids| ids.iter().map(|id| id % vocab_size).collect()).collect();
        let folder = tempfile::tempdir().unwrap();
        let shards = write(&folder.path().join("s"), config(vocab_size as usize, max_tokens), &documents);
        let store = TokenStore::from_documents(&documents);
        prop_assert_eq!(shards.ids(0..u64::MAX), documents.concat());
        prop_assert_eq!(shards.token_count(), store.token_count());
        prop_assert_eq!(shards.document_count(), store.document_count());
        prop_assert_eq!(shards.byte_count(), store.token_count() * 3);
        let (mut ours, mut theirs) = ([-1; 9], [-1; 9]);
        shards.read(start, &mut ours);
        store.read(start, &mut theirs);
        prop_assert_eq!(ours, theirs);
        for position in 0..store.token_count() {
            prop_assert_eq!(shards.document_at(position), store.document_at(position));
        }
        for (document, ids) in (0..).zip(&documents) {
            prop_assert_eq!(shards.document_end(document), store.document_end(document));
            prop_assert_eq!(shards.document_bytes(document), ids.len() as u64 * 3);
        }
    }

    #[test]
    fn a_changed_byte_is_found(at in 0usize..1000, flip in 1u8..) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        write(&path, config(100, 1000), &[vec![1, 2, 3], vec![4; 50]]);
        let file = path.join("00000.tokens");
        let mut bytes = fs::read(&file).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        fs::write(&file, bytes).unwrap();
        prop_assert!(ShardSet::open(&path).is_err());
    }

    #[test]
    fn a_short_file_is_found(share in 0f64..1.0) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        write(&path, config(100, 1000), &[vec![1, 2, 3], vec![4; 50]]);
        let file = path.join("00000.tokens");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
        let error = ShardSet::open(&path).unwrap_err();
        prop_assert!(error.to_string().contains("00000.tokens"), "{}", error);
    }
}

#[test]
fn planes_lie_beside_the_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut config = config(100, 4);
    config.planes = vec!["loss_mask".to_string()];
    let mut writer = ShardWriter::create(&path, config).unwrap();
    writer.push(&[1, 2, 3], 3, &[&[0, 0, 1]]).unwrap();
    writer.push(&[4, 5, 6], 3, &[&[0, 1, 1]]).unwrap();
    let error = writer.push(&[4, 5], 3, &[&[0]]).unwrap_err();
    assert!(matches!(error, Error::Config { key: "planes", .. }), "{error}");
    let shards = writer.finish(None).unwrap();
    let mut plane = [9; 7];
    assert!(shards.read_plane("loss_mask", 1, &mut plane));
    assert_eq!(plane, [0, 1, 0, 1, 1, 9, 9]);
    assert!(!shards.read_plane("other", 1, &mut plane));
}

#[test]
fn refuses_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    write(&path, config(100, 10), &[vec![1; 25]]);
    let check = |error: Error, expected: &str| {
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(ShardSet::open_for(&path, &hash("other")).unwrap_err(), "make them anew");
    check(ShardSet::open(&folder.path().join("none")).unwrap_err(), "cannot read");

    let mut writer = ShardWriter::create(&folder.path().join("t"), config(100, 10)).unwrap();
    check(writer.push(&[99, 100], 1, &[]).unwrap_err(), "id 100 does not fit a vocabulary of 100");
    drop(writer);
    assert!(!folder.path().join("t").exists());

    let theirs = folder.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("thesis.tex"), "x").unwrap();
    check(ShardWriter::create(&theirs, config(100, 10)).err().unwrap(), "name another folder");

    // Exchanged shards are whole by themselves, but not the ones of the sidecar.
    fs::copy(path.join("00000.tokens"), path.join("00001.tokens")).unwrap();
    fs::copy(path.join("00002.tokens"), path.join("00000.tokens")).unwrap();
    check(ShardSet::open(&path).unwrap_err(), "the sidecar was written for");
    fs::remove_file(path.join("00001.tokens")).unwrap();
    assert!(ShardSet::open(&path).is_err());

    let sidecar = path.join("shards.json");
    let json = fs::read_to_string(&sidecar).unwrap();
    fs::write(&sidecar, json.replace("\"version\":1", "\"version\":2")).unwrap();
    check(ShardSet::open(&path).unwrap_err(), "version 2; this program reads 1");
}
