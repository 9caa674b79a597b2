//! `idiolect train`: a run file in; a trained model folder, its report and its scores out.

use std::path::Path;

use anyhow::{Context, Result};
use idiolect_evaluation::{Estimate, accuracy, macro_f1};
use idiolect_files::write_atomic;
use idiolect_model::{Model, ModelConfig};
use idiolect_tokenizer::Tokenizer;
use idiolect_torch::tch::Device;
use idiolect_trainer::{
    CallbackError, Callbacks, Event, Outcome, RunContext, Summary, ValidationMetrics,
    check_run_folder,
};
use serde::Serialize;

use super::{DONE, fine_tune, stages};
use crate::arguments::{Common, Train};
use crate::machine;
use crate::output::{Output, message, usage};
use crate::progress::Progress;
use crate::run_file::{Run, RunFile, TASK};
use crate::section::Source;
use crate::stop::Stop;

/// Trains to the end, or until it is told to stop.
pub fn run(train: &Train, common: &Common, output: Output, stop: Stop) -> Result<u8> {
    let device = machine::prepare(common)?;
    let source = Source::read(&train.run.run_file, &train.run.set)?;
    if source.has_section(TASK) {
        return fine_tune::run(source, train, common, output, stop, device);
    }
    let file = RunFile::of(source, common)?;
    let run = file.validate()?;
    check_run_folder(&run.folder)?;
    if train.restart
        && let Some(aside) = idiolect_trainer::set_run_aside(&run.folder)?
    {
        message(format!("an earlier run's files were moved to {}", aside.display()));
    }
    let prepared = stages::documents(&file)?;
    let (tokenizer, _) = stages::tokenizer(&file, &prepared)?;
    let samples = stages::samples(&run, &prepared, &tokenizer)?;
    let model_config = run.model_for(&tokenizer)?;
    check_memory(&model_config, device)?;
    let mut model =
        Model::new(&model_config, run.seed, device).context("cannot build the model")?;
    let mut config = run.trainer.clone();
    config.resume &= !train.restart;
    // Before this there was nothing to lose.
    stop.gracefully();
    let mut watch = Watch::new(output, &tokenizer, stop);
    let outcome = idiolect_trainer::train(
        &mut model,
        samples.train.as_ref(),
        samples.validation.as_deref(),
        &config,
        &run.folder,
        &RunContext {
            peak_flops: Some(machine::matrix_product_speed(
                device,
                super::estimate::kind(run.trainer.dtype),
            )?),
            ..context(&run, &model_config, &prepared, &tokenizer)?
        },
        &mut watch,
    )
    .map_err(|error| failed(error, &run.folder))?;
    watch.end(&outcome, &run.folder, train)
}

/// Why training ended, and what to type where that is known.
pub(super) fn failed(error: idiolect_trainer::Error, folder: &Path) -> anyhow::Error {
    let advice = match error {
        idiolect_trainer::Error::Finished { .. } => {
            "; --restart begins anew and keeps what is there, --set run=FOLDER leads elsewhere"
        }
        _ => "",
    };
    anyhow::Error::new(error).context(format!("training in {} failed{advice}", folder.display()))
}

/// Refuses a model whose weights and what training keeps beside them no memory of this machine holds: the system would
/// grant it, and end the process later.
pub(super) fn check_memory(model: &ModelConfig, device: Device) -> Result<()> {
    /// A weight, its gradient and the fewest numbers an optimizer keeps of it (Muon's momentum), f32.
    const BYTES_A_PARAMETER: u64 = 12;
    let needed = model.parameter_count().saturating_mul(BYTES_A_PARAMETER);
    let available = machine::memory("MemAvailable");
    if device == Device::Cpu && available.is_some_and(|available| needed > available) {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        return Err(usage(format!(
            "[model] has {} parameters: training needs at least {:.1} GB, {:.1} GB are free; make `model.hidden_size` or `model.n_layers` smaller",
            model.parameter_count(),
            gigabytes(needed),
            gigabytes(available.unwrap_or(0)),
        )));
    }
    Ok(())
}

