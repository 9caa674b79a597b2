//! Classification: it learns, weights count as the formula says, the best checkpoint becomes the model, and a resume is exact.

mod common;

use common::*;
use idiolect_dataset::{Batch, Samples};
use idiolect_model::{BertConfig, GptConfig, Model, ModelConfig};
use idiolect_trainer::{
    BestBy, Callbacks, Error, Event, Outcome, RunContext, Summary, TrainerConfig,
    ValidationMetrics, train,
};
use std::path::Path;

/// Rows of unequal length whose class is their first id's, 0 twice as often as 1 and 2; `noise` rows lie about it.
struct Rows {
    len: u64,
    noise: u64,
}

impl Samples for Rows {
    fn len(&self) -> u64 {
        self.len
    }

    fn columns(&self) -> usize {
        COLUMNS
    }

    fn batch(&self, _epoch: u64, samples: &[u64]) -> idiolect_dataset::Result<Batch> {
        let class = |sample: u64| [0, 1, 0, 2][sample as usize % 4];
        let (mut ids, mut mask, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        for &sample in samples {
            let length = 3 + sample as usize % (COLUMNS - 2);
            for t in 0..COLUMNS {
                mask.push(i64::from(t < length));
                // The class stands at both ends, for encoders and decoders.
                let is_end = t == 0 || t == length - 1;
                ids.push(if is_end {
                    1 + class(sample)
                } else {
                    5 + (sample as i64 + t as i64) % 9
                });
            }
            let lie = i64::from(sample < self.noise);
            classes.push((class(sample) + lie) % 3);
        }
        let (rows, columns) = (samples.len(), COLUMNS);
        let (classes, attention_mask) = (Some(classes), Some(mask));
        Ok(Batch { rows, columns, ids, classes, attention_mask, ..Batch::default() })
    }
}

fn labels() -> Vec<String> {
    ["zero", "one", "two"].map(String::from).to_vec()
}

fn bert() -> ModelConfig {
    match bert_config(0.1) {
        ModelConfig::Bert(config) => ModelConfig::Bert(BertConfig { labels: labels(), ..config }),
        other => other,
    }
}

fn gpt() -> ModelConfig {
    match gpt_config(0.1) {
        ModelConfig::Gpt(config) => ModelConfig::Gpt(GptConfig { labels: labels(), ..config }),
        other => other,
    }
}

fn fit(
    model: &ModelConfig,
    config: &TrainerConfig,
    folder: &Path,
    caller: &mut dyn Callbacks,
) -> Result<(Model, Outcome), Error> {
    let _turn = turn();
    let mut model = common::model(model);
    let (samples, held_out) = (Rows { len: 21, noise: 0 }, Rows { len: 9, noise: 1 });
    let context = RunContext::default();
    let outcome = train(&mut model, &samples, Some(&held_out), config, folder, &context, caller)?;
    Ok((model, outcome))
}

fn summary(outcome: Outcome) -> Box<Summary> {
    match outcome {
        Outcome::Finished(summary) => summary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn learns_classes_and_reports_them() {
    for model in [bert(), gpt()] {
        let folder = tempfile::tempdir().unwrap();
        let (_, outcome) = fit(&model, &config(60), folder.path(), &mut ()).unwrap();
        let summary = summary(outcome);
        let validation = summary.validation.clone().unwrap();
        assert!(summary.last.unwrap().loss < 0.3, "{validation:?}");
        // One of nine lies.
        assert_eq!((validation.accuracy, validation.labels), (Some(8.0 / 9.0), 9));
        let counts = validation.confusion.unwrap().counts;
        assert_eq!(counts, [[4, 0, 0], [1, 2, 0], [0, 0, 2]]);
        let report = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
        assert!(report.contains("| one | 1.0000 | 0.6667 | 0.8000 | 3 |"), "{report}");
        assert!(report.contains("| one | 1 | 2 | 0 |"), "{report}");
        assert!(!report.contains("perplexity"));
        let card = std::fs::read_to_string(folder.path().join("model/README.md")).unwrap();
        assert!(
            card.contains("pipeline_tag: text-classification") && card.contains("Fine-tuned by"),
            "{card}"
        );
        let saved = std::fs::read_to_string(folder.path().join("model/config.json")).unwrap();
        assert!(
            saved.contains("ForSequenceClassification") && saved.contains("\"one\": 1"),
            "{saved}"
        );
    }
}

// The loss of the first step, before anything is learned, is the mean with weights of the rows' own losses.
#[test]
fn class_weights_are_those_of_a_weighted_mean() {
    let weights = [0.5, 2.0, 3.0];
    let first = |class_weights: Option<Vec<f64>>, len: u64| {
        let folder = tempfile::tempdir().unwrap();
        let config = TrainerConfig {
            class_weights,
            global_batch_size: Some(len as usize),
            micro_batch_size: Some(len.min(3) as usize),
            warmup_steps: 0,
            ..config(1)
        };
        let mut caller = Caller::default();
        let _turn = turn();
        let config_of_model = match bert() {
            ModelConfig::Bert(bert) => {
                ModelConfig::Bert(BertConfig { hidden_dropout: 0.0, ..bert })
            }
            other => other,
        };
        let mut model = common::model(&config_of_model);
        let samples = Rows { len, noise: 0 };
        let context = RunContext::default();
        train(&mut model, &samples, None, &config, folder.path(), &context, &mut caller).unwrap();
        caller.losses()[0]
    };
    // Rows one by one, from the mean over the first n: n * mean(n) - (n - 1) * mean(n - 1).
    let means: Vec<f64> = (1..=4).map(|len| first(None, len)).collect();
    let alone = |row: usize| match row {
        0 => means[0],
        row => means[row] * (row + 1) as f64 - means[row - 1] * row as f64,
    };
    let of_rows = [0, 1, 0, 2].map(|class: usize| weights[class]);
    let sum: f64 = (0..4).map(|row| of_rows[row] * alone(row)).sum();
    let expected = sum / of_rows.iter().sum::<f64>();
    let got = first(Some(weights.to_vec()), 4);
    assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    assert!((got - means[3]).abs() > 1e-4, "the weights change nothing");
}

fn check_resumes(model: &ModelConfig, config: &TrainerConfig, stops: &[u64]) {
    let expected = tempfile::tempdir().unwrap();
    fit(model, config, expected.path(), &mut ()).unwrap();
    for &stop_at in stops {
        let folder = tempfile::tempdir().unwrap();
        let (_, outcome) =
            fit(model, config, folder.path(), &mut Caller::stopping_at(stop_at)).unwrap();
        assert!(matches!(outcome, Outcome::Stopped { .. }), "{outcome:?}");
        fit(model, config, folder.path(), &mut Caller::stopping_at(4)).unwrap();
        let mut caller = Caller::default();
        fit(model, config, folder.path(), &mut caller).unwrap();
        assert_eq!(caller.warnings(), Vec::<&str>::new());
        assert_same(expected.path(), folder.path());
    }
}

#[test]
fn stopped_and_gone_on_with_is_the_same_to_the_bit() {
    let weighted = TrainerConfig { class_weights: Some(vec![1.0, 2.0, 2.0]), ..config(12) };
    check_resumes(&bert(), &weighted, &[1, 6, 7, 9, 17]);
    let best = TrainerConfig {
        best_by: Some(BestBy::MacroF1),
        validate_every: Some(2),
        checkpoint_every: Some(5),
        dtype: idiolect_trainer::Dtype::Bf16,
        ..config(12)
    };
    check_resumes(&gpt(), &best, &[1, 6, 7, 9, 17]);
    // It ends after six steps.
    let impatient = TrainerConfig { patience: Some(2), learning_rate: 1e-9, ..best };
    check_resumes(&bert(), &impatient, &[1, 6, 7, 9]);
}

fn validations(caller: &Caller) -> Vec<ValidationMetrics> {
    let of = |event: &Event| match event {
        Event::Validated(metrics) => Some(metrics.clone()),
        _ => None,
    };
    caller.events.iter().filter_map(of).collect()
}

#[test]
fn patience_ends_a_run_and_the_best_becomes_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainerConfig {
        best_by: Some(BestBy::Loss),
        patience: Some(3),
        validate_every: Some(2),
        checkpoint_every: None,
        keep_last: 1,
        learning_rate: 0.3,
        clip_norm: 0.0,
        schedule: idiolect_trainer::ScheduleKind::Constant,
        warmup_steps: 0,
        ..config(200)
    };
    let mut caller = Caller::default();
    let (model, outcome) = fit(&bert(), &config, folder.path(), &mut caller).unwrap();
    let summary = summary(outcome);
    let seen = validations(&caller);
    let best = seen.iter().min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss)).unwrap();
    assert!(summary.steps < 200);
    assert_eq!(summary.steps, best.step + 6);
    assert_eq!(summary.validation.as_ref(), Some(best));
    let saved = folder.path().join(format!("checkpoints/step-{}/model.safetensors", best.step));
    assert!(std::fs::read(saved).unwrap() == weights(folder.path()));
    drop(model);
    // Once more: nothing is left to do, and nothing changes.
    let before = (metrics(folder.path()), weights(folder.path()));
    fit(&bert(), &config, folder.path(), &mut ()).unwrap();
    assert!(before == (metrics(folder.path()), weights(folder.path())));
}

