//! Run files that fine-tune: TOML with a section `[task]` and the command line in; what runs out.
//!
//! ```toml
//! run = "runs/my-run"            # as in every run file
//! [task]
//! type = "classification"
//! class_weights = "balanced"     # or { label = 2.0, .. }; every row counts the same without it
//! [data]                         # paths are relative to this file; idiolect_dataset::LabelledConfig's keys too
//! train = "train.tsv"
//! validation = "dev.tsv"
//! [model]
//! from = "DIR"                   # a folder as Transformers writes it, or a GGUF file
//! [trainer]                      # idiolect_trainer::TrainerConfig
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use idiolect_dataset::LabelledConfig;
use idiolect_torch::tch::Device;
use idiolect_trainer::{Dtype, TrainerConfig, check_run_folder};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::arguments::Common;
use crate::output::usage;
use crate::run_file::{TASK, run_folder, seed, trainer};
use crate::section::{Source, seen_from};

/// A run of fine-tuning.
#[derive(Debug)]
pub struct FineTuneFile {
    /// Where errors about keys lead.
    pub source: Source,
    /// Its name, for the report.
    pub name: String,
    /// Where everything goes.
    pub folder: PathBuf,
    /// Where all randomness comes from.
    pub seed: u64,
    /// What is learned.
    pub task: Task,
    /// What it is learned from.
    pub data: Data,
    /// What it is learned by.
    pub model: Base,
    /// How.
    pub trainer: TrainerConfig,
}

/// The section `[task]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// One label for each text.
    Classification {
        /// What the rows of a class count.
        #[serde(skip_serializing_if = "Option::is_none")]
        class_weights: Option<ClassWeights>,
    },
}

/// What the rows of a class count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeights {
    /// By a rule.
    Rule(Rule),
    /// By label; 1 for those that are not named.
    Each(BTreeMap<String, f64>),
}

/// A rule for class weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Every class counts the same in all: `rows / (classes * rows of the class)` (King and Zeng 2001, section 4).
    Balanced,
}

/// The section `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Rows to learn from.
    pub train: PathBuf,
    /// Rows held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// How both are read.
    #[serde(flatten)]
    pub columns: LabelledConfig,
}

/// The section `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The base.
    pub from: PathBuf,
    /// Ids a text at most, the special ones counted; as many as the model takes, but at most 512, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// In place of the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_dropout: Option<f64>,
    /// In place of the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_dropout: Option<f64>,
}

const KEYS: &[&str] = &["run", "seed", TASK, "data", "model", "trainer"];

impl FineTuneFile {
    /// Checks everything that can be checked before a file is read.
    pub fn read(source: Source, common: &Common, device: Device) -> Result<Self> {
        source.expect_keys(KEYS)?;
        let seed = seed(&source, common)?;
        let folder = run_folder(&source)?;
        check_run_folder(&folder)?;
        let name = folder.file_name().map_or("run".into(), |name| name.to_string_lossy().into());
        let missing = |name: &str| {
            usage(format!("{}: the section [{name}] is missing", source.path.display()))
        };
        let mut data: Data = read_data(&source)?.ok_or_else(|| missing("data"))?;
        let mut model: Base = source.section("model")?.ok_or_else(|| missing("model"))?;
        let mut trainer = trainer(&source, seed, common)?.ok_or_else(|| missing("trainer"))?;
        let task = source.section(TASK)?.ok_or_else(|| missing(TASK))?;
        for path in [Some(&mut data.train), data.validation.as_mut(), Some(&mut model.from)] {
            path.into_iter().for_each(|path| *path = source.beside(path));
        }
        // What no one chose is what is fast here; run.toml and the checkpoints record it.
        let is_chosen = common.dtype.is_some() || source.has("trainer", "dtype");
        if !is_chosen && device == Device::Cpu && idiolect_torch::bf16_is_fast() {
            trainer.dtype = Dtype::Bf16;
        }
        if source.has("trainer", "class_weights") {
            let what = "is worked out from `task.class_weights`; give that";
            return Err(source.refuse("trainer", Some("class_weights"), what));
        }
        let needs =
            [("patience", trainer.patience.is_some()), ("best_by", trainer.best_by.is_some())];
        if let Some((key, _)) = needs.iter().find(|(_, is)| *is && data.validation.is_none()) {
            return Err(source.refuse("trainer", Some(key), "needs `data.validation`"));
        }
        Ok(Self { source, name, folder, seed, task, data, model, trainer })
    }

    /// The run file as validated, TOML.
    pub fn to_toml(&self) -> Result<String> {
        // The record lies in the run's folder, and its paths are relative to that.
        let (mut data, mut model) = (self.data.clone(), self.model.clone());
        for path in [Some(&mut data.train), data.validation.as_mut(), Some(&mut model.from)] {
            path.into_iter().for_each(|path| *path = seen_from(&self.folder, path));
        }
        let mut table = Table::new();
        let mut put = |key: &str, value: Result<Value, toml::ser::Error>| -> Result<()> {
            table.insert(key.to_owned(), value.context("cannot write the run file as TOML")?);
            Ok(())
        };
        put("run", Value::try_from(&self.folder))?;
        put("seed", Value::try_from(self.seed))?;
        put(TASK, Value::try_from(&self.task))?;
        put("data", Value::try_from(&data))?;
        put("model", Value::try_from(&model))?;
        put("trainer", Value::try_from(&self.trainer))?;
        toml::to_string(&table).context("cannot write the run file as TOML")
    }
}

/// The section `[data]`. A flattened struct would let unknown keys pass, so that its parts are read one after the other.
fn read_data(source: &Source) -> Result<Option<Data>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Typed {
        train: PathBuf,
        validation: Option<PathBuf>,
        format: Option<idiolect_dataset::LabelledFormat>,
        text: Option<idiolect_dataset::Column>,
        label: Option<idiolect_dataset::Column>,
        header: Option<bool>,
        #[serde(default)]
        on_bad_row: idiolect_dataset::OnBadRow,
    }
    Ok(source.section::<Typed>("data")?.map(|typed| {
        let Typed { train, validation, format, text, label, header, on_bad_row } = typed;
        let columns = LabelledConfig { format, text, label, header, on_bad_row };
        Data { train, validation, columns }
    }))
}