/// What the report and the model card should say.
fn context(
    run: &Run,
    model: &ModelConfig,
    prepared: &stages::Prepared,
    tokenizer: &Tokenizer,
) -> Result<RunContext> {
    let report = &prepared.report;
    let documents = format!(
        "{} for training, {} for validation, {} of {} dropped",
        report.train.documents,
        report.validation.documents,
        report.dropped_documents(),
        report.documents
    );
    let lineage = [
        ("documents", documents),
        ("data", report.train.hash.clone()),
        ("tokenizer", tokenizer.hash()),
    ];
    Ok(RunContext {
        name: run.name.clone(),
        run_file: run.to_toml(model)?,
        commit: option_env!("IDIOLECT_COMMIT").map(str::to_owned),
        lineage: lineage.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..RunContext::default()
    })
}

/// Shows what training does, and stops it when a signal comes or nobody reads.
pub(super) struct Watch<'a> {
    output: Output,
    tokenizer: &'a Tokenizer,
    stop: Stop,
    /// Whether the model writes text.
    generates: bool,
    progress: Option<Progress>,
    /// Why standard output could not be written.
    broken: Option<anyhow::Error>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(output: Output, tokenizer: &'a Tokenizer, stop: Stop) -> Self {
        let progress = Some(Progress::new("training"));
        Self { output, tokenizer, stop, generates: true, progress, broken: None }
    }

    /// The same for a model that classifies.
    pub(super) fn of_classifier(output: Output, tokenizer: &'a Tokenizer, stop: Stop) -> Self {
        Self { generates: false, ..Self::new(output, tokenizer, stop) }
    }

    fn show(&mut self, event: &Event) {
        let Some(progress) = &mut self.progress else { return };
        match event {
            Event::Started { step, steps, parameters, tokens_per_step, resumed_from } => {
                let how = match resumed_from {
                    Some(_) => format!("going on after step {step}"),
                    None => "from the beginning".to_owned(),
                };
                progress.message(&format!(
                    "training: {parameters} parameters, {steps} steps of {tokens_per_step} tokens, {how}"
                ));
            }
            Event::Warning { message } => progress.message(&format!("warning: {message}")),
            Event::Step { metrics, steps, .. } => {
                let words =
                    format!("loss {:.4}, {:.0} tokens/s", metrics.loss, metrics.tokens_per_second);
                progress.update(metrics.step, Some(*steps), &words);
            }
            Event::Skipped { step, loss, .. } => {
                progress.message(&format!("step {step} skipped: its loss was {loss:.4}"));
            }
            Event::Validated(at) => progress.message(&format!(
                "step {}: validation {:.4} nats{}{}",
                at.step,
                at.validation_loss,
                at.accuracy.map_or(String::new(), |share| format!(", accuracy {share:.4}")),
                at.bits_per_byte.map_or(String::new(), |bits| format!(", {bits:.4} bits per byte")),
            )),
            _ => {}
        }
    }

    /// The line of `metrics.jsonl` that belongs to an event.
    fn print(&self, event: &Event) -> Result<()> {
        match event {
            Event::Step { metrics, .. } => self.output.json(metrics),
            Event::Validated(metrics) => self.output.json(metrics),
            _ => Ok(()),
        }
    }

    /// Says how it ended, and how to go on.
    pub(super) fn end(mut self, outcome: &Outcome, run: &Path, train: &Train) -> Result<u8> {
        let progress = self.progress.take();
        match outcome {
            Outcome::Finished(summary) => {
                if let Some(progress) = progress {
                    progress.finish(&format!("{} steps", summary.steps));
                }
                self.output.result(&Finished::new(summary, run), for_people)?;
                Ok(DONE)
            }
            Outcome::Stopped { step, checkpoint } => {
                drop(progress);
                if let Some(error) = self.broken {
                    // Not the error itself: a reader that went away is a good end elsewhere, but this run is not done.
                    message(format!("stopped, since its output cannot be written: {error:#}"));
                    return Ok(1);
                }
                message(format!(
                    "stopped after step {step}; everything is in {}\nto go on: idiolect train {}",
                    checkpoint.display(),
                    train.run.run_file.display(),
                ));
                Ok(self.stop.status())
            }
            _ => Ok(DONE),
        }
    }
}

