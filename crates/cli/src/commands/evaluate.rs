//! `idiolect evaluate`: a model and a file in, figures with intervals out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use idiolect_evaluation::{Figure, PerplexityConfig, perplexity};
use serde::{Deserialize, Serialize};

use super::{DONE, model_folder};
use crate::arguments::{Common, Evaluate, RunArguments, Task};
use crate::output::{Output, message, usage};
use crate::progress::Progress;
use crate::run_file::RunFile;

/// The section `[evaluate]` of a run file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateSection {
    /// The model's folder; the run's own without it.
    pub model: Option<PathBuf>,
    /// What to score; perplexity without it.
    pub tasks: Vec<Task>,
    /// The file to score on; the run's validation documents without it.
    pub data: Option<PathBuf>,
    /// Tokens that a window predicts from at most.
    pub context_length: Option<usize>,
    /// Tokens from one window to the next.
    pub stride: Option<usize>,
}

/// Scores a model on each task.
pub fn run(evaluate: &Evaluate, common: &Common, output: Output) -> Result<u8> {
    let section = settings(evaluate, common)?;
    let (Some(model), Some(data)) = (&section.model, &section.data) else {
        return Err(usage("--model and --data are needed without a run file"));
    };
    let texts = read_texts(data)?;
    let backend = model_folder::load(model, common, evaluate.quantize)?;
    for task in &section.tasks {
        let figures = match task {
            Task::Perplexity => {
                let config = PerplexityConfig {
                    context_length: section.context_length,
                    stride: section.stride,
                };
                let mut progress = Progress::new("perplexity");
                let mut update = |at: idiolect_evaluation::Progress| {
                    progress.update(at.tokens as u64, Some(at.total as u64), "tokens");
                };
                let report =
                    perplexity(&backend, backend.tokenizer(), &texts, &config, &mut update)
                        .map_err(|error| failed(error, data))?;
                progress.finish(&format!("{} tokens, {} bytes", report.tokens, report.bytes));
                report.figures()
            }
        };
        for figure in &figures {
            output.result(figure, for_people)?;
        }
    }
    message("intervals: 95 %, over windows as groups (ratio estimate, Student's t)");
    Ok(DONE)
}

/// A setting that makes no sense is wrong usage, all else a failure.
fn failed(error: idiolect_evaluation::Error, data: &Path) -> anyhow::Error {
    match error {
        idiolect_evaluation::Error::Config { .. } => usage(error.to_string()),
        _ => anyhow::Error::new(error).context(format!("cannot score {}", data.display())),
    }
}

/// The run file's section with the flags on top.
fn settings(evaluate: &Evaluate, common: &Common) -> Result<EvaluateSection> {
    let mut section = match &evaluate.run_file {
        None => EvaluateSection::default(),
        Some(run_file) => {
            let arguments = RunArguments { run_file: run_file.clone(), set: evaluate.set.clone() };
            RunFile::read(&arguments, common)?.evaluate()
        }
    };
    section.model = evaluate.model.clone().or(section.model);
    section.data = evaluate.data.clone().or(section.data);
    section.context_length = evaluate.context_length.or(section.context_length);
    section.stride = evaluate.stride.or(section.stride);
    if !evaluate.tasks.is_empty() {
        section.tasks = evaluate.tasks.clone();
    }
    if section.tasks.is_empty() {
        section.tasks.push(Task::Perplexity);
    }
    Ok(section)
}

/// The documents of a JSONL file as `data prepare` writes it, or a plain text as one.
fn read_texts(path: &Path) -> Result<Vec<String>> {
    let name = path.to_string_lossy();
    let unpacked = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end));
    if unpacked.unwrap_or(&name).ends_with(".jsonl") {
        let documents = idiolect_dataset::documents(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        return documents.map(|document| Ok(document?.text)).collect();
    }
    let text = idiolect_dataset::read_text(path)?;
    if text.is_empty() {
        bail!("{}: the file is empty, there is nothing to score", path.display());
    }
    Ok(vec![text])
}

fn for_people(figure: &Figure) -> String {
    let estimate = figure.estimate;
    let interval = match estimate.ci95 {
        Some([low, high]) => format!("  95 % [{low:.4}, {high:.4}] over {} windows", estimate.n),
        None => "  (one window: no interval)".to_owned(),
    };
    format!("{:16} {:10.4}{interval}", figure.metric, estimate.value)
}
