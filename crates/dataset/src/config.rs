//! The section `[data]` of a run file: where documents come from and what is done to them.

use crate::error::{Error, Result};
use crate::read::InputFile;
use serde::{Deserialize, Serialize};

/// Where documents come from, how they are cleaned and how they are split.
///
/// ```
/// use idiolect_dataset::{DataConfig, DocumentKind};
///
/// let config = DataConfig { document: DocumentKind::Line, ..DataConfig::new(["poems/*.txt.gz"]) };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Files, folders (every file below that is not hidden, in order of name) and globs. `.gz` and `.zst` are unpacked.
    pub paths: Vec<String>,
    /// What the files hold. Not said, their names tell: JSONL where all end in `.jsonl` (before `.gz` or `.zst`), else text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// What of a text file is one document. JSONL has one a line.
    #[serde(default)]
    pub document: DocumentKind,
    /// The field of a JSONL row that holds the text.
    #[serde(default = "default_field")]
    pub field: String,
    /// What happens at a row that is no document: invalid UTF-8, binary, too large, not JSON, without the field.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// Documents above this size in bytes are bad rows, and are never held in memory whole.
    #[serde(default = "default_max_document_bytes")]
    pub max_document_bytes: u64,
    /// Documents with fewer characters, after cleaning, are dropped.
    #[serde(default)]
    pub min_characters: Option<u64>,
    /// Documents with more characters, after cleaning, are dropped.
    #[serde(default)]
    pub max_characters: Option<u64>,
    /// Whether a document equal to an earlier one, after cleaning, is dropped.
    #[serde(default = "default_true")]
    pub deduplicate: bool,
    /// Whether text is changed: byte order marks and control characters removed, line endings made `\n`, NFC. The filters
    /// above apply in either case.
    #[serde(default = "default_true")]
    pub clean: bool,
    /// Which documents are held out.
    #[serde(default)]
    pub validation: SplitConfig,
}

impl DataConfig {
    /// The defaults: text files, each one document, cleaned, a tenth held out by content.
    pub fn new(paths: impl IntoIterator<Item = impl Into<String>>) -> DataConfig {
        DataConfig {
            paths: paths.into_iter().map(Into::into).collect(),
            format: None,
            document: DocumentKind::default(),
            field: default_field(),
            on_bad_row: OnBadRow::default(),
            max_document_bytes: default_max_document_bytes(),
            min_characters: None,
            max_characters: None,
            deduplicate: true,
            clean: true,
            validation: SplitConfig::default(),
        }
    }

    /// The same with the format that the names of its files tell, where it says none.
    pub(crate) fn with_format_of(&self, files: &[InputFile]) -> Result<DataConfig> {
        let is_jsonl = |file: &InputFile| {
            let name = file.path.to_string_lossy();
            let packed = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end));
            packed.unwrap_or(&name).ends_with(".jsonl")
        };
        if self.format.is_some() {
            return Ok(self.clone());
        }
        let rows = files.iter().filter(|file| is_jsonl(file)).count();
        let told = match rows {
            0 => Format::Text,
            all if all == files.len() => Format::Jsonl,
            _ => {
                let what = "must be given: some of the files are .jsonl and some are not".into();
                return Err(Error::Config { key: "data.format", what });
            }
        };
        let config = DataConfig { format: Some(told), ..self.clone() };
        config.validate()?;
        Ok(config)
    }

    /// Refuses what cannot be carried out, naming the key.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key, what: &str| Err(Error::Config { key, what: what.to_string() });
        if self.paths.is_empty() {
            return refuse("data.paths", "names no file");
        }
        if self.format == Some(Format::Jsonl) && self.document != DocumentKind::default() {
            return refuse("data.document", "applies to format = \"text\"; JSONL has one a line");
        }
        if self.format == Some(Format::Text) && self.field != default_field() {
            return refuse("data.field", "applies to format = \"jsonl\"");
        }
        if self.max_document_bytes == 0 {
            return refuse("data.max_document_bytes", "must be at least 1");
        }
        if matches!((self.min_characters, self.max_characters), (Some(min), Some(max)) if min > max)
        {
            return refuse("data.min_characters", "is larger than max_characters");
        }
        if self.validation.split == Split::None && self.validation.share.is_some() {
            return refuse("data.validation.share", "means nothing with split = \"none\"");
        }
        if !(self.validation.share() > 0.0 && self.validation.share() < 1.0) {
            return refuse("data.validation.share", "must lie between 0 and 1, both excluded");
        }
        Ok(())
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Plain UTF-8.
    Text,
    /// One JSON object a line.
    Jsonl,
}

/// What of a text file is one document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// All of it.
    #[default]
    File,
    /// Each line.
    Line,
    /// What stands between blank lines.
    BlankLine,
}

/// What happens at a row that is no document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// The run stops with an error that names file and line.
    #[default]
    Stop,
    /// It is counted and left out.
    Drop,
}

/// Which documents are held out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// How they are chosen.
    #[serde(default)]
    pub split: Split,
    /// What share of them; a tenth without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

impl SplitConfig {
    /// What share of the documents is held out.
    pub fn share(&self) -> f64 {
        self.share.unwrap_or(0.1)
    }
}

/// How held-out documents are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// By a hash of the content: a document keeps its side when others are added.
    #[default]
    Hash,
    /// The last documents; where there is only one, the last characters of it.
    Tail,
    /// None are.
    None,
}

fn default_field() -> String {
    "text".to_string()
}

fn default_max_document_bytes() -> u64 {
    256 << 20
}

fn default_true() -> bool {
    true
}
