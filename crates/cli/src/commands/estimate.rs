//! `idiolect estimate`: a run file in; parameters, memory, FLOPs, time, energy and cost, before anything is spent, out.

use anyhow::Result;
use idiolect_model::ModelConfig;
use idiolect_tokenizer::Tokenizer;
use idiolect_torch::tch::Kind;
use idiolect_trainer::{Dtype, OptimizerConfig};
use serde::Serialize;

use super::{DONE, stages};
use crate::arguments::{Common, Estimate};
use crate::machine;
use crate::output::Output;
use crate::run_file::{Run, RunFile};
use crate::samples::SamplesConfig;

/// The share of the matrix-product speed that a training step is taken to reach.
const UTILISATION: f64 = 0.5;

/// What a run will take.
#[derive(Debug, Serialize)]
struct Bill {
    parameters: Parameters,
    memory: Memory,
    steps: u64,
    tokens_per_step: u64,
    tokens: u64,
    flops_per_step: f64,
    flops: f64,
    /// Floating-point operations a second of the machine, measured or given.
    machine_flops: f64,
    utilisation: f64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kilowatt_hours: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<f64>,
    /// What was taken for granted.
    assumptions: Vec<String>,
}

/// Learned numbers by group.
#[derive(Debug, Serialize)]
struct Parameters {
    total: u64,
    /// Tables with a row an id.
    vocabulary: u64,
    /// Tables with a row a position.
    positions: u64,
    blocks: u64,
}

/// Bytes at the peak of a step.
#[derive(Debug, Serialize)]
struct Memory {
    total: u64,
    weights: u64,
    gradients: u64,
    optimizer: u64,
    activations: u64,
    available: Option<u64>,
}

/// Prints the estimate.
pub fn run(estimate: &Estimate, common: &Common, output: Output) -> Result<u8> {
    let device = machine::prepare(common)?;
    let file = RunFile::read(&estimate.run, common)?;
    let run = file.validate()?;
    let mut assumptions = Vec::new();
    let model = expected_model(&run, &mut assumptions)?;
    let columns = run.samples.context_length();
    let samples = expected_samples(&file, &run, &mut assumptions)?;
    let plan = run.trainer.plan(samples, columns)?;

    let tokens_per_step = (plan.rows as u64).saturating_mul(columns as u64);
    // Backward costs twice the forward pass (Kaplan et al. 2020, section 2.1).
    let flops_per_step = 3.0 * model.flops_per_token(columns) * tokens_per_step as f64;
    let flops = flops_per_step * plan.steps as f64;
    let machine_flops = match estimate.flops {
        Some(given) => given,
        None => machine::matrix_product_speed(device, kind(run.trainer.dtype))?,
    };
    assumptions.push(format!("a step reaches {UTILISATION} of the machine's matrix-product speed"));
    let seconds = flops / (machine_flops * UTILISATION);
    let hours = seconds / 3600.0;
    let parameters = Parameters::of(&model);
    let memory = Memory::of(&run, &model, &parameters, plan.micro_rows.saturating_mul(columns));
    let bill = Bill {
        parameters,
        memory,
        steps: plan.steps,
        tokens_per_step,
        tokens: tokens_per_step.saturating_mul(plan.steps),
        flops_per_step,
        flops,
        machine_flops,
        utilisation: UTILISATION,
        seconds,
        kilowatt_hours: estimate.watts.map(|watts| watts * hours / 1000.0),
        cost: estimate.price_per_hour.map(|price| price * hours),
        assumptions,
    };
    output.result(&bill, for_people)?;
    Ok(DONE)
}

/// The model with the vocabulary of its tokenizer, or with the one that is to be expected.
fn expected_model(run: &Run, assumptions: &mut Vec<String>) -> Result<ModelConfig> {
    let folder = run.folder.join("tokenizer");
    if folder.join("tokenizer.json").is_file() {
        return run.model_for(&Tokenizer::from_folder(&folder)?);
    }
    assumptions
        .push(format!("there is no tokenizer yet: {} ids are expected", run.model.vocab_size()));
    Ok(run.model.clone())
}

/// How many samples an epoch has, which matters only where the run file counts in epochs.
fn expected_samples(file: &RunFile, run: &Run, assumptions: &mut Vec<String>) -> Result<u64> {
    const BYTES_PER_TOKEN: u64 = 4;
    if run.trainer.epochs.is_none() {
        return Ok(u64::from(u32::MAX));
    }
    let bytes = stages::input_bytes(&file.data()?)?;
    let bytes_per_token = file.tokenizer()?.vocab_size().map_or(1, |_| BYTES_PER_TOKEN);
    let tokens = bytes / bytes_per_token;
    assumptions.push(format!("the data's {bytes} bytes as they lie on disk are {tokens} tokens"));
    Ok((tokens / run.samples.context_length() as u64).max(1))
}

