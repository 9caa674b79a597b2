//! A model of either kind behind one set of functions. Inputs are checked here, and libtorch's exceptions become errors.

use crate::bert::{Bert, IGNORE_LABEL};
use crate::config;
use crate::families::{ClassifierForm, Family};
use crate::gguf::Gguf;
use crate::gpt::{Gpt, Heads};
use crate::inputs::check_range;
use crate::packing::fill_packed;
use crate::parameter::Fill;
use crate::weights::{self, Weights};
use crate::{Error, Inputs, ModelConfig, Parameter, Quantize, Result};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A model of either kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Model {
    /// A decoder.
    Gpt(Gpt),
    /// An encoder.
    Bert(Bert),
}

impl Model {
    /// A new model in f32 with its published initialisation, the same on every device.
    pub fn new(config: &ModelConfig, seed: u64, device: Device) -> Result<Self> {
        config.validate()?;
        let classifier = !config.labels().is_empty();
        let pooler = match config.family()? {
            Family::Encoder(family) => classifier && pooled(family.names.classifier),
            Family::Decoder(_) => false,
        };
        let heads = Heads { ids: !classifier, classifier, pooler };
        Self::build(config, heads, Fill::Random { seed }, device, Kind::Float)
    }

    /// Reads a folder with `config.json` and `model.safetensors` (or shards and an index) as Transformers writes
    /// them, or a GGUF file; `dtype` converts, `None` keeps the number type of the file (what is quantised
    /// becomes f32).
    pub fn load(dir: &Path, device: Device, dtype: Option<Kind>) -> Result<Self> {
        let (config, weights) = open(dir)?;
        let kind = match dtype {
            Some(kind) => kind,
            None => weights.kind()?,
        };
        check_layers(&config, &weights)?;
        let heads = heads_in(&config, &weights)?;
        let mut model = Self::build(&config, heads, Fill::Later, device, kind)?;
        weights.copy_to(model.parameters(), is_tied(&config))?;
        if let Self::Gpt(gpt) = &mut model {
            idiolect_torch::catch(|| gpt.fuse())??;
        }
        Ok(model)
    }

    /// The same for inference on the CPU, with the matrices of a decoder in fewer bits. Such a model has no parameters
    /// but its vectors: it can be neither trained nor saved. No more than one matrix at a time is there in full. Blocks of a
    /// GGUF file that have the format wanted are taken as they are.
    pub fn load_packed(dir: &Path, quantize: Quantize) -> Result<Self> {
        let (config, weights) = open(dir)?;
        check_layers(&config, &weights)?;
        let heads = heads_in(&config, &weights)?;
        // A tokenizer that was read before this leaves as much as the weights take.
        idiolect_torch::release_memory();
        let mut model = Self::build(&config, heads, Fill::Later, Device::Cpu, Kind::Float)?;
        weights.check_left(model.parameters(), is_tied(&config))?;
        let Self::Gpt(gpt) = &mut model else {
            return Err(Error::Unsupported { model: "an encoder", what: "be quantised" });
        };
        idiolect_torch::catch(|| {
            fill_packed(gpt, &mut |parameter, may_be_packed| {
                let takes = |format| quantize.takes(parameter.kind, format);
                if may_be_packed && let Some(packed) = weights.packed(parameter, &takes)? {
                    return Ok(Some(packed));
                }
                weights.fill(parameter)?;
                if may_be_packed { quantize.pack(parameter) } else { Ok(None) }
            })
        })??;
        Ok(model)
    }

