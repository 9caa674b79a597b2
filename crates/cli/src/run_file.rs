//! Run files: TOML and the command line in; what was typed ([`RunFile`]), and what runs ([`Run`]), out.
//!
//! ```toml
//! run = "runs/my-run"     # where everything goes; below the current folder [runs/<name of the file>]
//! seed = 0                # where all randomness comes from
//! [data]                  # idiolect_dataset::DataConfig; its paths are relative to this file
//! [tokenizer]             # idiolect_tokenizer::TrainConfig
//! [model]                 # idiolect_model::ModelConfig; vocab_size comes from the tokenizer
//! [samples]               # idiolect_dataset::CausalConfig or MaskedConfig, as the model's type needs
//! [trainer]               # idiolect_trainer::TrainerConfig
//! [evaluate]              # EvaluateSection: for `idiolect evaluate RUN.toml`
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use idiolect_dataset::DataConfig;
use idiolect_model::ModelConfig;
use idiolect_tokenizer::{Tokenizer, TrainConfig};
use idiolect_trainer::TrainerConfig;
use serde::Serialize;
use toml::{Table, Value};

use crate::arguments::{Common, Dtype, RunArguments};
use crate::commands::EvaluateSection;
use crate::output::usage;
use crate::samples::SamplesConfig;
use crate::section::{Source, seen_from};

/// A run file as typed: every section is sound by itself, and may be missing.
pub struct RunFile {
    source: Source,
    /// Where everything goes.
    pub folder: PathBuf,
    /// Where all randomness comes from.
    pub seed: u64,
    sections: Sections,
}

#[derive(Debug, Clone, Serialize)]
struct Sections {
    data: Option<DataConfig>,
    tokenizer: Option<TrainConfig>,
    model: Option<ModelConfig>,
    samples: Option<SamplesConfig>,
    trainer: Option<TrainerConfig>,
    evaluate: Option<EvaluateSection>,
}

/// A run that can run: every section is there and they fit together.
#[derive(Debug)]
pub struct Run {
    /// Its name, for the report.
    pub name: String,
    /// The run file as validated.
    table: Table,
    /// Where everything goes.
    pub folder: PathBuf,
    /// Where all randomness comes from.
    pub seed: u64,
    /// The vocabulary's size where the run file gives one, to leave room above the tokenizer's ids.
    own_vocab_size: Option<usize>,
    /// What to build; without a vocabulary's size of its own, with the one that is to be expected.
    pub model: ModelConfig,
    /// How token shards are cut into rows.
    pub samples: SamplesConfig,
    /// How to train.
    pub trainer: TrainerConfig,
}

const KEYS: &[&str] =
    &["run", "seed", "data", "tokenizer", "model", "samples", "trainer", "evaluate"];

/// The section that makes a run file one of fine-tuning, see [`crate::fine_tune_file`].
pub const TASK: &str = "task";

impl RunFile {
    /// Reads a run file with the command line's changes.
    pub fn read(arguments: &RunArguments, common: &Common) -> Result<Self> {
        Self::of(Source::read(&arguments.run_file, &arguments.set)?, common)
    }

    /// The same, of a file that was read already.
    pub fn of(source: Source, common: &Common) -> Result<Self> {
        if source.has_section(TASK) {
            let what = "only `idiolect train` takes a run file that fine-tunes";
            return Err(source.refuse(TASK, None, what));
        }
        source.expect_keys(KEYS)?;
        let seed = seed(&source, common)?;
        let folder = run_folder(&source)?;
        let model = source.section("model")?;
        let sections = Sections {
            data: source.section("data")?,
            tokenizer: source.section("tokenizer")?,
            samples: samples(&source, model.as_ref(), seed, common)?,
            model,
            trainer: trainer(&source, seed, common)?,
            evaluate: source.section("evaluate")?,
        };
        Ok(Self { source, folder, seed, sections })
    }

    /// The section `[data]`, its paths as seen from the current folder.
    pub fn data(&self) -> Result<DataConfig> {
        let mut data = self.expect("data", &self.sections.data)?.clone();
        data.validate().map_err(|error| self.dataset_error("data", error))?;
        for path in &mut data.paths {
            *path = self.source.beside(Path::new(path)).to_string_lossy().into_owned();
        }
        Ok(data)
    }

    /// The section `[tokenizer]`.
    pub fn tokenizer(&self) -> Result<&TrainConfig> {
        let tokenizer = self.expect("tokenizer", &self.sections.tokenizer)?;
        tokenizer.validate().map_err(|error| match error {
            idiolect_tokenizer::Error::Config { key, what } => {
                self.source.refuse("tokenizer", Some(key), &what)
            }
            other => self.source.refuse("tokenizer", None, &other.to_string()),
        })?;
        Ok(tokenizer)
    }

