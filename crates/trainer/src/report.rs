//! A finished run comes in; its curves, `report.md` and the folder `model/` with its card go out.

use crate::journal::History;
use crate::run::Run;
use crate::run_folder::make_folder;
use crate::svg::{Series, line_chart};
use crate::{Callbacks, Error, Result, Summary};
use idiolect_files::{AtomicFolder, write_atomic};
use idiolect_model::Model;
use idiolect_torch::{processor_cores, processor_name};
use std::path::Path;

const GIB: f64 = (1u64 << 30) as f64;

/// Sums up a run that was finished before; what it left stays as it is.
pub fn read(run: &Run, model: &Model) -> Result<Summary> {
    Ok(summary(run, model, &History::read(run.setup.run_dir)?))
}

/// Writes everything that a finished run leaves, and sums it up.
pub fn write(run: &Run, model: &Model, callbacks: &mut dyn Callbacks) -> Result<Summary> {
    let history = History::read(run.setup.run_dir)?;
    let summary = summary(run, model, &history);
    write_curves(&run.setup.run_dir.join("curves"), &history)?;
    let own = summary.validation.as_ref().map_or_else(Vec::new, |at| callbacks.scores(at));
    let facts = facts(run, model, &summary, own);
    write_atomic(&summary.report, report(run, model, &facts, &summary).as_bytes())?;
    let folder = AtomicFolder::create(&summary.model)?;
    model.save(folder.path())?;
    let card = model_card(run, model, &facts, &summary);
    write_atomic(&folder.path().join("README.md"), card.as_bytes())?;
    callbacks.complete_model(folder.path()).map_err(Error::Callback)?;
    folder.commit()?;
    Ok(summary)
}

fn summary(run: &Run, model: &Model, history: &History) -> Summary {
    let progress = run.progress;
    let tokens_per_second = progress.tokens as f64 / progress.seconds.max(1e-9);
    // A backward pass costs twice a forward pass (Kaplan et al. 2020, section 2.1).
    let flops = 3.0 * model.config().flops_per_token(run.setup.train.columns());
    Summary {
        steps: progress.step,
        last: history.steps.last().cloned(),
        validation: chosen(run, history).cloned(),
        skipped: progress.skipped,
        seconds: progress.seconds,
        tokens_per_second,
        peak_memory: idiolect_torch::peak_memory(model.device()),
        flops_utilisation: run
            .setup
            .context
            .peak_flops
            .map(|peak| flops * tokens_per_second / peak),
        model: run.setup.run_dir.join("model"),
        report: run.setup.run_dir.join("report.md"),
    }
}

// The evaluation of the model that is written.
fn chosen<'a>(run: &Run, history: &'a History) -> Option<&'a crate::ValidationMetrics> {
    let best = run.best().map(|best| best.step);
    let is_best = |at: &&crate::ValidationMetrics| Some(at.step) == best;
    history.validations.iter().find(is_best).or(history.validations.last())
}

fn write_curves(folder: &Path, history: &History) -> Result<()> {
    make_folder(folder)?;
    let steps = |value: fn(&crate::StepMetrics) -> f64| -> Vec<(f64, f64)> {
        history.steps.iter().map(|metrics| (metrics.step as f64, value(metrics))).collect()
    };
    let validation =
        history.validations.iter().map(|v| (v.step as f64, v.validation_loss)).collect();
    let one = |name, points| vec![Series { name, points }];
    let charts = [
        (
            "loss",
            "Loss, nats a label",
            vec![
                Series { name: "train", points: steps(|m| m.loss) },
                Series { name: "validation", points: validation },
            ],
        ),
        ("learning-rate", "Learning rate", one("rate", steps(|m| m.learning_rate))),
        ("gradient-norm", "Gradient norm before clipping", one("norm", steps(|m| m.grad_norm))),
        ("speed", "Tokens a second", one("speed", steps(|m| m.tokens_per_second))),
    ];
    for (file, title, series) in charts {
        let path = folder.join(format!("{file}.svg"));
        write_atomic(&path, line_chart(title, &series).as_bytes())?;
    }
    Ok(())
}

