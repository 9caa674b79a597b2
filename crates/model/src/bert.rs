//! An encoder: ids `[B, T]` to hidden states `[B, T, D]`, with heads for masked ids and for classes.
//!
//! The configuration says how its blocks are wired and what they are made of; the family says what its
//! parts are called. BERT (Devlin et al. 2018) is one, ModernBERT (Warner et al. 2024) another.

use crate::config::{BertConfig, Pooling, Positions};
use crate::families::{ClassifierForm, EncoderFamily};
use crate::gpt::Heads;
use crate::init::Init;
use crate::layers::{
    AttentionConfig, Block, BlockConfig, BlockInits, Embedding, Form, Linear, Norm, Pass, Rotary,
    RotaryConfig, Sight, Turn, Unpadded, View, Wiring, activate, drop,
};
use crate::parameter::{Builder, Fill, Parameter, ParameterKind, Path};
use crate::{Inputs, Result};
use tch::{Device, Kind, Tensor};

/// A label that asks for nothing.
pub(crate) const IGNORE_LABEL: i64 = -100;

const INIT: Init = Init::Normal(0.02);

/// An encoder with what its weights have of a pooler and of heads.
#[derive(Debug)]
pub struct Bert {
    config: BertConfig,
    parameters: Vec<Parameter>,
    token: Embedding,
    position: Option<Embedding>,
    token_type: Option<Embedding>,
    rotary: Option<Rotary>,
    /// Of layers with a window.
    local_rotary: Option<Rotary>,
    embedding_norm: Norm,
    blocks: Vec<Block>,
    norm: Option<Norm>,
    pooler: Option<Linear>,
    head: Option<Head>,
    classifier: Option<Classifier>,
    training: bool,
}

/// Hidden states to logits: a transform, then the token table and a bias.
#[derive(Debug)]
struct Head {
    transform: Transform,
    /// `[V]`
    bias: Option<Tensor>,
}

/// A layer, an activation, a norm.
#[derive(Debug)]
struct Transform {
    dense: Linear,
    norm: Norm,
}

/// What is read of a sequence to a score for each label.
#[derive(Debug)]
struct Classifier {
    form: ClassifierForm,
    transform: Option<Transform>,
    dense: Option<Linear>,
    out: Linear,
}