    /// Writes `config.json` and `model.safetensors` into the folder `dir`, each atomically.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.expect_whole("be saved")?;
        let (config, heads) = match self {
            Self::Gpt(gpt) => (self.config(), gpt.heads()),
            Self::Bert(bert) => (self.config(), bert.heads()),
        };
        let classes = config.family()?.classes();
        let class = match heads {
            Heads { classifier: true, .. } => classes.classifier.unwrap_or(classes.head),
            Heads { ids: true, .. } => classes.head,
            _ => classes.base,
        };
        let dtype = match self.kind() {
            Kind::BFloat16 => "bfloat16",
            Kind::Half => "float16",
            _ => "float32",
        };
        let config = config::write(&config, class, dtype)?;
        weights::save(self.parameters(), dir)?;
        let text = format!("{config:#}\n");
        Ok(idiolect_files::write_atomic(&dir.join("config.json"), text.as_bytes())?)
    }

    fn build(
        config: &ModelConfig,
        heads: Heads,
        fill: Fill,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        config.validate()?;
        check_allocation(config, device, kind)?;
        let place = (fill, device, kind);
        let family = config.family()?;
        idiolect_torch::catch(|| match (config, family) {
            (ModelConfig::Gpt(config), Family::Decoder(family)) => {
                Gpt::new(config, family, heads, place).map(Self::Gpt)
            }
            (ModelConfig::Bert(config), Family::Encoder(family)) => {
                Bert::new(config, family, heads, place).map(Self::Bert)
            }
            _ => Err(Error::Unsupported { model: "this family", what: "be of this kind" }),
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

    /// The hidden states before the first layer and after each, `[B, T, D]`: one more than there are
    /// layers, the last as [`Model::hidden_states`] gives it, the others not normalised.
    pub fn hidden_states_all(&self, inputs: &Inputs) -> Result<Vec<Tensor>> {
        idiolect_torch::catch(|| {
            inputs.check(&self.config())?;
            match self {
                Self::Gpt(gpt) => gpt.hidden_states_all(inputs),
                Self::Bert(bert) => bert.hidden_states_all(inputs),
            }
        })?
    }

    /// The score of each label of [`ModelConfig::labels`], `[B, labels]`, before a softmax. A model with
    /// a classification head only. A decoder reads each sequence's last id, an encoder its first.
    pub fn classify(&self, inputs: &Inputs) -> Result<Tensor> {
        let none =
            Error::Unsupported { model: "a model without a classification head", what: "classify" };
        self.run(inputs, || match self {
            Self::Gpt(gpt) => gpt.classify(inputs).unwrap_or(Err(none)),
            Self::Bert(bert) => bert.classify(inputs).unwrap_or(Err(none)),
        })
    }

    /// Logits, `[B, T, V]`.
    pub fn logits(&self, inputs: &Inputs) -> Result<Tensor> {
        self.run(inputs, || match self {
            Self::Gpt(gpt) => gpt.head(&gpt.hidden_states(inputs)?).unwrap_or(Err(NO_GPT_HEAD)),
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
        self.expect_whole("be trained")?;
        self.run(inputs, || {
            let shown = labels.where_scalarother(&labels.ne(IGNORE_LABEL), 0);
            check_range("labels", &shown, self.config().vocab_size())?;
            match self {
                Self::Gpt(gpt) => gpt.loss(inputs, labels).unwrap_or(Err(NO_GPT_HEAD)),
                Self::Bert(bert) => bert.loss(inputs, labels).unwrap_or(Err(NO_HEAD)),
            }
        })
    }

    /// Refuses a model whose matrices are packed.
    pub(crate) fn expect_whole(&self, what: &'static str) -> Result<()> {
        match self {
            Self::Gpt(gpt) if gpt.is_packed() => {
                Err(Error::Unsupported { model: "a quantised model", what })
            }
            _ => Ok(()),
        }
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

pub(crate) const NO_GPT_HEAD: Error =
    Error::Unsupported { model: "a GPT without a head for ids", what: "make logits" };

/// Whether a classification head reads a pooler.
pub(crate) fn pooled(form: ClassifierForm) -> bool {
    matches!(form, ClassifierForm::Pooled { .. })
}

/// The configuration and the weights of a folder.
/// A folder, or a GGUF file.
pub(crate) fn open(dir: &Path) -> Result<(ModelConfig, Weights)> {
    if dir.is_file() {
        let gguf = Gguf::open(dir)?;
        let config = config::read(&gguf.config.to_string(), dir)?;
        return Ok((config, Weights::of_gguf(dir, gguf)?));
    }
    let path = dir.join("config.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|source| Error::Read { path: path.clone(), source })?;
    Ok((config::read(&text, &path)?, Weights::open(dir)?))
}

fn is_tied(config: &ModelConfig) -> bool {
    matches!(config, ModelConfig::Gpt(gpt) if gpt.tie_embeddings)
}

/// Refuses more layers than the files can have tensors of, before memory goes to them.
fn check_layers(config: &ModelConfig, weights: &Weights) -> Result<()> {
    let n_layers = match config {
        ModelConfig::Gpt(config) => config.n_layers,
        ModelConfig::Bert(config) => config.n_layers,
    };
    match n_layers > weights.count() {
        true => Err(Error::Config {
            key: "n_layers",
            problem: format!("is {n_layers}, and there are only {} tensors", weights.count()),
        }),
        false => Ok(()),
    }
}

/// The heads that there are weights of.
fn heads_in(config: &ModelConfig, weights: &Weights) -> Result<Heads> {
    let (ids, pooler) = match config.family()? {
        Family::Decoder(family) => (format!("{}.weight", family.names.head), None),
        Family::Encoder(family) => {
            let pooler = Some(family.names.pooler).filter(|name| !name.is_empty());
            (format!("{}.weight", family.names.head.dense), pooler)
        }
    };
    let classifier = !config.labels().is_empty();
    Ok(Heads {
        ids: !classifier && (is_tied(config) || weights.has(&ids)),
        classifier,
        pooler: pooler.is_some_and(|name| weights.has(&format!("{name}.weight"))),
    })
}

/// Asks libtorch once for all the memory that the weights need, so that a model that cannot fit
/// is refused before half of it is made.
fn check_allocation(config: &ModelConfig, device: Device, kind: Kind) -> Result<()> {
    let count = config.parameter_count() as i64;
    let probe = Tensor::f_empty([count], (kind, device));
    Ok(probe.map(|_| ()).map_err(idiolect_torch::TorchError::from)?)
}
