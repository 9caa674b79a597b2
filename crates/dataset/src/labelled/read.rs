//! A labelled file in, its rows out, each with text, label and line; what is no such row is an error or a counted drop.

use super::columns::{Column, LabelledConfig, LabelledFormat};
use crate::config::OnBadRow;
use crate::error::{Error, Result};
use crate::read::Source;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The longest line of JSONL, and the longest row of a table, in bytes.
const LONGEST: usize = 16 << 20;

/// A text with its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledRow {
    /// The text.
    pub text: String,
    /// The label; numbers and truth values of JSON as they are written there.
    pub label: String,
    /// The line where the row begins, from 1.
    pub line: u64,
}

/// The rows of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledRows {
    /// The file.
    pub path: PathBuf,
    /// Its rows, in order.
    pub rows: Vec<LabelledRow>,
    /// How many were left out by `on_bad_row = "drop"`.
    pub dropped: u64,
}

impl LabelledRows {
    /// A hash of all texts and labels, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in self.rows.iter().flat_map(|row| [&row.text, &row.label]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Reads a CSV, TSV or JSONL file, packed or not. Texts are taken as they are; labels lose the space around them.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("films.csv");
/// std::fs::write(&path, "\"good, really\",1\nbad,0\n").unwrap();
/// let read = idiolect_dataset::read_labelled(&path, &Default::default())?;
/// assert_eq!((read.rows[0].text.as_str(), read.rows[0].label.as_str()), ("good, really", "1"));
/// assert_eq!(read.rows[1].line, 2);
/// # Ok::<(), idiolect_dataset::Error>(())
/// ```
pub fn read_labelled(path: &Path, config: &LabelledConfig) -> Result<LabelledRows> {
    let format = config.validate_for(path)?;
    let mut sink = Sink {
        read: LabelledRows { path: path.to_path_buf(), rows: Vec::new(), dropped: 0 },
        on_bad_row: config.on_bad_row,
    };
    let source = Source::open(path, Arc::new(AtomicU64::new(0)))?;
    match format {
        LabelledFormat::Jsonl => jsonl(source, config, &mut sink)?,
        LabelledFormat::Csv | LabelledFormat::Tsv => table(source, format, config, &mut sink)?,
    }
    Ok(sink.read)
}

/// Takes rows, and errors as the configuration wants them.
struct Sink {
    read: LabelledRows,
    on_bad_row: OnBadRow,
}

impl Sink {
    fn take(
        &mut self,
        line: u64,
        row: std::result::Result<(String, String), String>,
    ) -> Result<()> {
        match row {
            Ok((text, label)) => self.read.rows.push(LabelledRow { text, label, line }),
            Err(_) if self.on_bad_row == OnBadRow::Drop => self.read.dropped += 1,
            Err(what) => {
                return Err(Error::BadRow { path: self.read.path.clone(), line, what });
            }
        }
        Ok(())
    }
}

/// Text and label, if both are there.
fn row(text: &str, label: &str) -> std::result::Result<(String, String), String> {
    match (text.trim().is_empty(), label.trim()) {
        (_, "") => Err("no label".to_string()),
        (true, _) => Err("no text".to_string()),
        (false, label) => Ok((text.to_string(), label.to_string())),
    }
}

fn jsonl(mut source: Source, config: &LabelledConfig, sink: &mut Sink) -> Result<()> {
    let names =
        [config.text_column(LabelledFormat::Jsonl), config.label_column(LabelledFormat::Jsonl)];
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let taken = source.take(Some(b'\n'), LONGEST, &mut bytes)?;
        if !taken.any {
            break;
        }
        let given = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| line == 1).unwrap_or(&bytes);
        if !taken.fits {
            sink.take(line, Err(too_long()))?;
        } else if !given.trim_ascii().is_empty() {
            sink.take(line, object(given, &names))?;
        }
    }
    Ok(())
}

fn object(bytes: &[u8], names: &[Column; 2]) -> std::result::Result<(String, String), String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)
        .map_err(|error| {
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            format!("not a JSON object: {text}")
        })?;
    let field = |column: &Column| {
        let Column::Name(name) = column else { return Err("a field has no number".to_string()) };
        match object.get(name) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                Ok(value.to_string())
            }
            Some(_) => Err(format!("field `{name}` is neither text nor a number")),
            None => Err(format!("no field `{name}`")),
        }
    };
    row(&field(&names[0])?, &field(&names[1])?)
}

