//! An encoder: ids `[B, T]` to hidden states `[B, T, D]`, and a head for masked ids (Devlin et al. 2018).

use crate::config::{BertConfig, Norm as NormForm};
use crate::gpt::drop;
use crate::init::Init;
use crate::layers::{
    Attention, AttentionConfig, AttentionNames, Embedding, Form, Linear, Mlp, MlpNames, Norm, Pass,
    QkNorm, activate, attention_mask,
};
use crate::parameter::{Builder, Fill, Parameter, ParameterKind, Path};
use crate::{Inputs, Result};
use tch::{Device, Kind, Tensor};

/// A label that asks for nothing.
pub(crate) const IGNORE_LABEL: i64 = -100;

const INIT: Init = Init::Normal(0.02);

/// An encoder with what its weights have of a pooler and of a head for masked ids.
#[derive(Debug)]
pub struct BertForMaskedLm {
    config: BertConfig,
    parameters: Vec<Parameter>,
    parts: Parts,
    token: Embedding,
    position: Embedding,
    token_type: Embedding,
    norm: Norm,
    blocks: Vec<Block>,
    pooler: Option<Linear>,
    head: Option<Head>,
    training: bool,
}

/// What a BERT has besides its encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) pooler: bool,
    pub(crate) head: bool,
}

/// One layer: attention, then an MLP, each followed by a norm of its sum with the input.
#[derive(Debug)]
struct Block {
    attention: Attention,
    norm_attention: Norm,
    mlp: Mlp,
    norm_mlp: Norm,
    dropout: f64,
}

/// Hidden states to logits: a transform, then the token table and a bias.
#[derive(Debug)]
struct Head {
    transform: Linear,
    norm: Norm,
    /// `[V]`
    bias: Tensor,
}