impl Callbacks for Watch<'_> {
    fn on_event(&mut self, event: Event) {
        self.show(&event);
        if self.output.is_json()
            && let Err(error) = self.print(&event)
        {
            self.broken = Some(error);
        }
    }

    fn should_stop(&mut self) -> bool {
        self.stop.asked() || self.broken.is_some()
    }

    fn scores(&mut self, validation: &ValidationMetrics) -> Vec<(String, String)> {
        let scores = Scores::of(validation);
        let of = |estimate: Estimate| for_reading(&estimate);
        let rows = [("accuracy", scores.accuracy), ("macro-F1", scores.macro_f1)];
        rows.into_iter().filter_map(|(name, it)| Some((name.to_owned(), of(it?)))).collect()
    }

    fn complete_model(&mut self, folder: &Path) -> Result<(), CallbackError> {
        self.tokenizer.save_folder(folder)?;
        let Some(end) = self.tokenizer.eos_id().filter(|_| self.generates) else { return Ok(()) };
        // Without it Transformers does not know where a text ends.
        let text = format!("{{\n  \"eos_token_id\": {end}\n}}\n");
        Ok(write_atomic(&folder.join("generation_config.json"), text.as_bytes())?)
    }
}

/// The last line of a run: its scores, and where everything is.
#[derive(Serialize)]
struct Finished<'a> {
    done: bool,
    run: &'a Path,
    model: &'a Path,
    report: &'a Path,
    steps: u64,
    skipped: u64,
    loss: Option<f64>,
    validation_loss: Option<f64>,
    validation_stderr: Option<f64>,
    perplexity: Option<f64>,
    bits_per_byte: Option<f64>,
    #[serde(flatten)]
    scores: Scores,
    seconds: f64,
    tokens_per_second: f64,
    peak_memory: u64,
}

impl<'a> Finished<'a> {
    fn new(summary: &'a Summary, run: &'a Path) -> Self {
        let validation = summary.validation.as_ref();
        Self {
            done: true,
            run,
            model: &summary.model,
            report: &summary.report,
            steps: summary.steps,
            skipped: summary.skipped,
            loss: summary.last.as_ref().map(|last| last.loss),
            validation_loss: validation.map(|at| at.validation_loss),
            validation_stderr: validation.and_then(|at| at.validation_stderr),
            perplexity: validation.map(|at| at.perplexity),
            bits_per_byte: validation.and_then(|at| at.bits_per_byte),
            scores: validation.map(Scores::of).unwrap_or_default(),
            seconds: summary.seconds,
            tokens_per_second: summary.tokens_per_second,
            peak_memory: summary.peak_memory,
        }
    }
}

/// How well a model classifies; nothing of one that does not.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Scores {
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    macro_f1: Option<Estimate>,
}

impl Scores {
    fn of(validation: &ValidationMetrics) -> Self {
        let counts = validation.confusion.as_ref().map(|confusion| confusion.counts.as_slice());
        Self { accuracy: counts.map(accuracy), macro_f1: counts.map(macro_f1) }
    }
}

fn for_reading(estimate: &Estimate) -> String {
    let interval = estimate
        .ci95
        .map_or(String::new(), |[low, high]| format!(" (95 % interval {low:.4} to {high:.4})"));
    format!("{:.4}{interval}", estimate.value)
}

fn for_people(it: &Finished) -> String {
    let nats = |loss: f64| format!("{loss:.4} nats");
    let rows = [
        ("training loss", it.loss.map(nats)),
        ("validation loss", it.validation_loss.map(nats)),
        ("accuracy", it.scores.accuracy.as_ref().map(for_reading)),
        ("macro-F1", it.scores.macro_f1.as_ref().map(for_reading)),
        ("bits per byte", it.bits_per_byte.map(|bits| format!("{bits:.4}"))),
        ("speed", Some(format!("{:.0} tokens/s, {:.1} s", it.tokens_per_second, it.seconds))),
        ("peak memory", Some(format!("{:.0} MiB", it.peak_memory as f64 / (1 << 20) as f64))),
        ("model", Some(it.model.display().to_string())),
        ("report", Some(it.report.display().to_string())),
        ("metrics", Some(it.run.join("metrics.jsonl").display().to_string())),
    ];
    let rows =
        rows.iter().filter_map(|(name, value)| Some(format!("{name:16} {}", value.as_ref()?)));
    rows.collect::<Vec<_>>().join("\n")
}
