//! Preparing: what is kept, what is dropped and why, and what stops a run.

use idiolect_dataset::{
    DataConfig, DocumentKind, Error, Format, OnBadRow, Progress, Reason, Report, Result, Split,
    SplitConfig, documents, prepare,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn no_split() -> SplitConfig {
    SplitConfig { split: Split::None, ..SplitConfig::default() }
}

fn split(split: Split, share: f64) -> SplitConfig {
    SplitConfig { split, share: Some(share) }
}

fn lines() -> DataConfig {
    let config = DataConfig { document: DocumentKind::Line, ..DataConfig::new([""]) };
    DataConfig { validation: no_split(), ..config }
}

fn jsonl() -> DataConfig {
    DataConfig { format: Some(Format::Jsonl), validation: no_split(), ..DataConfig::new([""]) }
}

/// Writes one input file, prepares it and gives the report and both sides.
fn run(name: &str, bytes: &[u8], config: DataConfig) -> Result<(Report, Vec<String>, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join(name);
    fs::write(&input, bytes).unwrap();
    let config = DataConfig { paths: vec![input.display().to_string()], ..config };
    let out = folder.path().join("out");
    let report = match prepare(&config, &out, &mut go_on) {
        Ok(report) => report,
        Err(error) => {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "left something behind");
            return Err(error);
        }
    };
    assert_eq!(Report::read(&out).unwrap(), report);
    let train = texts(&out.join("train.jsonl.zst"));
    let validation = out.join("validation.jsonl.zst");
    let validation = if validation.exists() { texts(&validation) } else { Vec::new() };
    assert_eq!(report.train.documents, train.len() as u64);
    assert_eq!(
        report.validation.bytes,
        validation.iter().map(|text| text.len() as u64).sum::<u64>()
    );
    let kept = report.documents - report.dropped_documents();
    let written = (train.len() + validation.len()) as u64;
    // A tail cuts a document that is alone into two.
    assert!(written == kept || (kept == 1 && written == 2), "{kept} {written}");
    Ok((report, train, validation))
}

fn texts(path: &Path) -> Vec<String> {
    documents(path).unwrap().map(|document| document.unwrap().text).collect()
}

#[track_caller]
fn check(bytes: &[u8], config: DataConfig, kept: &[&str], dropped: &[(Reason, u64)]) {
    let (report, train, _) = run("in.txt", bytes, config).unwrap();
    assert_eq!(train, kept);
    assert_eq!(report.dropped, dropped.iter().copied().collect::<BTreeMap<_, _>>());
}

#[track_caller]
fn check_error(name: &str, bytes: &[u8], config: DataConfig, expected: &str) {
    let error = run(name, bytes, config).map(|(report, ..)| report).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn cleans_and_counts() {
    use Reason::*;
    let text = "\u{feff}one\r\ntwo\u{7}\n\n  \none\nthr\u{65}\u{301}e\n";
    check(text.as_bytes(), lines(), &["one", "two", "thrée"], &[(Blank, 2), (Repeated, 1)]);
    let lengths = DataConfig { min_characters: Some(2), max_characters: Some(3), ..lines() };
    check("a\näö\nabcd".as_bytes(), lengths, &["äö"], &[(TooShort, 1), (TooLong, 1)]);
    let raw = DataConfig { clean: false, deduplicate: false, ..lines() };
    check("\u{feff}a\u{7}\nb\nb".as_bytes(), raw, &["\u{feff}a\u{7}", "b", "b"], &[]);
}

#[test]
fn drops_bad_rows_where_asked() {
    use Reason::*;
    let config = DataConfig { on_bad_row: OnBadRow::Drop, max_document_bytes: 9, ..lines() };
    let bytes = b"good\nb\0d\nb\xffd\n0123456789\nfine";
    check(bytes, config, &["good", "fine"], &[(Binary, 1), (InvalidUtf8, 1), (TooLarge, 1)]);
    let config = DataConfig { on_bad_row: OnBadRow::Drop, ..jsonl() };
    let rows = b"{\"text\":\"a\"}\n{\"txt\":\"a\"}\n[]\n{\"text\":1}\n{\"text\":\"";
    check(rows, config, &["a"], &[(NotJson, 2), (NoField, 2)]);
}

#[test]
fn a_bad_row_stops_and_is_named() {
    check_error("in.txt", b"good\n\nb\xffd", lines(), "in.txt, line 3: not UTF-8 at byte 1");
    check_error("in.jsonl", b"{\"text\":\"a\"}\n{}", jsonl(), "in.jsonl, line 2: no field `text`");
    check_error("in.jsonl", b"\n", jsonl(), "in.jsonl, line 1: not a JSON object: EOF");
    let files = DataConfig { validation: no_split(), ..lines() };
    let files = DataConfig { document: DocumentKind::File, ..files };
    check_error("in.txt", b"a\nb\n\xff", files.clone(), "in.txt, line 3: not UTF-8");
    check_error("in.txt", b"\x89PNG\r\n\0", files.clone(), "not text: a NUL byte");
    check_error("in.txt", b"", files, "1 read, 0 kept, 1 blank");
}

#[test]
fn packed_files_are_read_and_damage_is_found() {
    let text = (0..5000u32)
        .map(|n| format!("line {}\n", n.wrapping_mul(2_654_435_769)))
        .collect::<String>();
    let expected: Vec<&str> = text.lines().collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let gz = encoder.finish().unwrap();
    let zst = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, packed) in [("in.gz", &gz), ("in.txt.zst", &zst)] {
        assert_eq!(run(name, packed, lines()).unwrap().1, expected);
        check_error(name, &packed[..packed.len() / 2], lines(), "is damaged after");
    }
    // Two members in one file are one text.
    assert_eq!(run("in.gz", &[gz.clone(), gz].concat(), lines()).unwrap().0.documents, 10_000);
    check_error("in.gz", b"plain", lines(), "is damaged after");
    check_error("in.zst", b"plain", lines(), "is damaged after");
}