fn table(
    source: Source,
    format: LabelledFormat,
    config: &LabelledConfig,
    sink: &mut Sink,
) -> Result<()> {
    let tabs = format == LabelledFormat::Tsv;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if tabs { b'\t' } else { b',' })
        .quoting(!tabs)
        .has_headers(false)
        .flexible(true)
        .from_reader(source.into_reader());
    let mut record = csv::ByteRecord::new();
    let mut shape: Option<Shape> = None;
    loop {
        let more = reader.read_byte_record(&mut record);
        if !more.map_err(|error| failed(&sink.read.path, error))? {
            return Ok(());
        }
        let line = record.position().map_or(1, csv::Position::line);
        let shape =
            match &shape {
                Some(shape) => shape,
                None => {
                    let found = Shape::of(&record, format, config).map_err(|what| {
                        Error::BadRow { path: sink.read.path.clone(), line, what }
                    })?;
                    let shape = shape.insert(found);
                    if config.has_header() {
                        continue;
                    }
                    shape
                }
            };
        sink.take(line, shape.row(&record))?;
    }
}

/// What the first line of a table says.
struct Shape {
    columns: usize,
    text: usize,
    label: usize,
}

impl Shape {
    fn of(
        first: &csv::ByteRecord,
        format: LabelledFormat,
        config: &LabelledConfig,
    ) -> std::result::Result<Shape, String> {
        let place = |column: Column| match column {
            Column::Number(number) if number <= first.len() => Ok(number - 1),
            Column::Number(number) => Err(format!("no column {number} of {}", first.len())),
            Column::Name(name) => first
                .iter()
                .position(|cell| cell.trim_ascii() == name.as_bytes())
                .ok_or_else(|| format!("no column `{name}` in the header")),
        };
        let text = place(config.text_column(format))?;
        let label = place(config.label_column(format))?;
        Ok(Shape { columns: first.len(), text, label })
    }

    fn row(&self, record: &csv::ByteRecord) -> std::result::Result<(String, String), String> {
        if record.len() != self.columns {
            return Err(format!("{} columns, the first line has {}", record.len(), self.columns));
        }
        if record.as_slice().len() > LONGEST {
            return Err(too_long());
        }
        let cell = |column: usize| {
            let bytes = record.get(column).unwrap_or_default();
            std::str::from_utf8(bytes).map_err(|_| format!("column {} is not UTF-8", column + 1))
        };
        row(cell(self.text)?, cell(self.label)?)
    }
}

fn too_long() -> String {
    format!("longer than {} MiB", LONGEST >> 20)
}