    /// The section `[evaluate]`, with the run's own model and validation documents for what it leaves out.
    pub fn evaluate(&self) -> EvaluateSection {
        let mut section = self.sections.evaluate.clone().unwrap_or_default();
        section.model = Some(match section.model {
            Some(model) => self.source.beside(&model),
            None => self.folder.clone(),
        });
        section.data = Some(match section.data {
            Some(data) => self.source.beside(&data),
            None => self.folder.join("data/validation.jsonl.zst"),
        });
        section
    }

    /// Checks everything that can be checked before anything is spent.
    pub fn validate(&self) -> Result<Run> {
        self.data()?;
        let tokenizer = self.tokenizer()?;
        let mut model = self.expect("model", &self.sections.model)?.clone();
        let samples = self.expect("model", &self.sections.samples)?.clone();
        let trainer = self.expect("trainer", &self.sections.trainer)?.clone();
        // 0 stands for "the tokenizer's" in what presets and older runs wrote.
        let own_vocab_size = Some(model.vocab_size())
            .filter(|&size| size > 0 && self.source.has("model", "vocab_size"));
        model.set_vocab_size(own_vocab_size.unwrap_or(vocab_size_hint(tokenizer)));
        model.validate().map_err(|error| self.model_error(error))?;
        let (columns, most) = (samples.context_length(), model.context_length());
        if !(1..=most).contains(&columns) {
            let what = format!("is {columns}, must be from 1 to the model's {most}");
            return Err(self.source.refuse("samples", Some("context_length"), &what));
        }
        samples.validate().map_err(|error| self.dataset_error("samples", error))?;
        // How many samples there are, only the data will tell.
        trainer.plan(1 << 32, columns).map_err(|error| self.trainer_error(error))?;
        let folder = self.folder.clone();
        let (name, table) = (self.name(), self.to_table()?);
        Ok(Run { name, table, folder, seed: self.seed, own_vocab_size, model, samples, trainer })
    }

    fn name(&self) -> String {
        self.folder.file_name().map_or("run".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    fn to_table(&self) -> Result<Table> {
        // The record lies in the run's folder, and its paths are relative to that.
        let again = |path: &Path| match path.is_absolute() {
            true => path.to_owned(),
            false => seen_from(&self.folder, &self.source.beside(path)),
        };
        let mut sections = self.sections.clone();
        for path in sections.data.iter_mut().flat_map(|data| &mut data.paths) {
            *path = again(Path::new(path)).to_string_lossy().into_owned();
        }
        if let Some(evaluate) = &mut sections.evaluate {
            let paths = [&mut evaluate.model, &mut evaluate.data];
            paths.into_iter().flatten().for_each(|path| *path = again(path));
        }
        let mut table = Table::try_from(&sections)?;
        table.insert("run".to_owned(), Value::try_from(&self.folder)?);
        table.insert("seed".to_owned(), Value::try_from(self.seed)?);
        Ok(table)
    }

    fn expect<'a, T>(&self, name: &str, section: &'a Option<T>) -> Result<&'a T> {
        let missing =
            || usage(format!("{}: the section [{name}] is missing", self.source.path.display()));
        section.as_ref().ok_or_else(missing)
    }

    fn dataset_error(&self, section: &str, error: idiolect_dataset::Error) -> anyhow::Error {
        match error {
            idiolect_dataset::Error::Config { key, what } => {
                self.source.refuse(section, Some(key.trim_start_matches("data.")), &what)
            }
            other => self.source.refuse(section, None, &other.to_string()),
        }
    }

    fn model_error(&self, error: idiolect_model::Error) -> anyhow::Error {
        match error {
            idiolect_model::Error::Config { key, problem } => {
                self.source.refuse("model", Some(key), &problem)
            }
            other => self.source.refuse("model", None, &other.to_string()),
        }
    }

    fn trainer_error(&self, error: idiolect_trainer::Error) -> anyhow::Error {
        match error {
            idiolect_trainer::Error::Config { key, message } => {
                self.source.refuse("trainer", Some(&key), &message)
            }
            other => self.source.refuse("trainer", None, &other.to_string()),
        }
    }
}

impl Run {
    /// The model with the vocabulary of its tokenizer.
    pub fn model_for(&self, tokenizer: &Tokenizer) -> Result<ModelConfig> {
        let ids = tokenizer.vocab_size();
        let mut model = self.model.clone();
        match self.own_vocab_size {
            Some(own) if own < ids => {
                return Err(usage(format!(
                    "`model.vocab_size` is {own}, the tokenizer has {ids} ids"
                )));
            }
            Some(_) => {}
            None => model.set_vocab_size(ids),
        }
        model.validate()?;
        Ok(model)
    }