impl Bert {
    pub(crate) fn new(
        config: &BertConfig,
        family: &'static EncoderFamily,
        heads: Heads,
        (fill, device, kind): (Fill, Device, Kind),
    ) -> Result<Self> {
        let (vocab, width) = (config.vocab_size as i64, config.hidden_size as i64);
        let names = &family.names;
        let mut builder = Builder { parameters: Vec::new(), fill, device, kind };
        let mut root = builder.root();
        // Transformers names a bare encoder's weights without the prefix.
        let bare = !heads.ids && !heads.classifier;
        let mut body = root.child(if bare { "" } else { names.body });
        let table = |path: Path<'_>, rows: usize| Embedding::new(path, rows as i64, width, INIT);
        let token = Embedding::new(body.child(names.token), vocab, width, INIT)?;
        let position = match config.positions {
            Positions::Learned => {
                let rows = config.context_length + config.position_offset;
                Some(table(body.child(names.position), rows)?)
            }
            Positions::Rotary => None,
        };
        let token_type = match config.token_types {
            0 => None,
            rows => Some(table(body.child(names.token_type), rows)?),
        };
        let embedding_norm = norm(body.child(names.embedding_norm), config)?;
        let inits = BlockInits { attention_in: INIT, mlp_in: INIT, out: INIT };
        let blocks = (0..config.n_layers)
            .map(|layer| {
                let mut path = body.child(names.blocks);
                Block::new(path.child(layer), &block(config, layer), &names.block, inits)
            })
            .collect::<Result<_>>()?;
        let last = config.pre_norm.then(|| norm(body.child(names.norm), config)).transpose()?;
        let pooler = match heads.pooler {
            true => {
                let path = body.child(names.pooler);
                Some(Linear::new(path, Form::Rows, (width, width), true, INIT)?)
            }
            false => None,
        };
        let head = heads.ids.then(|| Head::new(&mut root, family, config)).transpose()?;
        let classifier =
            heads.classifier.then(|| Classifier::new(&mut root, family, config)).transpose()?;
        Ok(Self {
            config: config.clone(),
            parameters: builder.parameters,
            token,
            position,
            token_type,
            rotary: config.rope_theta.and_then(|theta| rotary(config, theta, device)),
            local_rotary: config.local_rope_theta.and_then(|theta| rotary(config, theta, device)),
            embedding_norm,
            blocks,
            norm: last,
            pooler,
            head,
            classifier,
            training: false,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// The learned tensors, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Whether there is a head for masked ids.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// Whether there is a pooler.
    pub fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }

    /// Which heads it has.
    pub(crate) fn heads(&self) -> Heads {
        let (ids, pooler) = (self.has_head(), self.has_pooler());
        Heads { ids, classifier: self.classifier.is_some(), pooler }
    }

    pub(crate) fn train(&mut self, on: bool) {
        self.training = on;
    }

    /// The last hidden states, `[B, T, D]`.
    pub(crate) fn hidden_states(&self, inputs: &Inputs) -> Result<Tensor> {
        self.run(inputs, None)
    }

    /// The hidden states before the first layer and after each, `[B, T, D]`, the last normalised where
    /// norms come first.
    pub(crate) fn hidden_states_all(&self, inputs: &Inputs) -> Result<Vec<Tensor>> {
        let mut all = Vec::new();
        let last = self.run(inputs, Some(&mut all))?;
        all.pop();
        all.push(last);
        Ok(all)
    }

    /// `states` receives the embedding and what each block makes of it. Blocks compute nothing for
    /// padding at the end of rows.
    fn run(&self, inputs: &Inputs, mut states: Option<&mut Vec<Tensor>>) -> Result<Tensor> {
        let unpadded = Unpadded::of(inputs);
        let padded = |x: &Tensor| match &unpadded {
            Some(unpadded) => unpadded.restore(x),
            None => x.shallow_clone(),
        };
        let mut x = self.embed(inputs)?; // [B, T, D]
        if let Some(unpadded) = &unpadded {
            x = unpadded.take(&x); // [1, N, D]
        }
        let pass = self.pass(inputs, unpadded.as_ref());
        if let Some(states) = &mut states {
            states.push(padded(&x));
        }
        for block in &self.blocks {
            x = block.forward(x, &pass, None)?;
            if let Some(states) = &mut states {
                states.push(padded(&x));
            }
        }
        match &self.norm {
            Some(norm) => Ok(padded(&norm.forward(&x)?)),
            None => Ok(padded(&x)),
        }
    }

    /// The first layer's input, `[B, T, D]`.
    fn embed(&self, inputs: &Inputs) -> Result<Tensor> {
        let length = inputs.ids.size()[1];
        let mut x = self.token.forward(&inputs.ids)?;
        if let Some(token_type) = &self.token_type {
            x += match &inputs.token_type_ids {
                Some(token_type_ids) => token_type.forward(token_type_ids)?,
                None => token_type.rows(0, 1),
            };
        }
        if let Some(position) = &self.position {
            let offset = self.config.position_offset as i64;
            x += match (&inputs.position_ids, offset) {
                (Some(position_ids), 0) => position.forward(position_ids)?,
                (Some(position_ids), _) => position.forward(&(position_ids + offset))?,
                (None, 0) => position.rows(0, length),
                (None, _) => {
                    // As RoBERTa counts: padding takes no position.
                    let real = inputs.ids.ne(offset - 1).to_kind(Kind::Int64);
                    position.forward(&(real.cumsum(1, Kind::Int64) * real + (offset - 1)))?
                }
            };
        }
        Ok(drop(self.embedding_norm.forward(&x)?, self.config.hidden_dropout, self.training))
    }

    /// What all layers share.
    fn pass(&self, inputs: &Inputs, unpadded: Option<&Unpadded>) -> Pass {
        let view = View {
            causal: false,
            window: None,
            start: 0,
            length: inputs.ids.size()[1],
            document_ids: inputs.document_ids.as_ref(),
            attention_mask: inputs.attention_mask.as_ref(),
            kind: self.token.weight.kind(),
            device: self.token.weight.device(),
        };
        let given = inputs.position_ids.as_ref();
        let angles = |rotary: &Rotary| match (unpadded, given) {
            (Some(unpadded), _) => rotary.at(&unpadded.position_ids(given)),
            (None, Some(position_ids)) => rotary.at(position_ids),
            (None, None) => rotary.range(0, view.length),
        };
        let mask = |view: View<'_>| match unpadded {
            Some(unpadded) => unpadded.mask(view),
            None => view.mask(),
        };
        let whole = Sight { mask: mask(view), angles: self.rotary.as_ref().map(angles) };
        let local = self.config.local_attention.map(|across| {
            let view = View { window: Some(across as i64 / 2 + 1), ..view };
            let rotary = self.local_rotary.as_ref().or(self.rotary.as_ref());
            Sight { mask: mask(view), angles: rotary.map(angles) }
        });
        Pass { whole, local, training: self.training, start: 0 }
    }

    /// The pooled first position of hidden states, `[B, T, D]` to `[B, D]`; nothing without a pooler.
    pub(crate) fn pool(&self, hidden_states: &Tensor) -> Option<Result<Tensor>> {
        let pooler = self.pooler.as_ref()?;
        Some(pooler.forward(&hidden_states.select(1, 0)).map(|pooled| pooled.tanh()))
    }

    /// Hidden states `[.., D]` to logits `[.., V]`; nothing without a head.
    pub(crate) fn head(&self, hidden_states: &Tensor) -> Option<Result<Tensor>> {
        let head = self.head.as_ref()?;
        Some(head.forward(hidden_states, &self.config, &self.token.weight.dense))
    }

    /// The scores of the labels, `[B, labels]`; nothing without a classification head.
    pub(crate) fn classify(&self, inputs: &Inputs) -> Option<Result<Tensor>> {
        let classifier = self.classifier.as_ref()?;
        Some(self.hidden_states(inputs).and_then(|hidden| {
            let read = match (self.pool(&hidden), self.config.classifier_pooling) {
                (Some(pooled), _) => pooled?,
                (None, Pooling::Cls) => hidden.select(1, 0),
                (None, Pooling::Mean) => mean(&hidden, inputs.attention_mask.as_ref()),
            };
            classifier.forward(read, &self.config, self.training)
        }))
    }

    /// The summed loss of labels `[B, T]`; nothing without a head, which is computed only where
    /// there is a label.
    pub(crate) fn loss(&self, inputs: &Inputs, labels: &Tensor) -> Option<Result<Tensor>> {
        let head = self.head.as_ref()?;
        Some(self.hidden_states(inputs).and_then(|hidden| {
            let labels = labels.flatten(0, 1);
            let places = labels.ne(IGNORE_LABEL).nonzero().squeeze_dim(1);
            let hidden = hidden.flatten(0, 1).index_select(0, &places); // [labelled, D]
            let logits = head.forward(&hidden, &self.config, &self.token.weight.dense)?;
            let labels = labels.index_select(0, &places);
            let sum = tch::Reduction::Sum;
            let loss = logits.to_kind(Kind::Float).cross_entropy_loss(
                &labels,
                None::<&Tensor>,
                sum,
                IGNORE_LABEL,
                0.0,
            );
            Ok(loss)
        }))
    }
}

/// The mean over the real positions, `[B, T, D]` to `[B, D]`.
fn mean(hidden: &Tensor, attention_mask: Option<&Tensor>) -> Tensor {
    match attention_mask {
        None => hidden.mean_dim(1, false, None),
        Some(mask) => {
            let real = mask.ne(0).to_kind(hidden.kind()).unsqueeze(2);
            let sum = (hidden * &real).sum_dim_intlist(1, false, None);
            sum / real.sum_dim_intlist(1, false, None)
        }
    }
}

fn norm(path: Path<'_>, config: &BertConfig) -> Result<Norm> {
    Norm::new(path, config.norm, config.hidden_size as i64, config.norm_epsilon)
}

/// What the block of layer `layer` is made of.
fn block(config: &BertConfig, layer: usize) -> BlockConfig {
    let (width, n_heads) = (config.hidden_size as i64, config.n_heads as i64);
    let attention = AttentionConfig {
        width,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: width / n_heads,
        bias: config.attention_bias,
        out_bias: config.attention_bias,
        scale: None,
        softcap: None,
        local: config.is_local(layer),
        dropout: config.attention_dropout,
    };
    BlockConfig {
        // The embedding is normalised already.
        wiring: if config.pre_norm { Wiring::Pre { first: layer > 0 } } else { Wiring::Post },
        attention,
        qk_norm: false,
        norm: config.norm,
        norm_epsilon: config.norm_epsilon,
        mlp: config.mlp,
        inner: config.intermediate_size() as i64,
        mlp_bias: config.mlp_bias,
        dropout: config.hidden_dropout,
    }
}

fn rotary(config: &BertConfig, theta: f64, device: Device) -> Option<Rotary> {
    let (context, width) = (config.context_length as i64, config.hidden_size / config.n_heads);
    let (width, turn) = (width as i64, Turn::Forward);
    (config.positions == Positions::Rotary)
        .then(|| Rotary::new(RotaryConfig { context, width, theta, scaling: None, turn }, device))
}

impl Transform {
    fn new(root: &mut Path<'_>, family: &EncoderFamily, config: &BertConfig) -> Result<Self> {
        let (names, width) = (&family.names.head, config.hidden_size as i64);
        let path = root.child(names.dense);
        let dense = Linear::new(path, Form::Rows, (width, width), config.classifier_bias, INIT)?;
        Ok(Self { dense, norm: norm(root.child(names.norm), config)? })
    }