impl BertForMaskedLm {
    pub(crate) fn new(
        config: &BertConfig,
        parts: Parts,
        fill: Fill,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let (vocab, width) = (config.vocab_size as i64, config.hidden_size as i64);
        let (context, types) = (config.context_length as i64, config.token_types as i64);
        let mut builder = Builder { parameters: Vec::new(), fill, device, kind };
        let mut root = builder.root();
        // Transformers names a bare encoder's weights without the prefix.
        let mut body = root.child(if parts.head { "bert" } else { "" });
        let mut path = body.child("embeddings");
        let token = Embedding::new(path.child("word_embeddings"), vocab, width, INIT)?;
        let position = Embedding::new(path.child("position_embeddings"), context, width, INIT)?;
        let token_type = Embedding::new(path.child("token_type_embeddings"), types, width, INIT)?;
        let norm = layer_norm(path.child("LayerNorm"), config)?;
        let blocks = (0..config.n_layers)
            .map(|layer| Block::new(body.child("encoder.layer").child(layer), config))
            .collect::<Result<_>>()?;
        let pooler = match parts.pooler {
            true => {
                let path = body.child("pooler.dense");
                Some(Linear::new(path, Form::Rows, (width, width), true, INIT)?)
            }
            false => None,
        };
        let head = match parts.head {
            true => Some(Head::new(root.child("cls.predictions"), config)?),
            false => None,
        };
        Ok(Self {
            config: config.clone(),
            parameters: builder.parameters,
            parts,
            token,
            position,
            token_type,
            norm,
            blocks,
            pooler,
            head,
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
        self.parts.head
    }

    /// Whether there is a pooler.
    pub fn has_pooler(&self) -> bool {
        self.parts.pooler
    }

    /// What Transformers calls this model.
    pub(crate) fn class(&self) -> &'static str {
        if self.parts.head { "BertForMaskedLM" } else { "BertModel" }
    }

    pub(crate) fn train(&mut self, on: bool) {
        self.training = on;
    }

    /// The last hidden states, `[B, T, D]`.
    pub(crate) fn hidden_states(&self, inputs: &Inputs) -> Result<Tensor> {
        let length = inputs.ids.size()[1];
        let positions = match &inputs.position_ids {
            Some(position_ids) => self.position.forward(position_ids)?,
            None => self.position.rows(0, length),
        };
        let types = match &inputs.token_type_ids {
            Some(token_type_ids) => self.token_type.forward(token_type_ids)?,
            None => self.token_type.rows(0, 1),
        };
        let x = self.token.forward(&inputs.ids)? + types + positions; // [B, T, D]
        let mut x = drop(self.norm.forward(&x)?, self.config.hidden_dropout, self.training);
        let mask = attention_mask(
            false,
            inputs.document_ids.as_ref(),
            inputs.attention_mask.as_ref(),
            self.token.weight.kind(),
        );
        let pass = Pass { mask, angles: None, training: self.training, start: 0 };
        for block in &self.blocks {
            x = block.forward(x, &pass)?;
        }
        Ok(x)
    }

    /// The pooled first position of hidden states, `[B, T, D]` to `[B, D]`; nothing without a pooler.
    pub(crate) fn pool(&self, hidden_states: &Tensor) -> Option<Result<Tensor>> {
        let pooler = self.pooler.as_ref()?;
        Some(pooler.forward(&hidden_states.select(1, 0)).map(|pooled| pooled.tanh()))
    }

    /// Hidden states `[.., D]` to logits `[.., V]`; nothing without a head.
    pub(crate) fn head(&self, hidden_states: &Tensor) -> Option<Result<Tensor>> {
        let head = self.head.as_ref()?;
        Some(head.forward(hidden_states, &self.config, &self.token.weight))
    }

    /// The summed loss of labels `[B, T]`; nothing without a head, which is computed only where
    /// there is a label.
    pub(crate) fn loss(&self, inputs: &Inputs, labels: &Tensor) -> Option<Result<Tensor>> {
        let head = self.head.as_ref()?;
        Some(self.hidden_states(inputs).and_then(|hidden| {
            let labels = labels.flatten(0, 1);
            let places = labels.ne(IGNORE_LABEL).nonzero().squeeze_dim(1);
            let hidden = hidden.flatten(0, 1).index_select(0, &places); // [labelled, D]
            let logits = head.forward(&hidden, &self.config, &self.token.weight)?;
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

fn layer_norm(path: Path<'_>, config: &BertConfig) -> Result<Norm> {
    Norm::new(path, NormForm::LayerNorm, config.hidden_size as i64, config.norm_epsilon)
}

impl Block {
    fn new(mut path: Path<'_>, config: &BertConfig) -> Result<Self> {
        let (width, n_heads) = (config.hidden_size as i64, config.n_heads as i64);
        let sizes = AttentionConfig {
            width,
            n_heads,
            n_kv_heads: n_heads,
            head_dim: width / n_heads,
            bias: true,
            dropout: config.attention_dropout,
        };
        let names = AttentionNames {
            qkv: "self.qkv",
            parts: ["self.query", "self.key", "self.value"],
            out: "output.dense",
        };
        let place = (names, Form::Rows);
        let (none, inits) = (QkNorm::None, (INIT, INIT));
        let attention = Attention::new(path.child("attention"), place, sizes, none, inits)?;
        let norm_attention = layer_norm(path.child("attention.output.LayerNorm"), config)?;
        let names = MlpNames { gate: "", up: "intermediate.dense", down: "output.dense" };
        let (place, inner) = ((names, Form::Rows), config.intermediate_size() as i64);
        let mlp = Mlp::new(path.child(""), place, config.mlp, (width, inner), true, inits)?;
        let norm_mlp = layer_norm(path.child("output.LayerNorm"), config)?;
        Ok(Self { attention, norm_attention, mlp, norm_mlp, dropout: config.hidden_dropout })
    }

    /// `[B, T, D]` to `[B, T, D]`.
    fn forward(&self, x: Tensor, pass: &Pass) -> Result<Tensor> {
        let attended = drop(self.attention.forward(&x, pass, None)?, self.dropout, pass.training);
        let x = self.norm_attention.forward(&(attended + x))?;
        let changed = drop(self.mlp.forward(&x)?, self.dropout, pass.training);
        self.norm_mlp.forward(&(changed + x))
    }
}

impl Head {
    fn new(mut path: Path<'_>, config: &BertConfig) -> Result<Self> {
        let (vocab, width) = (config.vocab_size as i64, config.hidden_size as i64);
        let bias = path.parameter("bias", &[vocab], ParameterKind::Vector, Init::Zeros)?;
        let mut path = path.child("transform");
        let transform = Linear::new(path.child("dense"), Form::Rows, (width, width), true, INIT)?;
        let norm = layer_norm(path.child("LayerNorm"), config)?;
        Ok(Self { transform, norm, bias })
    }

    /// `[.., D]` to `[.., V]`.
    fn forward(&self, hidden: &Tensor, config: &BertConfig, table: &Tensor) -> Result<Tensor> {
        let changed = activate(config.mlp, &self.transform.forward(hidden)?)?;
        Ok(idiolect_torch::linear(&self.norm.forward(&changed)?, table, Some(&self.bias))?)
    }
}
