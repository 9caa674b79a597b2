//! How labelled files are read: what a person typed in, format and columns out.

use crate::config::OnBadRow;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How files of labelled rows are read.
///
/// ```
/// use idiolect_dataset::{Column, LabelledConfig, LabelledFormat};
///
/// let config = LabelledConfig { header: Some(true), ..LabelledConfig::default() };
/// assert_eq!(config.format_of("a/b.tsv.gz".as_ref())?, LabelledFormat::Tsv);
/// assert_eq!(config.text_column(LabelledFormat::Tsv), Column::Number(1));
/// assert_eq!(config.text_column(LabelledFormat::Jsonl), Column::Name("text".into()));
/// # Ok::<(), idiolect_dataset::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelledConfig {
    /// What the files hold; by their names' endings when absent.
    pub format: Option<LabelledFormat>,
    /// Where the text is: the first column, or the field `text`.
    pub text: Option<Column>,
    /// Where the label is: the second column, or the field `label`.
    pub label: Option<Column>,
    /// Whether the first line of a CSV or TSV file names the columns; when absent, if a column is given by name.
    pub header: Option<bool>,
    /// What happens at a row that is ragged, no text or without a label.
    pub on_bad_row: OnBadRow,
}

/// What a file of labelled rows holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelledFormat {
    /// Comma-separated, with quotes as in RFC 4180.
    Csv,
    /// Separated by tabs; quotes mean themselves.
    Tsv,
    /// One JSON object a line.
    Jsonl,
}

/// A column of a table or a field of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// From 1, as `cut -f` counts.
    Number(usize),
    /// As the header or the object calls it.
    Name(String),
}

impl LabelledConfig {
    /// The format of a file.
    pub fn format_of(&self, path: &Path) -> Result<LabelledFormat> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let plain = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end));
        match plain.unwrap_or(&name).rsplit('.').next() {
            Some("csv") => Ok(LabelledFormat::Csv),
            Some("tsv" | "tab") => Ok(LabelledFormat::Tsv),
            Some("jsonl" | "ndjson") => Ok(LabelledFormat::Jsonl),
            _ => Err(refuse("data.format", format!("is needed: {name} says none by its ending"))),
        }
    }

    /// Where the text is.
    pub fn text_column(&self, format: LabelledFormat) -> Column {
        self.text.clone().unwrap_or_else(|| default(format, 1, "text"))
    }

    /// Where the label is.
    pub fn label_column(&self, format: LabelledFormat) -> Column {
        self.label.clone().unwrap_or_else(|| default(format, 2, "label"))
    }

    /// Whether the first line of a table names its columns.
    pub fn has_header(&self) -> bool {
        let named = |column: &Option<Column>| matches!(column, Some(Column::Name(_)));
        self.header.unwrap_or(named(&self.text) || named(&self.label))
    }

    /// Refuses what cannot be carried out for a file, naming the key.
    pub fn validate_for(&self, path: &Path) -> Result<LabelledFormat> {
        let format = self.format_of(path)?;
        let columns =
            [("data.text", self.text_column(format)), ("data.label", self.label_column(format))];
        for (key, column) in &columns {
            match column {
                Column::Number(0) => return Err(refuse(key, "columns are counted from 1".into())),
                Column::Number(_) if format == LabelledFormat::Jsonl => {
                    return Err(refuse(key, "JSONL has fields with names, not numbers".into()));
                }
                Column::Name(_) if format != LabelledFormat::Jsonl && !self.has_header() => {
                    let what = "is a name, which needs header = true".into();
                    return Err(refuse(key, what));
                }
                _ => {}
            }
        }
        if format == LabelledFormat::Jsonl && self.header.is_some() {
            return Err(refuse("data.header", "means nothing for JSONL".into()));
        }
        if columns[0].1 == columns[1].1 {
            return Err(refuse("data.label", "is the column of the text".into()));
        }
        Ok(format)
    }
}

fn default(format: LabelledFormat, number: usize, name: &str) -> Column {
    match format {
        LabelledFormat::Jsonl => Column::Name(name.to_string()),
        LabelledFormat::Csv | LabelledFormat::Tsv => Column::Number(number),
    }
}

fn refuse(key: &'static str, what: String) -> Error {
    Error::Config { key, what }
}
