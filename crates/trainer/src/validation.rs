//! A model and held-out samples come in; the loss over them, in nats a label and bits a byte, goes out.

use crate::objective::{self, Objective};
use crate::{
    Confusion, Dtype, Error, Result, TrainerConfig, ValidationMetrics, batches, train::autocast,
};
use idiolect_dataset::{Order, Samples};
use idiolect_model::Model;
use idiolect_torch::NoGrad;
use std::f64::consts::LN_2;
use tch::{Device, Tensor};

/// Which samples an evaluation scores, in micro-batches: all, or as many as the configuration says, drawn once.
pub fn choose(samples: &dyn Samples, config: &TrainerConfig, micro_rows: usize) -> Vec<u64> {
    let rows = config.validation_batches.map_or(u64::MAX, |n| n.saturating_mul(micro_rows as u64));
    if rows >= samples.len() {
        return (0..samples.len()).collect();
    }
    // Always the same samples, so that evaluations can be compared, whatever the seed of the run.
    let order = Order::new(0, 0, samples.len());
    let mut chosen: Vec<u64> = (0..rows).map(|index| order.at(index)).collect();
    chosen.sort_unstable();
    chosen
}

/// Scores the chosen samples, of classes each with the same weight. Masks are those of the first epoch, each time the same.
pub fn evaluate(
    model: &Model,
    objective: &Objective,
    samples: &dyn Samples,
    chosen: &[u64],
    micro_rows: usize,
    (dtype, step): (Dtype, u64),
) -> Result<ValidationMetrics> {
    let _no_grad = NoGrad::new();
    let mut scored = Scored::default();
    if let Objective::Classes { count, .. } = objective {
        scored.confusion = Some(Confusion::new(*count));
    }
    for rows in chosen.chunks(micro_rows) {
        let batch = samples.batch(0, rows)?;
        let (inputs, labels) = batches::tensors(&batch, model.device())?;
        let autocast = autocast(model.device(), dtype)?;
        objective.weight(&batch)?; // refuses what the model has no head for
        let (nats, count) = match (&mut scored.confusion, &batch.classes) {
            (Some(confusion), Some(classes)) => {
                let logits = model.classify(&inputs)?;
                count_guesses(confusion, classes, &logits)?;
                (objective::cross_entropy(&logits, &labels, None)?, batch.rows as u64)
            }
            _ => (model.loss(&inputs, &labels)?, objective::count_labels(&batch)),
        };
        drop(autocast);
        scored.batches.push((nats.f_double_value(&[])?, count));
        scored.bytes += batch.label_bytes;
    }
    let covers_all_bytes = matches!((model, objective), (Model::Gpt(_), Objective::Ids));
    scored.metrics(step, covers_all_bytes)
}

fn count_guesses(confusion: &mut Confusion, classes: &[i64], logits: &Tensor) -> Result<()> {
    let guesses = Vec::<i64>::try_from(logits.f_argmax(-1, false)?.f_to(Device::Cpu)?)?;
    for (&class, guess) in classes.iter().zip(guesses) {
        confusion.count(class as usize, guess as usize);
    }
    Ok(())
}

// The sum of nats and the labels of each micro-batch, and the bytes of text behind all labels.
#[derive(Debug, Default)]
struct Scored {
    batches: Vec<(f64, u64)>,
    bytes: u64,
    confusion: Option<Confusion>,
}

impl Scored {
    fn metrics(&self, step: u64, covers_all_bytes: bool) -> Result<ValidationMetrics> {
        let labels: u64 = self.batches.iter().map(|batch| batch.1).sum();
        if labels == 0 {
            return Err(Error::NoValidationLabels);
        }
        let nats: f64 = self.batches.iter().map(|batch| batch.0).sum();
        let loss = nats / labels as f64;
        Ok(ValidationMetrics {
            step,
            validation_loss: loss,
            validation_stderr: self.stderr(loss, labels),
            perplexity: loss.exp(),
            bits_per_byte: (covers_all_bytes && self.bytes > 0)
                .then(|| nats / LN_2 / self.bytes as f64),
            labels,
            accuracy: self.confusion.as_ref().map(Confusion::accuracy),
            macro_f1: self.confusion.as_ref().map(Confusion::macro_f1),
            confusion: self.confusion.clone(),
        })
    }

    // Of a ratio of sums over batches of unequal size (Cochran 1977, Sampling Techniques, section 6.4).
    fn stderr(&self, loss: f64, labels: u64) -> Option<f64> {
        let count = self.batches.len() as f64;
        let squares: f64 =
            self.batches.iter().map(|(nats, labels)| (nats - loss * *labels as f64).powi(2)).sum();
        let mean_labels = labels as f64 / count;
        (count > 1.0).then(|| (squares / (count - 1.0) / count).sqrt() / mean_labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        batches: &[(f64, u64)],
        bytes: u64,
        loss: f64,
        stderr: Option<f64>,
        bits: Option<f64>,
    ) {
        let scored = Scored { batches: batches.to_vec(), bytes, confusion: None };
        let metrics = scored.metrics(3, true).unwrap();
        let near = |a: Option<f64>, b: Option<f64>| {
            a.zip(b).map_or(a == b, |(a, b)| (a - b).abs() < 1e-12)
        };
        assert!(near(Some(metrics.validation_loss), Some(loss)), "{metrics:?}");
        assert!(near(metrics.validation_stderr, stderr), "{metrics:?}");
        assert!(near(metrics.bits_per_byte, bits), "{metrics:?}");
    }

    #[test]
    fn labels_are_counted_not_batches() {
        check(&[(10.0, 10), (6.0, 2)], 0, 16.0 / 12.0, Some(10.0 / 3.0 / 6.0), None);
        check(&[(8.0 * LN_2, 4)], 4, 2.0 * LN_2, None, Some(2.0));
        check(&[(2.0, 1), (4.0, 1)], 0, 3.0, Some(1.0), None);
        assert!(matches!(Scored::default().metrics(1, true), Err(Error::NoValidationLabels)));
    }
}