fn failed(path: &Path, error: csv::Error) -> Error {
    let source = match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => std::io::Error::other(format!("{other:?}")),
    };
    Error::Io { action: "read", path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(
        name: &str,
        config: &str,
        content: &[u8],
        expected: std::result::Result<&[(&str, &str, u64)], &str>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let config: LabelledConfig = toml::from_str(config).unwrap();
        let read = read_labelled(&path, &config).map_err(|error| {
            let text = error.to_string();
            let text = text.replace(&format!("{}, ", path.display()), "");
            text.split("; on_bad_row").next().unwrap_or_default().to_string()
        });
        let read = read.map(|read| read.rows);
        let rows = read.as_ref().map(|rows| {
            rows.iter().map(|r| (r.text.as_str(), r.label.as_str(), r.line)).collect::<Vec<_>>()
        });
        assert_eq!(rows.map_err(String::as_str), expected.map(<[_]>::to_vec));
    }

    #[test]
    fn formats_and_columns() {
        check(
            "a.tsv",
            "",
            b"so \"good\t1\nbad\t 0 \r\n",
            Ok(&[("so \"good", "1", 1), ("bad", "0", 2)]),
        );
        check(
            "a.csv",
            "",
            b"\"a, \"\"b\"\"\nc\",x\nd,y\n",
            Ok(&[("a, \"b\"\nc", "x", 1), ("d", "y", 3)]),
        );
        let named = "text = 'review'\nlabel = 'stars'";
        check("a.csv", named, b"\xef\xbb\xbfid,stars,review\n7,5,fine\n", Ok(&[("fine", "5", 2)]));
        check(
            "a.csv",
            "text = 3\nlabel = 1\nheader = true",
            b"s,i,r\n5,7,fine\n",
            Ok(&[("fine", "5", 2)]),
        );
        let lines = b"{\"text\":\"a\",\"label\":1}\n\n{\"label\":true,\"text\":\"b\"}";
        check("a.jsonl", "", lines, Ok(&[("a", "1", 1), ("b", "true", 3)]));
        check("a.txt", "format = 'tsv'", b"a\tb", Ok(&[("a", "b", 1)]));
        check("a.tsv", "", b"", Ok(&[]));
    }

    #[test]
    fn bad_rows_are_told_with_their_line() {
        check("a.tsv", "", b"a\t1\nb\n", Err("line 2: 1 columns, the first line has 2"));
        check("a.tsv", "", b"a\t1\nb\t \n", Err("line 2: no label"));
        check("a.tsv", "", b"a\t1\n \t1\n", Err("line 2: no text"));
        check("a.tsv", "", b"a\t1\n\xff\t1\n", Err("line 2: column 1 is not UTF-8"));
        check("a.tsv", "label = 3", b"a\t1\n", Err("line 1: no column 3 of 2"));
        check(
            "a.csv",
            "label = 'y'\ntext = 'x'",
            b"x,z\n1,2",
            Err("line 1: no column `y` in the header"),
        );
        check("a.jsonl", "", b"{\"text\":\"a\"}", Err("line 1: no field `label`"));
        check(
            "a.jsonl",
            "",
            b"{\"text\":[],\"label\":1}",
            Err("line 1: field `text` is neither text nor a number"),
        );
        check(
            "a.jsonl",
            "",
            b"{\"text\":\"a\",\"label\":null}",
            Err("line 1: field `label` is neither text nor a number"),
        );
        check(
            "a.jsonl",
            "",
            b"[1]",
            Err("line 1: not a JSON object: invalid type: sequence, expected a map"),
        );
        check(
            "a.tsv",
            "on_bad_row = 'drop'",
            b"a\t1\nb\nc\t2\n",
            Ok(&[("a", "1", 1), ("c", "2", 3)]),
        );
    }

    #[test]
    fn a_configuration_that_cannot_be_carried_out_names_its_key() {
        check("a.txt", "", b"", Err("`data.format`: is needed: a.txt says none by its ending"));
        check("a.tsv", "text = 0", b"", Err("`data.text`: columns are counted from 1"));
        check("a.tsv", "label = 1", b"", Err("`data.label`: is the column of the text"));
        check(
            "a.csv",
            "label = 'y'\nheader = false",
            b"",
            Err("`data.label`: is a name, which needs header = true"),
        );
        check(
            "a.jsonl",
            "label = 2",
            b"",
            Err("`data.label`: JSONL has fields with names, not numbers"),
        );
        check("a.jsonl", "header = true", b"", Err("`data.header`: means nothing for JSONL"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // What is written as CSV or JSONL comes back, whatever stands in it.
        #[test]
        fn texts_and_labels_survive(rows in prop::collection::vec(("[a-z\",\n ]{0,9}x", "[a-c]{1,2}"), 0..9)) {
            let folder = tempfile::tempdir().unwrap();
            let (mut csv, mut jsonl) = (String::new(), String::new());
            for (text, label) in &rows {
                csv.push_str(&format!("\"{}\",{label}\n", text.replace('"', "\"\"")));
                jsonl.push_str(&format!("{}\n", serde_json::json!({"text": text, "label": label})));
            }
            for (name, content) in [("a.csv", csv), ("a.jsonl", jsonl)] {
                let path = folder.path().join(name);
                std::fs::write(&path, content).unwrap();
                let read = read_labelled(&path, &LabelledConfig::default()).unwrap();
                let read: Vec<_> = read.rows.into_iter().map(|row| (row.text, row.label)).collect();
                prop_assert_eq!(&read, &rows);
            }
        }

        #[test]
        fn any_bytes_end_in_rows_or_a_typed_error(bytes: Vec<u8>, name in "a\\.(csv|tsv|jsonl)", drop: bool) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let on_bad_row = if drop { OnBadRow::Drop } else { OnBadRow::Stop };
            let config = LabelledConfig { on_bad_row, ..LabelledConfig::default() };
            if let Err(error) = read_labelled(&path, &config) {
                let is_typed = matches!(error, Error::BadRow { .. });
                prop_assert!(is_typed);
            }
        }
    }
}
