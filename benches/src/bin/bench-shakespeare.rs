//! Our side of `cargo xtask bench shakespeare`: a text and a seed in, one JSON line with training seconds and held-out loss out.
//!
//! The clock runs from reading the text to the last optimizer step. The last tenth of the characters is held out and scored once,
//! after the last step, in windows of 64 with stride 64. The run is `benches/shakespeare.toml`.
#![allow(clippy::print_stdout)] // The line is the result.

use anyhow::{Context, Result, ensure};
use idiolect_dataset::{CausalConfig, CausalSamples, Samples, TokenStore};
use idiolect_model::{Inputs, Model, ModelConfig};
use idiolect_torch::NoGrad;
use idiolect_torch::tch::{Device, Tensor};
use idiolect_trainer::{Callbacks, Event, Outcome, RunContext, TrainerConfig};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const WINDOW: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFile {
    model: ModelConfig,
    trainer: TrainerConfig,
}

struct Options {
    data: PathBuf,
    seed: u64,
    config: PathBuf,
    steps: Option<u64>,
    save: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = options()?;
    let text = std::fs::read_to_string(&options.config)?;
    let RunFile { mut model, mut trainer } = toml::from_str(&text)?;
    trainer.seed = options.seed;
    trainer.steps = options.steps.or(trainer.steps);
    idiolect_torch::set_threads(std::thread::available_parallelism()?.get() as i32);
    let folder = tempfile::tempdir()?;

    let mut clock = Clock { start: Instant::now(), seconds: 0.0 };
    let (characters, train, held_out) = read(&options.data)?;
    model.set_vocab_size(characters);
    let mut trained = Model::new(&model, options.seed, Device::Cpu)?;
    let context = RunContext::default();
    let outcome = idiolect_trainer::train(
        &mut trained,
        &train,
        None,
        &trainer,
        folder.path(),
        &context,
        &mut clock,
    )?;
    ensure!(matches!(outcome, Outcome::Finished(_)), "the run was stopped");
    drop(folder);

    let loss = score(&trained, &held_out)?;
    if let Some(save) = &options.save {
        std::fs::create_dir_all(save)?;
        trained.save(save)?;
    }
    let line = serde_json::json!({
        "side": "idiolect", "seed": options.seed, "steps": trainer.steps, "parameters": model.parameter_count(),
        "train_s": clock.seconds, "held_out_nats": loss,
    });
    println!("{line}");
    Ok(())
}

fn options() -> Result<Options> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("shakespeare.toml");
    let mut options =
        Options { data: PathBuf::new(), seed: 0, config: beside, steps: None, save: None };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next().with_context(|| format!("{flag} takes a value"))?;
        match flag.as_str() {
            "--data" => options.data = value.into(),
            "--seed" => options.seed = value.parse()?,
            "--config" => options.config = value.into(),
            "--steps" => options.steps = Some(value.parse()?),
            "--save" => options.save = Some(value.into()),
            _ => anyhow::bail!("unknown option {flag}"),
        }
    }
    Ok(options)
}

/// The number of characters, the first nine tenths of the text, the rest; an id is a character's place in the sorted alphabet.
fn read(path: &Path) -> Result<(usize, CausalSamples, CausalSamples)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the text {}", path.display()))?;
    let mut alphabet: Vec<char> = text.chars().collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    let id = |c: char| alphabet.partition_point(|&other| other < c) as u32;
    let ids: Vec<u32> = text.chars().map(id).collect();
    let cut = (ids.len() as f64 * 0.9) as usize;
    let windows =
        |ids: &[u32], config| CausalSamples::new(Arc::new(TokenStore::new(ids.to_vec())), config);
    let train = windows(&ids[..cut], CausalConfig::new(WINDOW))?;
    Ok((alphabet.len(), train, windows(&ids[cut..], CausalConfig::new(WINDOW))?))
}

/// Nats a character over the whole held-out text.
fn score(model: &Model, held_out: &CausalSamples) -> Result<f64> {
    let _no_grad = NoGrad::new();
    let all: Vec<u64> = (0..held_out.len()).collect();
    let mut total = 0.0;
    for samples in all.chunks(256) {
        let batch = held_out.batch(0, samples)?;
        let tensor = |values: &[i64]| {
            Tensor::from_slice(values).reshape([batch.rows as i64, batch.columns as i64])
        };
        total +=
            model.loss(&Inputs::new(tensor(&batch.ids)), &tensor(&batch.labels))?.double_value(&[]);
    }
    Ok(total / (held_out.len() * WINDOW as u64) as f64)
}

/// Remembers when the last optimizer step was reported.
struct Clock {
    start: Instant,
    seconds: f64,
}

impl Callbacks for Clock {
    fn on_event(&mut self, event: Event) {
        if let Event::Step { metrics, .. } = event {
            self.seconds = self.start.elapsed().as_secs_f64();
            if std::env::var_os("IDIOLECT_RACE_LOG").is_some() {
                eprintln!("{:5} {:.4} {:.2}s", metrics.step, metrics.loss, self.seconds);
            }
        }
    }
}
