//! `idiolect train` with a section `[task]`: a base and labelled rows in; a classifier, its report and its scores out.

use std::path::Path;

use anyhow::{Context, Result};
use idiolect_dataset::{
    LabelVocab, LabelledRows, LabelledSamples, LabelledSamplesConfig, Samples, read_labelled,
};
use idiolect_model::FineTune;
use idiolect_model::tch::Device;
use idiolect_tokenizer::Tokenizer;
use idiolect_trainer::{RunContext, TrainerConfig};

use super::train::{Watch, check_memory, failed};
use super::{estimate, model_folder};
use crate::arguments::{Common, Train};
use crate::fine_tune_file::{ClassWeights, FineTuneFile, Rule, Task};
use crate::machine;
use crate::output::{Output, message};
use crate::section::Source;
use crate::stop::Stop;

/// The longest texts when nobody says, in ids: attention's cost grows with their square.
const MAX_LENGTH: usize = 512;

/// Trains to the end, or until it is told to stop.
pub fn run(
    source: Source,
    train: &Train,
    common: &Common,
    output: Output,
    stop: Stop,
    device: Device,
) -> Result<u8> {
    let file = FineTuneFile::read(source, common, device)?;
    let base = model_folder::find(&file.model.from)
        .map_err(|error| file.source.refuse("model", Some("from"), &format!("{error:#}")))?;
    let tokenizer = Tokenizer::open(&base)
        .with_context(|| format!("cannot read the tokenizer of the base {}", base.display()))?;
    let rows = Rows::read(&file)?;
    let tune = FineTune {
        labels: rows.vocab.names().to_vec(),
        pad_token_id: tokenizer.pad_id().or(tokenizer.eos_id()).map(|id| id as usize),
        hidden_dropout: file.model.hidden_dropout,
        attention_dropout: file.model.attention_dropout,
    };
    let shown = || format!("cannot load the base {}", base.display());
    let model_config = tune.config(&base).with_context(shown)?;
    check_memory(&model_config, device)?;
    let most = model_config.context_length();
    let max_length = file.model.max_length.unwrap_or(most.min(MAX_LENGTH));
    if !(1..=most).contains(&max_length) {
        let what = format!("is {max_length}, must be from 1 to the model's {most}");
        return Err(file.source.refuse("model", Some("max_length"), &what));
    }
    let samples = rows.samples(&file, &tokenizer, max_length)?;
    let config = trainer(&file, &samples, &rows.vocab, train.restart)?;
    let mut model = tune.load(&base, file.seed, device).with_context(shown)?;
    let context = context(&file, &config, &rows, &tokenizer, &base, device)?;
    // Before this there was nothing to lose.
    stop.gracefully();
    let mut watch = Watch::of_classifier(output, &tokenizer, stop);
    let outcome = idiolect_trainer::train(
        &mut model,
        &samples.train,
        samples.validation.as_ref().map(|samples| samples as &dyn Samples),
        &config,
        &file.folder,
        &context,
        &mut watch,
    )
    .map_err(|error| failed(error, &file.folder))?;
    watch.end(&outcome, &file.folder, train)
}

/// What was read.
struct Rows {
    train: LabelledRows,
    validation: Option<LabelledRows>,
    vocab: LabelVocab,
}

/// What training and validation take.
struct TrainingSamples {
    train: LabelledSamples,
    validation: Option<LabelledSamples>,
}

impl Rows {
    fn read(file: &FineTuneFile) -> Result<Self> {
        let read = |path: &Path| match read_labelled(path, &file.data.columns) {
            Err(idiolect_dataset::Error::Config { key, what }) => {
                Err(file.source.refuse("data", Some(key.trim_start_matches("data.")), &what))
            }
            other => other.context("cannot read the labelled rows"),
        };
        let train = read(&file.data.train)?;
        let validation = file.data.validation.as_deref().map(read).transpose()?;
        let vocab = LabelVocab::of(&train)
            .with_context(|| format!("the rows of {}", train.path.display()))?;
        for rows in std::iter::once(&train).chain(&validation) {
            let dropped = match rows.dropped {
                0 => String::new(),
                dropped => format!(", {dropped} bad ones left out"),
            };
            message(format!("data: {} rows of {}{dropped}", rows.rows.len(), rows.path.display()));
        }
        Ok(Self { train, validation, vocab })
    }