#[test]
fn missing_input_is_named() {
    let run = |pattern: &str| {
        let folder = tempfile::tempdir().unwrap();
        prepare(&DataConfig::new([pattern]), &folder.path().join("out"), &mut go_on).unwrap_err()
    };
    assert_eq!(run("/nowhere/a").to_string(), "no such file or folder: /nowhere/a");
    assert_eq!(run("/nowhere/*.txt").to_string(), "no file matches: /nowhere/*.txt");
}

#[test]
fn a_tail_is_the_last_documents_or_the_last_characters() {
    let text = "äbcdefghij";
    let tail = DataConfig { validation: split(Split::Tail, 0.3), ..lines() };
    let (_, train, validation) = run("in.txt", text.as_bytes(), tail.clone()).unwrap();
    assert_eq!((train, validation), (vec!["äbcdefg".to_string()], vec!["hij".to_string()]));
    let rows: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let (report, train, validation) =
        run("in.txt", rows.join("\n").as_bytes(), tail.clone()).unwrap();
    assert_eq!((train, validation), (rows[..7].to_vec(), rows[7..].to_vec()));
    assert_eq!(report.validation.documents, 3);
    check_error("in.txt", b"a", tail, "no document is left for the");
    let hash = DataConfig { validation: split(Split::Hash, 0.1), ..lines() };
    check_error("in.txt", b"a", hash, "split = \"tail\"");
}

#[test]
fn a_stop_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.txt");
    fs::write(&input, "a\nb\n").unwrap();
    let config = DataConfig { paths: vec![input.display().to_string()], ..lines() };
    let out = folder.path().join("out");
    let error = prepare(&config, &out, &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let text: String = (0..150_000u64)
        .map(|n| format!("{} é {}\n", n % 90_000, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.txt");
    fs::write(&input, text).unwrap();
    let config = DataConfig {
        paths: vec![input.display().to_string()],
        validation: split(Split::Hash, 0.2),
        ..lines()
    };
    let bytes = |threads: usize| {
        let out = folder.path().join(format!("out{threads}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| prepare(&config, &out, &mut go_on)).unwrap();
        ["train.jsonl.zst", "validation.jsonl.zst", "report.json"]
            .map(|name| fs::read(out.join(name)).unwrap())
    };
    assert_eq!(bytes(1), bytes(3));
}

#[test]
fn unknown_keys_are_refused() {
    let read = |json: &str| serde_json::from_str::<DataConfig>(json);
    assert!(read(r#"{"paths":["a"],"on_bad_row":"drop","validation":{"split":"tail"}}"#).is_ok());
    assert!(read(r#"{"paths":["a"],"dedup":true}"#).is_err());
    assert!(read(r#"{"paths":["a"],"validation":{"size":2}}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_hash_split_is_stable(
        first in proptest::collection::btree_set("[a-z]{1,6}", 40..60),
        more in proptest::collection::btree_set("[a-z]{1,6}", 0..60),
    ) {
        let config = DataConfig { validation: split(Split::Hash, 0.3), ..lines() };
        let run = |rows: Vec<&str>| {
            let (_, train, validation) = run("in.txt", rows.join("\n").as_bytes(), config.clone()).unwrap();
            (BTreeSet::from_iter(train), BTreeSet::from_iter(validation))
        };
        let (train, validation) = run(first.iter().map(String::as_str).collect());
        let all = more.iter().chain(&first).map(String::as_str).collect();
        let (all_train, all_validation) = run(all);
        prop_assert!(train.is_subset(&all_train));
        prop_assert!(validation.is_subset(&all_validation));
    }
}

#[test]
fn the_format_is_told_by_the_names_of_the_files() {
    let check = |name: &str, expected: &[&str]| {
        let (_, train, _) = run(name, b"{\"text\":\"a\"}\n{\"text\":\"b\"}\n", plain()).unwrap();
        assert_eq!(train, expected, "{name}");
    };
    check("a.jsonl", &["a", "b"]);
    check("a.txt", &["{\"text\":\"a\"}\n{\"text\":\"b\"}\n"]);
    let error = run("a.jsonl", b"{}", lines()).unwrap_err().to_string();
    assert!(error.contains("data.document"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "b.txt"] {
        fs::write(folder.path().join(name), "{}").unwrap();
    }
    let config = DataConfig::new([folder.path().display().to_string()]);
    let error = prepare(&config, &folder.path().join("out"), &mut go_on).unwrap_err();
    assert!(error.to_string().contains("`data.format`: must be given"), "{error}");
}

fn plain() -> DataConfig {
    DataConfig { validation: no_split(), ..DataConfig::new([""]) }
}
