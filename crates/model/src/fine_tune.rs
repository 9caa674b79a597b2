//! A base folder, labels and a seed in; a model with the base's weights and a fresh classification head out.

use crate::families::{ClassifierForm, Family};
use crate::model::{open, pooled};
use crate::weights::Weights;
use crate::{Error, Model, ModelConfig, Parameter, Result};
use std::path::Path;
use tch::Device;

/// What a model for fine-tuning is made of besides its base.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FineTune {
    /// What the outputs of the head mean, two or more.
    pub labels: Vec<String>,
    /// The id that fills up rows, where the base names none.
    pub pad_token_id: Option<usize>,
    /// Share of the numbers dropped after the embedding and each half block, in place of the base's.
    pub hidden_dropout: Option<f64>,
    /// Share of attention weights dropped, in place of the base's.
    pub attention_dropout: Option<f64>,
}

impl FineTune {
    /// The configuration of the base in `dir` with these changes.
    pub fn config(&self, dir: &Path) -> Result<ModelConfig> {
        Ok(self.change(open(dir)?.0))
    }

    /// Reads the base's weights as f32, and starts what they lack, the head, from (seed, name): normal, with the
    /// family's deviation (0.02 in BERT; Devlin et al. 2018), biases 0. The last layer is always new. Heads of the base
    /// that have no place in the new model are left behind.
    pub fn load(&self, dir: &Path, seed: u64, device: Device) -> Result<Model> {
        let (config, weights) = open(dir)?;
        let config = self.change(config);
        if self.labels.len() < 2 {
            let problem = format!("are {}, must be 2 or more", self.labels.len());
            return Err(Error::Config { key: "labels", problem });
        }
        let model = Model::new(&config, seed, device)?;
        let family = config.family()?;
        for parameter in model.parameters() {
            if !is_new(family, parameter, &weights) {
                weights.fill(parameter)?;
            }
        }
        weights.check_left_in(model.parameters(), &body(family))?;
        Ok(model)
    }

    fn change(&self, mut config: ModelConfig) -> ModelConfig {
        let (labels, pad) = (self.labels.clone(), self.pad_token_id);
        match &mut config {
            ModelConfig::Gpt(gpt) => {
                gpt.labels = labels;
                gpt.pad_token_id = gpt.pad_token_id.or(pad);
                gpt.residual_dropout = self.hidden_dropout.unwrap_or(gpt.residual_dropout);
                gpt.attention_dropout = self.attention_dropout.unwrap_or(gpt.attention_dropout);
            }
            ModelConfig::Bert(bert) => {
                bert.labels = labels;
                bert.pad_token_id = bert.pad_token_id.or(pad);
                bert.hidden_dropout = self.hidden_dropout.unwrap_or(bert.hidden_dropout);
                bert.attention_dropout = self.attention_dropout.unwrap_or(bert.attention_dropout);
            }
        }
        config
    }
}

/// Whether a parameter keeps its fresh values: the last layer does, and of the rest of a head what the base lacks.
fn is_new(family: &Family, parameter: &Parameter, weights: &Weights) -> bool {
    let of = |layer: &str| parameter.name.starts_with(&format!("{layer}."));
    let lacks = || !weights.has(&parameter.name);
    match family {
        Family::Decoder(_) => of("score"),
        Family::Encoder(family) => {
            let names = &family.names;
            let before = match names.classifier {
                ClassifierForm::Tanh { dense, .. } | ClassifierForm::Relu { dense, .. } => {
                    of(dense)
                }
                ClassifierForm::Transformed { .. } => of(names.head.dense) || of(names.head.norm),
                ClassifierForm::Pooled { .. } => {
                    pooled(names.classifier) && of(&format!("{}.{}", names.body, names.pooler))
                }
            };
            of(names.classifier.out()) || (before && lacks())
        }
    }
}

/// Where the layers lie of which none may be left behind.
fn body(family: &Family) -> [&'static str; 4] {
    match family {
        Family::Decoder(family) => {
            let names = &family.names;
            [names.token, names.position, names.blocks, names.norm]
        }
        Family::Encoder(family) => {
            let names = &family.names;
            [names.token, names.position, names.token_type, names.blocks]
        }
    }
}