/// libtorch's name of a run's number format.
pub fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
    }
}

impl Parameters {
    /// A count grows by one row of each table when the table grows by one: so much is its group.
    fn of(model: &ModelConfig) -> Self {
        let total = model.parameter_count();
        let grown = |grow: fn(&mut ModelConfig)| {
            let mut model = model.clone();
            grow(&mut model);
            model.parameter_count().saturating_sub(total)
        };
        let a_row = grown(|model| model.set_vocab_size(model.vocab_size() + 1));
        let a_position = grown(|model| match model {
            ModelConfig::Gpt(gpt) => gpt.context_length += 1,
            ModelConfig::Bert(bert) => bert.context_length += 1,
            _ => {}
        });
        let vocabulary = a_row.saturating_mul(model.vocab_size() as u64);
        let positions = a_position.saturating_mul(model.context_length() as u64);
        let blocks = total.saturating_sub(vocabulary.saturating_add(positions));
        Self { total, vocabulary, positions, blocks }
    }
}

impl Memory {
    fn of(run: &Run, model: &ModelConfig, parameters: &Parameters, tokens: usize) -> Self {
        let times = |bytes: u64, count: u64| bytes.saturating_mul(count);
        let optimizer = match run.trainer.optimizer {
            // One momentum for the blocks' matrices, two moments for the rest.
            OptimizerConfig::Muon(_) => times(4, parameters.blocks)
                .saturating_add(times(8, parameters.total.saturating_sub(parameters.blocks))),
            _ => times(8, parameters.total),
        };
        let (weights, gradients) = (times(4, parameters.total), times(4, parameters.total));
        let activations = times(activations(run, model), tokens as u64);
        let all = [weights, gradients, optimizer, activations];
        let total = all.into_iter().fold(0, u64::saturating_add);
        let available = machine::memory("MemAvailable");
        Self { total, weights, gradients, optimizer, activations, available }
    }
}

/// Bytes that a token leaves for the backward pass (Korthikanti et al. 2022, section 4, without a stored
/// attention matrix): in each block, both norms' inputs and outputs, queries, keys, values, the attention's
/// output, and the MLP's inside before and after its activation; of the head, what a masked model keeps of the
/// logits (f32, with their softmax and gradient) where there are labels. A causal one drops them by the chunk.
fn activations(run: &Run, model: &ModelConfig) -> u64 {
    let (layers, width, inside) = match model {
        ModelConfig::Gpt(gpt) => (gpt.n_layers, gpt.hidden_size, gpt.intermediate_size()),
        ModelConfig::Bert(bert) => (bert.n_layers, bert.hidden_size, bert.intermediate_size()),
        _ => (0, 0, 0),
    };
    let labelled = match &run.samples {
        SamplesConfig::Causal(_) => 0.0,
        SamplesConfig::Masked(config) => config.share,
    };
    let bytes = if run.trainer.dtype == Dtype::Bf16 { 3.0 } else { 4.0 };
    let numbers = layers as f64 * (8.0 * width as f64 + 3.0 * inside as f64);
    (numbers * bytes + labelled * 3.0 * 4.0 * model.vocab_size() as f64) as u64
}

fn for_people(bill: &Bill) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64);
    let (parameters, memory) = (&bill.parameters, &bill.memory);
    let available =
        memory.available.map_or(String::new(), |bytes| format!(", {} are free", mib(bytes)));
    let mut lines = vec![
        format!(
            "parameters  {} (vocabulary {}, positions {}, blocks {})",
            parameters.total, parameters.vocabulary, parameters.positions, parameters.blocks
        ),
        format!(
            "memory      {} (weights {}, gradients {}, optimizer {}, activations {}){available}",
            mib(memory.total),
            mib(memory.weights),
            mib(memory.gradients),
            mib(memory.optimizer),
            mib(memory.activations)
        ),
        format!(
            "steps       {} of {} tokens, {} in all",
            bill.steps, bill.tokens_per_step, bill.tokens
        ),
        format!("operations  {:.3e} a step, {:.3e} in all", bill.flops_per_step, bill.flops),
        format!(
            "speed       {:.1} GFLOP/s, of which {}",
            bill.machine_flops / 1e9,
            bill.utilisation
        ),
        format!("time        {}", duration(bill.seconds)),
    ];
    lines.extend(bill.kilowatt_hours.map(|energy| format!("energy      {energy:.4} kWh")));
    lines.extend(bill.cost.map(|cost| format!("cost        {cost:.4}")));
    lines.extend(bill.assumptions.iter().map(|line| format!("* {line}")));
    lines.join("\n")
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}
