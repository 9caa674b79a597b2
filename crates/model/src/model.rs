//! A model of either kind behind one set of functions. Inputs are checked here, and libtorch's exceptions become errors.

use crate::bert::{BertForMaskedLm, IGNORE_LABEL, Parts};
use crate::config;
use crate::gpt::Gpt;
use crate::inputs::check_range;
use crate::parameter::Fill;
use crate::weights::{self, Weights};
use crate::{Error, Inputs, ModelConfig, Parameter, Result};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A model of either kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Model {
    /// A decoder.
    Gpt(Gpt),
    /// An encoder.
    Bert(BertForMaskedLm),
}

impl Model {
    /// A new model in f32 with its published initialisation, the same on every device.
    pub fn new(config: &ModelConfig, seed: u64, device: Device) -> Result<Self> {
        let parts = Parts { pooler: false, head: true };
        Self::build(config, parts, Fill::Random { seed }, device, Kind::Float)
    }

    /// Reads `config.json` and `model.safetensors` (or shards and an index) as Transformers writes
    /// them; `dtype` converts, `None` keeps the number type of the file.
    pub fn load(dir: &Path, device: Device, dtype: Option<Kind>) -> Result<Self> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        let config = config::read(&text, &path)?;
        let weights = Weights::open(dir)?;
        let kind = match dtype {
            Some(kind) => kind,
            None => weights.kind()?,
        };
        let parts = Parts {
            pooler: weights.has("pooler.dense.weight"),
            head: weights.has("cls.predictions.bias"),
        };
        let model = Self::build(&config, parts, Fill::Later, device, kind)?;
        let tied = matches!(&config, ModelConfig::Gpt(gpt) if gpt.tie_embeddings);
        weights.copy_to(model.parameters(), tied)?;
        Ok(model)
    }

    /// Writes `config.json` and `model.safetensors` into the folder `dir`, each atomically.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let class = match self {
            Self::Gpt(gpt) => gpt.config().architecture()?.name(),
            Self::Bert(bert) => bert.class(),
        };
        let dtype = match self.kind() {
            Kind::BFloat16 => "bfloat16",
            Kind::Half => "float16",
            _ => "float32",
        };
        let config = config::write(&self.config(), class, dtype)?;
        weights::save(self.parameters(), dir)?;
        let text = format!("{config:#}\n");
        Ok(idiolect_files::write_atomic(&dir.join("config.json"), text.as_bytes())?)
    }

    fn build(
        config: &ModelConfig,
        parts: Parts,
        fill: Fill,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        config.validate()?;
        check_allocation(config, device, kind)?;
        idiolect_torch::catch(|| match config {
            ModelConfig::Gpt(config) => Gpt::new(config, fill, device, kind).map(Self::Gpt),
            ModelConfig::Bert(config) => {
                BertForMaskedLm::new(config, parts, fill, device, kind).map(Self::Bert)
            }
        })?
    }

    /// The learned tensors, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        match self {
            Self::Gpt(gpt) => gpt.parameters(),
            Self::Bert(bert) => bert.parameters(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> ModelConfig {
        match self {
            Self::Gpt(gpt) => ModelConfig::Gpt(gpt.config().clone()),
            Self::Bert(bert) => ModelConfig::Bert(bert.config().clone()),
        }
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.parameters()[0].tensor.device()
    }

    /// The number type of the weights.
    pub fn kind(&self) -> Kind {
        self.parameters()[0].tensor.kind()
    }

    /// Training mode: dropout, where the configuration has any, is on.
    pub fn train(&mut self, on: bool) {
        match self {
            Self::Gpt(gpt) => gpt.train(on),
            Self::Bert(bert) => bert.train(on),
        }
    }

    /// The last hidden states, `[B, T, D]`.
    pub fn hidden_states(&self, inputs: &Inputs) -> Result<Tensor> {
        self.run(inputs, || match self {
            Self::Gpt(gpt) => gpt.hidden_states(inputs),
            Self::Bert(bert) => bert.hidden_states(inputs),
        })
    }

    /// Logits, `[B, T, V]`.
    pub fn logits(&self, inputs: &Inputs) -> Result<Tensor> {
        self.run(inputs, || match self {
            Self::Gpt(gpt) => gpt.head(&gpt.hidden_states(inputs)?),
            Self::Bert(bert) => {
                let hidden = bert.hidden_states(inputs)?;
                bert.head(&hidden).unwrap_or(Err(NO_HEAD))
            }
        })
    }

    /// The pooled first position, `[B, D]`. A BERT with a pooler only.
    pub fn pooled(&self, inputs: &Inputs) -> Result<Tensor> {
        self.run(inputs, || match self {
            Self::Gpt(_) => Err(Error::Unsupported { model: "a GPT", what: "pool" }),
            Self::Bert(bert) => {
                let hidden = bert.hidden_states(inputs)?;
                let none = Error::Unsupported { model: "a BERT without a pooler", what: "pool" };
                bert.pool(&hidden).unwrap_or(Err(none))
            }
        })
    }

    /// The sum of the losses in nats over labels `[B, T]` other than -100, an f32 scalar with
    /// gradient. `labels[t]` is what position `t` is to predict: they come shifted.
    pub fn loss(&self, inputs: &Inputs, labels: &Tensor) -> Result<Tensor> {
        if labels.size() != inputs.ids.size() || labels.kind() != Kind::Int64 {
            let (shape, ids) = (labels.size(), inputs.ids.size());
            let problem = format!("is {:?} {shape:?}, must be Int64 {ids:?}", labels.kind());
            return Err(Error::Input { name: "labels", problem });
        }
        self.run(inputs, || {
            let shown = labels.where_scalarother(&labels.ne(IGNORE_LABEL), 0);
            check_range("labels", &shown, self.config().vocab_size())?;
            match self {
                Self::Gpt(gpt) => gpt.loss(inputs, labels),
                Self::Bert(bert) => bert.loss(inputs, labels).unwrap_or(Err(NO_HEAD)),
            }
        })
    }

    /// Checks the inputs, then runs `f`; a panic of tch becomes an error.
    fn run(&self, inputs: &Inputs, f: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        idiolect_torch::catch(|| {
            inputs.check(&self.config())?;
            f()
        })?
    }
}

pub(crate) const NO_HEAD: Error =
    Error::Unsupported { model: "a BERT without a head for masked ids", what: "make logits" };

/// Asks libtorch once for all the memory that the weights need, so that a model that cannot fit
/// is refused before half of it is made.
fn check_allocation(config: &ModelConfig, device: Device, kind: Kind) -> Result<()> {
    let count = config.parameter_count() as i64;
    let probe = Tensor::f_empty([count], (kind, device));
    Ok(probe.map(|_| ()).map_err(idiolect_torch::TorchError::from)?)
}
