//! Texts in, the probability of each label out, by a model with a classification head.

use idiolect_model::tch::Kind;
use serde::{Deserialize, Serialize};

use super::LocalBackend;
use super::rows::Rows;
use crate::{Error, Result};

/// What a text is, as far as the model can tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The likeliest label.
    pub label: String,
    /// Of each label, in the model's order; they sum to 1.
    pub probabilities: Vec<f32>,
}

impl LocalBackend {
    /// The labels that [`LocalBackend::classify`] gives; empty without a classification head.
    pub fn labels(&self) -> &[String] {
        self.model.labels()
    }

    /// Classifies each text; also how many were longer than the model's context and lost their end.
    pub fn classify(&self, texts: &[&str]) -> Result<(Vec<Classification>, usize)> {
        if self.labels().is_empty() {
            return Err(Error::Unsupported {
                what: "classify: its model has no classification head",
            });
        }
        let rows = Rows::new(&self.tokenizer, texts, self.model.context_length())?;
        let cut = rows.cut;
        let found = self.worker.call(move |model| {
            rows.map(model, |inputs| Ok(model.classify(inputs)?.f_softmax(-1, Kind::Float)?))
        })??;
        let name = |probabilities: Vec<f32>| {
            let best = (0..probabilities.len())
                .max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]).then(b.cmp(&a)));
            let label = best.and_then(|best| self.labels().get(best)).cloned().unwrap_or_default();
            Classification { label, probabilities }
        };
        Ok((found.into_iter().map(name).collect(), cut))
    }
}