    /// `[.., D]` to `[.., D]`.
    fn forward(&self, hidden: &Tensor, config: &BertConfig) -> Result<Tensor> {
        self.norm.forward(&activate(config.mlp.ungated(), &self.dense.forward(hidden)?)?)
    }
}

impl Head {
    fn new(root: &mut Path<'_>, family: &EncoderFamily, config: &BertConfig) -> Result<Self> {
        let (name, vocab) = (family.names.head.bias, config.vocab_size as i64);
        let mut make = || root.parameter(name, &[vocab], ParameterKind::Vector, Init::Zeros);
        let bias = config.decoder_bias.then(&mut make).transpose()?;
        Ok(Self { transform: Transform::new(root, family, config)?, bias })
    }

    /// `[.., D]` to `[.., V]`.
    fn forward(&self, hidden: &Tensor, config: &BertConfig, table: &Tensor) -> Result<Tensor> {
        let changed = self.transform.forward(hidden, config)?;
        Ok(idiolect_torch::linear(&changed, table, self.bias.as_ref())?)
    }
}

impl Classifier {
    fn new(root: &mut Path<'_>, family: &EncoderFamily, config: &BertConfig) -> Result<Self> {
        let (form, width) = (family.names.classifier, config.hidden_size as i64);
        let dense = match form {
            ClassifierForm::Tanh { dense, .. } | ClassifierForm::Relu { dense, .. } => {
                Some(Linear::new(root.child(dense), Form::Rows, (width, width), true, INIT)?)
            }
            ClassifierForm::Pooled { .. } | ClassifierForm::Transformed { .. } => None,
        };
        let transform = match form {
            ClassifierForm::Transformed { .. } => Some(Transform::new(root, family, config)?),
            _ => None,
        };
        let sizes = (width, config.labels.len() as i64);
        let out = Linear::head(root.child(form.out()), sizes, true, INIT)?;
        Ok(Self { form, transform, dense, out })
    }

    /// `[B, D]` to `[B, labels]`.
    fn forward(&self, read: Tensor, config: &BertConfig, training: bool) -> Result<Tensor> {
        let share = config.classifier_dropout.unwrap_or(config.hidden_dropout);
        let dropped = |x: Tensor| drop(x, share, training);
        let x = match (&self.form, &self.dense, &self.transform) {
            (ClassifierForm::Tanh { .. }, Some(dense), _) => dense.forward(&dropped(read))?.tanh(),
            (_, Some(dense), _) => dense.forward(&read)?.relu(),
            (_, _, Some(transform)) => transform.forward(&read, config)?,
            _ => read,
        };
        self.out.forward(&dropped(x))
    }
}
