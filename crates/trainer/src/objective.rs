//! What a model is trained on: the next or a masked id at each position, or the class of each row; inputs in, a loss in nats out.

use crate::{Error, Result, TrainerConfig};
use idiolect_dataset::{Batch, IGNORE_LABEL};
use idiolect_model::{Inputs, Model};
use tch::{Kind, Reduction, Tensor};

/// The loss of a run. A model with a classification head learns classes, any other one ids.
#[derive(Debug)]
pub enum Objective {
    /// Of the ids that positions predict.
    Ids,
    /// Of the classes of rows.
    Classes {
        /// How many there are.
        count: usize,
        /// What the loss of a row counts, by its class; 1 each when absent.
        weights: Option<Vec<f64>>,
    },
}

impl Objective {
    /// The objective of a model.
    pub fn of(model: &Model, config: &TrainerConfig) -> Result<Self> {
        let refuse = |key: &str, message: String| Err(Error::Config { key: key.into(), message });
        let count = model.config().labels().len();
        if count > 0 {
            return match &config.class_weights {
                Some(weights) if weights.len() != count => refuse(
                    "class_weights",
                    format!("has {} weights for {count} classes", weights.len()),
                ),
                weights => Ok(Self::Classes { count, weights: weights.clone() }),
            };
        }
        match config.best_by {
            _ if config.class_weights.is_some() => {
                refuse("class_weights", "needs a model that classifies".into())
            }
            Some(by) if by != crate::BestBy::Loss => {
                refuse("best_by", "must be \"loss\" for a model that does not classify".into())
            }
            _ => Ok(Self::Ids),
        }
    }

    /// What the summed loss of a batch is divided by: its labels, or the weights of its rows' classes.
    pub fn weight(&self, batch: &Batch) -> Result<f64> {
        match (self, &batch.classes) {
            (Self::Ids, None) => Ok(count_labels(batch) as f64),
            (Self::Classes { count, weights }, Some(classes)) => {
                let weight = |&class: &i64| match usize::try_from(class) {
                    Ok(class) if class < *count => {
                        Ok(weights.as_ref().map_or(1.0, |weights| weights[class]))
                    }
                    _ => Err(Error::NoSuchClass { class, count: *count }),
                };
                classes.iter().map(weight).sum()
            }
            (Self::Ids, Some(_)) => Err(Error::Objective { samples: "classes", model: "ids" }),
            (Self::Classes { .. }, None) => {
                Err(Error::Objective { samples: "ids", model: "classes" })
            }
        }
    }

    /// The loss in nats, summed over the labels; of classes, each times its weight. `targets` are `[B, T]`, or `[B]`.
    pub fn loss(&self, model: &Model, inputs: &Inputs, targets: &Tensor) -> Result<Tensor> {
        match self {
            Self::Ids => Ok(model.loss(inputs, targets)?),
            Self::Classes { weights, .. } => {
                let logits = model.classify(inputs)?;
                let weights = weights.as_deref().map(|weights| of_classes(weights, &logits));
                cross_entropy(&logits, targets, weights.transpose()?.as_ref())
            }
        }
    }
}

/// Nats, summed, of scores `[B, classes]` in any precision.
pub fn cross_entropy(
    logits: &Tensor,
    classes: &Tensor,
    weights: Option<&Tensor>,
) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    Ok(logits.f_cross_entropy_loss(classes, weights, Reduction::Sum, IGNORE_LABEL, 0.0)?)
}

/// Positions that bear a label.
pub fn count_labels(batch: &Batch) -> u64 {
    batch.labels.iter().filter(|label| **label != IGNORE_LABEL).count() as u64
}

fn of_classes(weights: &[f64], logits: &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(weights)?.f_to(logits.device())?.f_to_kind(Kind::Float)?)
}
