//! Training itself: it learns, micro-batches equal the large batch, bad steps are skipped, what is written is whole.

mod common;

use common::*;
use idiolect_trainer::{
    Callbacks, Dtype, Error, Event, Outcome, RunContext, Spike, SpikeConfig, train,
};
use std::path::Path;
use tch::{Kind, Tensor};

fn check_learns(
    model_config: &idiolect_model::ModelConfig,
    optimizer: idiolect_trainer::OptimizerConfig,
    dtype: Dtype,
) {
    let folder = tempfile::tempdir().unwrap();
    let mut caller = Caller::default();
    let config = idiolect_trainer::TrainerConfig { optimizer, dtype, ..config(100) };
    let (_, outcome) = run(model_config, &config, folder.path(), &mut caller).unwrap();
    let losses = caller.losses();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(first > 2.5 && last < 0.5, "{optimizer:?} {dtype:?}: {first} to {last}");
    let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
    assert_eq!((summary.steps, summary.skipped), (100, 0));
    assert!(summary.validation.unwrap().validation_loss < 3.0);
}

#[test]
fn learns_a_rule() {
    let adamw = Default::default();
    check_learns(&gpt_config(0.0), adamw, Dtype::F32);
    check_learns(&gpt_config(0.0), muon(), Dtype::F32);
    check_learns(&gpt_config(0.0), muon(), Dtype::Bf16);
    check_learns(&bert_config(0.0), adamw, Dtype::F32);
}

fn gradients(micro_batch_size: usize) -> Vec<Tensor> {
    let folder = tempfile::tempdir().unwrap();
    let config = idiolect_trainer::TrainerConfig {
        micro_batch_size: Some(micro_batch_size),
        global_batch_size: Some(10),
        clip_norm: 0.0,
        ..config(3)
    };
    // Before the third step's gradients are dropped there is no fourth.
    let (model, _) = run(&gpt_config(0.0), &config, folder.path(), &mut ()).unwrap();
    model.parameters().iter().map(|parameter| parameter.tensor.grad()).collect()
}

// 13 samples and 10 rows a step: steps span epochs, and rows have unequal numbers of labels.
#[test]
fn accumulation_equals_the_large_batch() {
    let large = gradients(10);
    for micro_batch_size in [1, 3, 5] {
        for (large, small) in large.iter().zip(gradients(micro_batch_size)) {
            let error = (large - &small).abs().max().double_value(&[]);
            assert!(error < 1e-5, "micro-batches of {micro_batch_size}: {error}");
        }
    }
}

#[test]
fn a_spike_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut caller = Caller::default();
    let config = idiolect_trainer::TrainerConfig {
        global_batch_size: Some(8),
        spike: Spike::On(SpikeConfig { window: 16, sigma: 6.0 }),
        schedule: idiolect_trainer::ScheduleKind::Constant,
        ..config(45)
    };
    // One epoch a step: the labels of step 41 are noise.
    let samples = Rule { len: 8, noisy_epoch: Some(40) };
    let _turn = turn();
    let mut model = model(&gpt_config(0.0));
    train(&mut model, &samples, None, &config, folder.path(), &RunContext::default(), &mut caller)
        .unwrap();
    assert_eq!(caller.skipped(), [41]);
    let losses = caller.losses();
    assert!(losses[40] > 3.0 * losses[39], "{losses:?}");
    assert!(losses[41] < 2.0 * losses[39], "the spike moved the weights: {losses:?}");
}

// After the first evaluation a weight is no number.
struct Poison;

impl Callbacks for Poison {
    fn on_validation(
        &mut self,
        _step: u64,
        model: &mut idiolect_model::Model,
    ) -> Result<(), idiolect_trainer::CallbackError> {
        let _no_grad = idiolect_torch::NoGrad::new();
        let _ = model.parameters()[0].tensor.shallow_clone().fill_(f64::NAN);
        Ok(())
    }
}

#[test]
fn a_loss_that_stays_no_number_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = run(&gpt_config(0.0), &config(20), folder.path(), &mut Poison).err().unwrap();
    match error {
        Error::NonFinite { step, count, .. } => assert_eq!((step, count), (9, 5)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_batch_without_labels_is_an_error() {
    struct Blank;
    impl idiolect_dataset::Samples for Blank {
        fn len(&self) -> u64 {
            4
        }
        fn columns(&self) -> usize {
            COLUMNS
        }
        fn batch(
            &self,
            _: u64,
            samples: &[u64],
        ) -> idiolect_dataset::Result<idiolect_dataset::Batch> {
            let mut batch = Rule::new(4).batch(0, samples)?;
            batch.labels.fill(idiolect_dataset::IGNORE_LABEL);
            Ok(batch)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut model = model(&gpt_config(0.0));
    let context = RunContext::default();
    let error =
        train(&mut model, &Blank, None, &config(3), folder.path(), &context, &mut ()).unwrap_err();
    assert!(matches!(error, Error::NoLabels { step: 1 }), "{error}");
}

// Adds a file to the model, as the caller adds the tokenizer.
struct Completing;

impl Callbacks for Completing {
    fn complete_model(&mut self, folder: &Path) -> Result<(), idiolect_trainer::CallbackError> {
        Ok(std::fs::write(folder.join("tokenizer.json"), "{}")?)
    }
}

#[test]
fn a_finished_run_leaves_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = run(&gpt_config(0.0), &config(10), folder.path(), &mut Completing).unwrap();
    for file in [
        "report.md",
        "run.toml",
        "curves/loss.svg",
        "model/config.json",
        "model/tokenizer.json",
        "model/README.md",
        "checkpoints/step-10/manifest.json",
    ] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
    let report = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
    for text in ["validation loss", "(curves/loss.svg)", "libtorch", "peak memory", "seed = 1"] {
        assert!(report.contains(text), "{text} is not in\n{report}");
    }
    assert_eq!(metrics(folder.path()).len(), 13);
    let loaded = idiolect_model::Model::load(
        &folder.path().join("model"),
        tch::Device::Cpu,
        Some(Kind::Float),
    )
    .unwrap();
    for (a, b) in model.parameters().iter().zip(loaded.parameters()) {
        assert!(a.tensor == b.tensor, "{} differs", a.name);
    }
}

#[test]
fn best_and_last_checkpoints_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut caller = Caller::default();
    let config = idiolect_trainer::TrainerConfig {
        validate_every: Some(2),
        checkpoint_every: Some(2),
        keep_last: 1,
        keep_best: 1,
        // Far too high a rate: the loss gets worse.
        learning_rate: 3.0,
        clip_norm: 0.0,
        ..config(12)
    };
    run(&gpt_config(0.0), &config, folder.path(), &mut caller).unwrap();
    let scored = caller.events.iter().filter_map(|event| match event {
        Event::Validated(metrics) => Some((metrics.step, metrics.validation_loss)),
        _ => None,
    });
    let best = scored.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    let kept = |step: u64| folder.path().join(format!("checkpoints/step-{step}")).exists();
    let expected: Vec<u64> = (1..=12).filter(|step| [best, 12].contains(step)).collect();
    assert_eq!((1..=12).filter(|step| kept(*step)).collect::<Vec<_>>(), expected);
}