    /// The run file as validated, TOML, with the model as it was built.
    pub fn to_toml(&self, model: &ModelConfig) -> Result<String> {
        let mut table = self.table.clone();
        table.insert("model".to_owned(), Value::try_from(model)?);
        toml::to_string(&table).context("cannot write the run file as TOML")
    }
}

/// Where all randomness comes from.
pub(crate) fn seed(source: &Source, common: &Common) -> Result<u64> {
    let seed = common.seed.or(source.section("seed")?).unwrap_or(0);
    match i64::try_from(seed) {
        Ok(_) => Ok(seed),
        Err(_) => Err(usage(format!("--seed {seed}: a run file's numbers end at {}", i64::MAX))),
    }
}

pub(crate) fn trainer(
    source: &Source,
    seed: u64,
    common: &Common,
) -> Result<Option<TrainerConfig>> {
    let Some(mut trainer) = source.section::<TrainerConfig>("trainer")? else { return Ok(None) };
    if common.seed.is_some() || !source.has("trainer", "seed") {
        trainer.seed = seed;
    }
    trainer.threads = common.threads.map(usize::from).or(trainer.threads);
    trainer.dtype = match common.dtype {
        None => trainer.dtype,
        Some(Dtype::F32) => idiolect_trainer::Dtype::F32,
        Some(Dtype::Bf16) => idiolect_trainer::Dtype::Bf16,
        Some(Dtype::F16) => return Err(usage("--dtype f16: training takes f32 or bf16")),
    };
    Ok(Some(trainer))
}

/// Rows are as long as the model takes, unless the section says less.
fn samples(
    source: &Source,
    model: Option<&ModelConfig>,
    seed: u64,
    common: &Common,
) -> Result<Option<SamplesConfig>> {
    let Some(model) = model else {
        return match source.section::<Table>("samples")? {
            None => Ok(None),
            Some(_) => Err(source.refuse("samples", None, "means nothing without [model]")),
        };
    };
    let length = i64::try_from(model.context_length()).unwrap_or(i64::MAX);
    let defaults = Table::from_iter([("context_length".to_owned(), Value::Integer(length))]);
    let mut samples = match model {
        ModelConfig::Bert(_) => SamplesConfig::Masked(source.section_or("samples", defaults)?),
        _ => SamplesConfig::Causal(source.section_or("samples", defaults)?),
    };
    if common.seed.is_some() || !source.has("samples", "seed") {
        match &mut samples {
            SamplesConfig::Causal(config) => config.seed = seed,
            SamplesConfig::Masked(config) => config.seed = seed,
        }
    }
    Ok(Some(samples))
}

/// Where a run file's run goes: a record stands for the run whose folder it lies in, wherever it is called from.
pub fn run_folder(source: &Source) -> Result<PathBuf> {
    match source.run_of_record() {
        Some(folder) => Ok(folder),
        None => Ok(source.section("run")?.unwrap_or_else(|| default_folder(&source.path))),
    }
}

/// `recipes/shakespeare/run.toml` runs in `runs/shakespeare`, `small.toml` in `runs/small`.
pub(crate) fn default_folder(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or(file.as_os_str());
    let parent = file.parent().and_then(Path::file_name);
    Path::new("runs").join(if stem == "run" { parent.unwrap_or(stem) } else { stem })
}

/// As many ids as a tokenizer's configuration asks for; characters are only counted in the data.
fn vocab_size_hint(tokenizer: &TrainConfig) -> usize {
    const CHARACTERS: usize = 256;
    tokenizer.vocab_size().unwrap_or(CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_a_folder_is_named_by_its_file() {
        let check = |file: &str, expected: &str| {
            assert_eq!(default_folder(Path::new(file)), Path::new(expected), "{file}");
        };
        check("recipes/shakespeare/run.toml", "runs/shakespeare");
        check("small.toml", "runs/small");
        check("a/small.toml", "runs/small");
        check("run.toml", "runs/run");
    }

    const WHOLE: &str = include_str!("../tests/run_files/gpt.toml");

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() })]

        #[test]
        fn any_text_ends_in_a_run_or_an_error(
            words in "[a-z\\[\\]={}.,\"0-9\n -]{0,60}",
            at: proptest::sample::Index,
            cut in 0usize..12,
        ) {
            use clap::Parser;
            let common = crate::arguments::Arguments::parse_from(["idiolect", "doctor"]).common;
            let (start, end) = WHOLE.split_at(at.index(WHOLE.len()));
            let end = end.get(cut..).unwrap_or("");
            for text in [words.clone(), format!("{start}{words}{end}")] {
                let source = Source::parse(Path::new("run.toml"), text, &[]);
                if let Ok(file) = source.and_then(|source| RunFile::of(source, &common)) {
                    let _ = (file.data(), file.validate());
                }
            }
        }
    }
}