/// A table of a report: a heading and its rows.
type Table = (&'static str, Vec<(String, String)>);

fn facts(run: &Run, model: &Model, summary: &Summary, own: Vec<(String, String)>) -> Vec<Table> {
    vec![
        ("Scores", scores(summary, own)),
        ("Data", data(run)),
        ("Training", training(run, model, summary)),
        ("Machine", machine(run, summary)),
    ]
}

fn row(name: &str, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

fn scores(summary: &Summary, own: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut rows = own;
    if let Some(validation) = &summary.validation {
        let loss = validation.validation_loss;
        let error = validation.validation_stderr;
        let error = error.map_or(String::new(), |error| format!(" (standard error {error:.4})"));
        rows.push(row("validation loss", format!("{loss:.4} nats a label{error}")));
        if validation.confusion.is_none() {
            rows.push(row("validation perplexity", format!("{:.3}", validation.perplexity)));
        }
        rows.push(row("evaluated at step", validation.step.to_string()));
        let bits = validation.bits_per_byte.map(|bits| format!("{bits:.4}"));
        rows.extend(bits.map(|bits| row("validation bits per byte", bits)));
        rows.push(row("validation labels", validation.labels.to_string()));
    }
    let last = summary.last.as_ref().map(|last| format!("{:.4} nats a label", last.loss));
    rows.extend(last.map(|loss| row("last training loss", loss)));
    rows
}

fn data(run: &Run) -> Vec<(String, String)> {
    let facts = run.identity.data.iter();
    facts.map(|(name, value)| row(name, value.as_str())).collect()
}

fn training(run: &Run, model: &Model, summary: &Summary) -> Vec<(String, String)> {
    let tokens = run.progress.tokens;
    let epochs = run.progress.cursor as f64 / run.setup.train.len() as f64;
    let parameters: usize = model.parameters().iter().map(|p| p.tensor.numel()).sum();
    let mut rows = vec![
        row("parameters", parameters.to_string()),
        row("steps", format!("{}, {} of them skipped", summary.steps, summary.skipped)),
        row("positions", format!("{tokens} ({epochs:.2} epochs)")),
        row("seed", run.setup.config.seed.to_string()),
        row("duration", format!("{:.1} s of training", summary.seconds)),
        row("speed", format!("{:.0} positions a second", summary.tokens_per_second)),
    ];
    let share = summary.flops_utilisation;
    rows.extend(share.map(|share| row("use of the peak", format!("{:.1} %", 100.0 * share))));
    rows.extend(run.setup.context.commit.as_ref().map(|commit| row("commit", commit.as_str())));
    rows
}

fn machine(run: &Run, summary: &Summary) -> Vec<(String, String)> {
    let environment = &run.identity.environment;
    vec![
        row("processor", format!("{}, {} cores", processor_name(), processor_cores())),
        row("features", environment.processor_features.join(" ")),
        row("device", environment.device.as_str()),
        row("threads", environment.threads.to_string()),
        row("libtorch", environment.libtorch.as_str()),
        row("idiolect", environment.idiolect.as_str()),
        row("peak memory", format!("{:.2} GiB", summary.peak_memory as f64 / GIB)),
    ]
}

fn title(run: &Run) -> String {
    match run.setup.context.name.as_str() {
        "" => "A training run".into(),
        name => name.into(),
    }
}

fn report(run: &Run, model: &Model, facts: &[Table], summary: &Summary) -> String {
    let curves: String = [
        ("Loss", "loss"),
        ("Learning rate", "learning-rate"),
        ("Gradient norm", "gradient-norm"),
        ("Speed", "speed"),
    ]
    .map(|(name, file)| format!("![{name}](curves/{file}.svg)\n"))
    .concat();
    format!(
        "# {}\n\n{} steps in {:.1} s. The model is in [model/](model/), every figure in \
         [metrics.jsonl](metrics.jsonl).\n\n{curves}\n{}{}{}",
        title(run),
        summary.steps,
        summary.seconds,
        tables(facts),
        classes(model, summary),
        run_file(run),
    )
}

fn model_card(run: &Run, model: &Model, facts: &[Table], summary: &Summary) -> String {
    let is_tuned = summary.validation.as_ref().is_some_and(|at| at.confusion.is_some())
        || !model.config().labels().is_empty();
    let how = if is_tuned { "Fine-tuned" } else { "Trained from scratch" };
    let task = match model {
        _ if is_tuned => "text-classification",
        Model::Bert(_) => "fill-mask",
        _ => "text-generation",
    };
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: {task}\ntags:\n- idiolect\n---\n\n# {}\n\n\
         {how} by Idiolect in {} steps. Energy was not measured.\n\n{}{}{}",
        title(run),
        summary.steps,
        tables(facts),
        classes(model, summary),
        run_file(run),
    )
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn tables(facts: &[Table]) -> String {
    let row = |(name, value): &(String, String)| format!("| {name} | {} |\n", cell(value));
    let table = |(heading, rows): &Table| {
        let rows: String = rows.iter().map(row).collect();
        format!("## {heading}\n\n| | |\n| --- | --- |\n{rows}\n")
    };
    facts.iter().filter(|(_, rows)| !rows.is_empty()).map(table).collect()
}

/// Of each class its scores and what it was taken for; empty where the model does not classify.
fn classes(model: &Model, summary: &Summary) -> String {
    let config = model.config();
    let Some(confusion) = summary.validation.as_ref().and_then(|at| at.confusion.as_ref()) else {
        return String::new();
    };
    let names: Vec<String> = config.labels().iter().map(|name| cell(name)).collect();
    let scores = names.iter().enumerate().map(|(class, name)| {
        let [precision, recall, f1] =
            [confusion.precision(class), confusion.recall(class), confusion.f1(class)];
        let rows = confusion.support(class);
        format!("| {name} | {precision:.4} | {recall:.4} | {f1:.4} | {rows} |\n")
    });
    let scores: String = scores.collect();
    let matrix = names.iter().zip(&confusion.counts).map(|(name, counts)| {
        let counts: String = counts.iter().map(|count| format!(" {count} |")).collect();
        format!("| {name} |{counts}\n")
    });
    let matrix: String = matrix.collect();
    format!(
        "## Classes\n\n| | precision | recall | F1 | rows |\n| --- | --- | --- | --- | --- |\n{scores}\n\
         ## Confusion matrix\n\nA row for each class, a column for what the model gave.\n\n| | {} |\n| ---{} |\n{matrix}\n",
        names.join(" | "),
        " | ---".repeat(names.len()),
    )
}

fn run_file(run: &Run) -> String {
    match run.setup.context.run_file.trim_end() {
        "" => String::new(),
        text => format!("## Run file\n\n```toml\n{text}\n```\n"),
    }
}
