//! What the tests share: tiny models, samples in memory, a caller that listens and stops, and comparisons to the bit.

#![allow(dead_code)] // Each test binary uses a part.

use idiolect_dataset::{Batch, IGNORE_LABEL, Samples};
use idiolect_model::{BertConfig, GptConfig, Model, ModelConfig};
use idiolect_trainer::{
    Callbacks, Error, Event, MuonConfig, OptimizerConfig, Outcome, RunContext, TrainerConfig, train,
};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::Device;

pub const VOCAB: usize = 23;
pub const COLUMNS: usize = 8;

/// Rows that follow a rule a tiny model can learn; every third label is missing in every second row, so that rows differ in weight.
pub struct Rule {
    pub len: u64,
    /// Labels of the first epoch with this number are noise: a spike.
    pub noisy_epoch: Option<u64>,
}

impl Rule {
    pub fn new(len: u64) -> Self {
        Self { len, noisy_epoch: None }
    }
}

impl Samples for Rule {
    fn len(&self) -> u64 {
        self.len
    }

    fn columns(&self) -> usize {
        COLUMNS
    }

    fn batch(&self, epoch: u64, samples: &[u64]) -> idiolect_dataset::Result<Batch> {
        let mut batch = Batch { rows: samples.len(), columns: COLUMNS, ..Batch::default() };
        for &sample in samples {
            for t in 0..COLUMNS as u64 {
                let id = |t: u64| ((sample * 5 + t * 3) % VOCAB as u64) as i64;
                batch.ids.push(id(t));
                let has_label = sample % 2 == 0 || t % 3 != 0;
                let label =
                    if self.noisy_epoch == Some(epoch) { (id(t + 1) + 11) % 23 } else { id(t + 1) };
                batch.labels.push(if has_label { label } else { IGNORE_LABEL });
                batch.label_bytes += u64::from(has_label);
            }
        }
        Ok(batch)
    }
}

/// Where the tests run: `IDIOLECT_TEST_DEVICE=cuda` is what `cargo xtask test --device cuda` sets.
pub fn device() -> Device {
    match std::env::var("IDIOLECT_TEST_DEVICE").as_deref() {
        Ok("cuda") => Device::Cuda(0),
        _ => Device::Cpu,
    }
}

/// A GPT of the modern layout, small enough for a debug build.
pub fn gpt_config(dropout: f64) -> ModelConfig {
    ModelConfig::Gpt(GptConfig {
        vocab_size: VOCAB,
        context_length: COLUMNS,
        hidden_size: 16,
        n_layers: 2,
        n_heads: 2,
        residual_dropout: dropout,
        ..GptConfig::tiny()
    })
}

pub fn bert_config(dropout: f64) -> ModelConfig {
    ModelConfig::Bert(BertConfig {
        vocab_size: VOCAB,
        context_length: COLUMNS,
        hidden_size: 16,
        n_layers: 1,
        n_heads: 2,
        hidden_dropout: dropout,
        ..BertConfig::tiny()
    })
}

pub fn model(config: &ModelConfig) -> Model {
    let model = Model::new(config, 7, device()).unwrap();
    assert!(model.parameters().iter().all(|parameter| parameter.tensor.device() == device()));
    model
}

pub fn config(steps: u64) -> TrainerConfig {
    TrainerConfig {
        steps: Some(steps),
        global_batch_size: Some(6),
        micro_batch_size: Some(4),
        learning_rate: 1e-2,
        warmup_steps: 2,
        log_every: 1,
        validate_every: Some(4),
        checkpoint_every: Some(4),
        threads: Some(1),
        ..TrainerConfig::default()
    }
}

pub fn muon() -> OptimizerConfig {
    OptimizerConfig::Muon(MuonConfig::default())
}

/// Listens to everything, and stops when it is asked for the `stop_at`-th time.
#[derive(Default)]
pub struct Caller {
    pub events: Vec<Event>,
    pub stop_at: Option<u64>,
    pub asked: u64,
}

impl Caller {
    pub fn stopping_at(asked: u64) -> Self {
        Self { stop_at: Some(asked), ..Self::default() }
    }

    pub fn warnings(&self) -> Vec<&str> {
        let mut warnings = Vec::new();
        for event in &self.events {
            if let Event::Warning { message } = event {
                warnings.push(message.as_str());
            }
        }
        warnings
    }

    pub fn losses(&self) -> Vec<f64> {
        let loss = |event: &Event| match event {
            Event::Step { metrics, .. } => Some(metrics.loss),
            _ => None,
        };
        self.events.iter().filter_map(loss).collect()
    }

    pub fn skipped(&self) -> Vec<u64> {
        let step = |event: &Event| match event {
            Event::Skipped { step, .. } => Some(*step),
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }
}

impl Callbacks for Caller {
    fn on_event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn should_stop(&mut self) -> bool {
        self.asked += 1;
        Some(self.asked) == self.stop_at
    }
}

/// Trains a fresh model as a new process would. The generator of dropout is the process's, so runs take turns.
pub fn run(
    model_config: &ModelConfig,
    config: &TrainerConfig,
    folder: &Path,
    caller: &mut dyn Callbacks,
) -> Result<(Model, Outcome), Error> {
    run_in(RunContext::default(), model_config, config, folder, caller)
}

/// The same with what the caller says of the run.
pub fn run_in(
    context: RunContext,
    model_config: &ModelConfig,
    config: &TrainerConfig,
    folder: &Path,
    caller: &mut dyn Callbacks,
) -> Result<(Model, Outcome), Error> {
    let _turn = turn();
    let mut model = model(model_config);
    let context = RunContext { run_file: "seed = 1\n".into(), ..context };
    let (samples, held_out) = (Rule::new(13), Rule::new(5));
    let outcome = train(&mut model, &samples, Some(&held_out), config, folder, &context, caller)?;
    Ok((model, outcome))
}

pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `metrics.jsonl` without what the clock says.
pub fn metrics(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        let object = line.as_object_mut().unwrap();
        object.remove("seconds");
        object.remove("tokens_per_second");
        line.to_string()
    };
    text.lines().map(timeless).collect()
}

/// The trained weights as they lie on disk.
pub fn weights(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model/model.safetensors")).unwrap()
}

/// Asserts that two finished run folders hold the same weights and figures.
pub fn assert_same(a: &Path, b: &Path) {
    assert_eq!(metrics(a), metrics(b));
    assert!(weights(a) == weights(b), "weights differ");
    assert_eq!(events_bytes(a), events_bytes(b));
}

/// The size of the TensorBoard file.
pub fn events_bytes(folder: &Path) -> u64 {
    let is_events = |name: &str| name.starts_with("events.out.tfevents.");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let found: Vec<u64> = entries
        .filter(|entry| is_events(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert_eq!(found.len(), 1);
    found[0]
}
