//! `idiolect train`: a run file in; a trained model folder, its report and its scores out.

use std::path::Path;

use anyhow::{Context, Result};
use idiolect_model::Model;
use idiolect_tokenizer::Tokenizer;
use idiolect_trainer::{CallbackError, Callbacks, Event, Outcome, RunContext, Summary};
use serde::Serialize;

use super::{DONE, stages};
use crate::arguments::{Common, Train};
use crate::machine;
use crate::output::{Output, message};
use crate::progress::Progress;
use crate::run_file::{Run, RunFile};
use crate::stop::Stop;

/// Trains to the end, or until it is told to stop.
pub fn run(train: &Train, common: &Common, output: Output, stop: Stop) -> Result<u8> {
    let device = machine::prepare(common)?;
    let file = RunFile::read(&train.run, common)?;
    let run = file.validate()?;
    let prepared = stages::documents(&file)?;
    let (tokenizer, _) = stages::tokenizer(&file, &prepared)?;
    let samples = stages::samples(&run, &prepared, &tokenizer)?;
    let model_config = run.model_for(&tokenizer)?;
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
        &context(&run, &prepared, &tokenizer),
        &mut watch,
    )
    .with_context(|| format!("training in {} failed", run.folder.display()))?;
    watch.end(&outcome, &run, train)
}

/// What the report and the model card should say.
fn context(run: &Run, prepared: &stages::Prepared, tokenizer: &Tokenizer) -> RunContext {
    let lineage = [
        ("data", prepared.report.train.hash.clone()),
        ("tokenizer", tokenizer.hash()),
        ("idiolect", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    RunContext {
        name: run.name.clone(),
        run_file: run.text.clone(),
        commit: option_env!("IDIOLECT_COMMIT").map(str::to_owned),
        lineage: lineage.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..RunContext::default()
    }
}

/// Shows what training does, and stops it when a signal comes or nobody reads.
struct Watch<'a> {
    output: Output,
    tokenizer: &'a Tokenizer,
    stop: Stop,
    progress: Option<Progress>,
    /// Why standard output could not be written.
    broken: Option<anyhow::Error>,
}

impl<'a> Watch<'a> {
    fn new(output: Output, tokenizer: &'a Tokenizer, stop: Stop) -> Self {
        Self { output, tokenizer, stop, progress: Some(Progress::new("training")), broken: None }
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
                "step {}: validation {:.4} nats{}",
                at.step,
                at.validation_loss,
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
    fn end(mut self, outcome: &Outcome, run: &Run, train: &Train) -> Result<u8> {
        let progress = self.progress.take();
        match outcome {
            Outcome::Finished(summary) => {
                if let Some(progress) = progress {
                    progress.finish(&format!("{} steps", summary.steps));
                }
                finished(self.output, summary, &run.folder)?;
                Ok(DONE)
            }
            Outcome::Stopped { step, checkpoint } => {
                drop(progress);
                if let Some(error) = self.broken {
                    return Err(error);
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

    fn complete_model(&mut self, folder: &Path) -> Result<(), CallbackError> {
        Ok(self.tokenizer.save_folder(folder)?)
    }
}

/// The scores and where everything is.
fn finished(output: Output, summary: &Summary, folder: &Path) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        done: bool,
        run: &'a Path,
        #[serde(flatten)]
        summary: &'a Summary,
    }
    output
        .result(&Line { done: true, run: folder, summary }, |line| for_people(line.summary, folder))
}

fn for_people(summary: &Summary, folder: &Path) -> String {
    let mut lines = Vec::new();
    if let Some(last) = &summary.last {
        lines.push(format!("training loss   {:.4} nats", last.loss));
    }
    if let Some(validation) = &summary.validation {
        lines.push(format!("validation loss {:.4} nats", validation.validation_loss));
        if let Some(bits) = validation.bits_per_byte {
            lines.push(format!("bits per byte   {bits:.4}"));
        }
    }
    lines.push(format!("speed           {:.0} tokens/s", summary.tokens_per_second));
    lines.push(format!("model           {}", summary.model.display()));
    lines.push(format!("report          {}", summary.report.display()));
    lines.push(format!("metrics         {}", folder.join("metrics.jsonl").display()));
    lines.join("\n")
}