#[test]
fn what_does_not_fit_is_refused() {
    let check = |model: &ModelConfig, change: fn(&mut TrainerConfig), expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(3);
        change(&mut config);
        let error = fit(model, &config, folder.path(), &mut ()).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    let two = |config: &mut TrainerConfig| config.class_weights = Some(vec![1.0, 2.0]);
    check(&bert(), two, "trainer.class_weights has 2 weights for 3 classes");
    let negative = |config: &mut TrainerConfig| config.class_weights = Some(vec![-1.0, 1.0, 1.0]);
    check(&bert(), negative, "trainer.class_weights must be 0 or positive");
    check(&gpt_config(0.0), two, "trainer.class_weights needs a model that classifies");
    let by_accuracy = |config: &mut TrainerConfig| config.best_by = Some(BestBy::Accuracy);
    check(
        &gpt_config(0.0),
        by_accuracy,
        "trainer.best_by must be \"loss\" for a model that does not classify",
    );
    let none_kept =
        |config: &mut TrainerConfig| (config.best_by, config.keep_best) = (Some(BestBy::Loss), 0);
    check(&bert(), none_kept, "trainer.keep_best must be at least 1 with best_by");
    check(&bert(), |config| config.patience = Some(0), "trainer.patience must be at least 1");
    check(&gpt_config(0.0), |_| (), "the samples' labels are classes, the model predicts ids");
}