    fn samples(
        &self,
        file: &FineTuneFile,
        tokenizer: &Tokenizer,
        max_length: usize,
    ) -> Result<TrainingSamples> {
        let rows = self.train.rows.len() as u64;
        let batch_rows = match file.trainer.plan(rows, max_length) {
            Ok(plan) => plan.rows,
            Err(idiolect_trainer::Error::Config { key, message }) => {
                return Err(file.source.refuse("trainer", Some(&key), &message));
            }
            Err(error) => return Err(error.into()),
        };
        let pad_id = tokenizer.pad_id().or(tokenizer.eos_id()).unwrap_or(0);
        let config = LabelledSamplesConfig { max_length, pad_id, batch_rows };
        let of = |rows| LabelledSamples::new(rows, &self.vocab, tokenizer, config);
        let train = of(&self.train)?;
        let validation = self.validation.as_ref().map(of).transpose()?;
        let cut = train.cut() + validation.as_ref().map_or(0, LabelledSamples::cut);
        if cut > 0 {
            message(format!(
                "data: {cut} texts are longer than {max_length} ids and lose their end"
            ));
        }
        let validation = validation.map(LabelledSamples::sorted_by_length);
        Ok(TrainingSamples { train, validation })
    }
}

/// The section `[trainer]` with the weights of the classes.
fn trainer(
    file: &FineTuneFile,
    samples: &TrainingSamples,
    vocab: &LabelVocab,
    restart: bool,
) -> Result<TrainerConfig> {
    let mut config = file.trainer.clone();
    config.resume &= !restart;
    let Task::Classification { class_weights } = &file.task;
    let names = vocab.names();
    config.class_weights = match class_weights {
        None => None,
        Some(ClassWeights::Rule(Rule::Balanced)) => {
            let all = samples.train.len() as f64 / names.len() as f64;
            let counts = samples.train.class_counts(names.len());
            Some(counts.into_iter().map(|count| all / count as f64).collect())
        }
        Some(ClassWeights::Each(weights)) => {
            if let Some(unknown) = weights.keys().find(|name| vocab.number(name).is_none()) {
                let what = format!("the rows have no label `{unknown}`, only {}", names.join(", "));
                return Err(file.source.refuse("task", Some("class_weights"), &what));
            }
            Some(names.iter().map(|name| weights.get(name).copied().unwrap_or(1.0)).collect())
        }
    };
    Ok(config)
}

/// What the report and the model card should say.
fn context(
    file: &FineTuneFile,
    config: &TrainerConfig,
    rows: &Rows,
    tokenizer: &Tokenizer,
    base: &Path,
    device: Device,
) -> Result<RunContext> {
    let held_out = rows.validation.as_ref();
    let count = |rows: &LabelledRows| format!("{} ({} dropped)", rows.rows.len(), rows.dropped);
    let weights = match base.is_file() {
        true => base.to_owned(),
        false => base.join("model.safetensors"),
    };
    let mut lineage = vec![
        ("base", base.file_name().unwrap_or(base.as_os_str()).to_string_lossy().into_owned()),
        ("training rows", count(&rows.train)),
        ("data", rows.train.hash()),
        ("tokenizer", tokenizer.hash()),
    ];
    if weights.is_file() {
        lineage.push(("base weights", idiolect_files::hash_file(&weights)?));
    }
    if let Some(held_out) = held_out {
        lineage.push(("validation rows", count(held_out)));
        lineage.push(("validation data", held_out.hash()));
    }
    Ok(RunContext {
        name: file.name.clone(),
        run_file: file.to_toml()?,
        commit: option_env!("IDIOLECT_COMMIT").map(str::to_owned),
        lineage: lineage.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        peak_flops: Some(machine::matrix_product_speed(device, estimate::kind(config.dtype))?),
    })
}
