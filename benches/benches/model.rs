//! How long the forward pass, a training step and a generated token take, for a GPT of depth 4 in windows of 256.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use idiolect_model::{GenerationConfig, GptConfig, Inputs, Model, ModelConfig};
use idiolect_torch::tch::{Device, Kind, Tensor};
use idiolect_torch::{AdamW, AdamWConfig, NoGrad, Optimizer};
use std::ops::ControlFlow;

const BATCH: i64 = 8;
const WINDOW: i64 = 256;

fn model() -> Model {
    idiolect_torch::reuse_memory();
    let config =
        GptConfig { vocab_size: 1024, context_length: WINDOW as usize, ..GptConfig::depth(4) };
    Model::new(&ModelConfig::Gpt(config), 0, Device::Cpu).expect("a valid configuration")
}

fn ids() -> Tensor {
    Tensor::randint(1024, [BATCH, WINDOW], (Kind::Int64, Device::Cpu))
}

fn training(c: &mut Criterion) {
    let model = model();
    let (inputs, labels) = (Inputs::new(ids()), ids());
    let mut group = c.benchmark_group("training");
    group.sample_size(10).throughput(Throughput::Elements((BATCH * WINDOW) as u64));
    group.bench_function("forward", |b| {
        let _no_grad = NoGrad::new();
        b.iter(|| model.loss(&inputs, &labels).expect("a loss"));
    });
    let parameters = model.parameters().iter().map(|p| p.tensor.shallow_clone()).collect();
    let mut optimizer = AdamW::new(parameters, AdamWConfig::default()).unwrap();
    group.bench_function("step", |b| {
        b.iter(|| {
            model.loss(&inputs, &labels).expect("a loss").backward();
            let _norm = optimizer.step_clipped(1e-3, 1.0).expect("a step");
            optimizer.zero_grad();
        });
    });
    group.finish();
}

fn generation(c: &mut Criterion) {
    let model = model();
    let config = GenerationConfig { max_new_tokens: 64, ..GenerationConfig::default() };
    let mut group = c.benchmark_group("generation");
    group.sample_size(10).throughput(Throughput::Elements(64));
    group.bench_function("64 tokens", |b| {
        b.iter(|| model.generate(&[1, 2, 3], &config, None, &mut |_| ControlFlow::Continue(())));
    });
    group.finish();
}

criterion_group!(parts, training, generation);
criterion_main!(parts);
