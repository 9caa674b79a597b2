//! A decoder: ids `[B, T]` to hidden states `[B, T, D]` to logits `[B, T, V]`.
//!
//! The GPT-2 layout (Radford et al. 2019) and the modern one (rotary positions, RMSNorm, gated or
//! squared-ReLU MLP, QK norm, grouped heads), which Transformers knows as Llama, Qwen3 and NanoChat.

use crate::config::{Architecture, GptConfig, Norm as NormForm, Positions};
use crate::init::Init;
use crate::layers::{
    Attention, AttentionConfig, AttentionNames, Embedding, Form, LayerCache, Mask, Mlp, MlpNames,
    Norm, Pass, QkNorm, Rotary, Turn, attention_mask,
};
use crate::parameter::{Builder, Fill, Parameter, ParameterKind, Path};
use crate::{Inputs, Result};
use tch::{Device, Kind, Tensor};

/// A decoder.
#[derive(Debug)]
pub struct Gpt {
    config: GptConfig,
    parameters: Vec<Parameter>,
    token: Embedding,
    position: Option<Embedding>,
    rotary: Option<Rotary>,
    embedding_norm: Option<Norm>,
    blocks: Vec<Block>,
    norm: Norm,
    /// `[V, D]`; the token table where they are tied.
    head: Tensor,
    training: bool,
}

/// One layer: attention, then an MLP, each behind a norm and beside a residual connection.
#[derive(Debug)]
struct Block {
    norm_attention: Norm,
    attention: Attention,
    norm_mlp: Norm,
    mlp: Mlp,
    dropout: f64,
}

/// Keys and values of all layers for one sequence.
#[derive(Debug)]
pub(crate) struct Cache {
    layers: Vec<LayerCache>,
    length: i64,
}

impl Gpt {
    pub(crate) fn new(config: &GptConfig, fill: Fill, device: Device, kind: Kind) -> Result<Self> {
        let architecture = config.architecture()?;
        let (names, inits) = (names(architecture), inits(architecture, config));
        let mut builder = Builder { parameters: Vec::new(), fill, device, kind };
        let mut root = builder.root();
        let mut body = root.child(names.body);
        let (vocab, width) = (config.vocab_size as i64, config.hidden_size as i64);
        let context = config.context_length as i64;
        let token = Embedding::new(body.child(names.token), vocab, width, inits.token)?;
        let position = match config.positions {
            Positions::Learned => {
                Some(Embedding::new(body.child(names.position), context, width, inits.token)?)
            }
            Positions::Rotary => None,
        };
        let blocks = (0..config.n_layers)
            .map(|layer| Block::new(body.child(names.blocks).child(layer), config, &names, &inits))
            .collect::<Result<_>>()?;
        let norm_final = norm(body.child(names.norm), config)?;
        // Nothing is learned in it (`architecture` sees to that): it has no place among the weights.
        let embedding_norm = config
            .embedding_norm
            .then_some(Norm::Rms { weight: None, epsilon: config.norm_epsilon });
        let head = match config.tie_embeddings {
            true => token.weight.shallow_clone(),
            false => {
                let kind = ParameterKind::Head;
                root.parameter("lm_head.weight", &[vocab, width], kind, inits.head)?
            }
        };
        Ok(Self {
            config: config.clone(),
            parameters: builder.parameters,
            token,
            position,
            rotary: rotary(architecture, config, device),
            embedding_norm,
            blocks,
            norm: norm_final,
            head,
            training: false,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// The learned tensors, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    pub(crate) fn train(&mut self, on: bool) {
        self.training = on;
    }

    /// The last hidden states, `[B, T, D]`.
    pub(crate) fn hidden_states(&self, inputs: &Inputs) -> Result<Tensor> {
        let mask = attention_mask(
            true,
            inputs.document_ids.as_ref(),
            inputs.attention_mask.as_ref(),
            self.token.weight.kind(),
        );
        self.run(&inputs.ids, inputs.position_ids.as_ref(), mask, None)
    }

    /// The hidden states of ids that follow those in the cache, `[1, T, D]`.
    pub(crate) fn hidden_states_cached(&self, ids: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        self.run(ids, None, Mask::Causal, Some(cache))
    }

    /// Hidden states `[.., D]` to logits `[.., V]`.
    pub(crate) fn head(&self, hidden_states: &Tensor) -> Result<Tensor> {
        let logits = idiolect_torch::linear(hidden_states, &self.head, None)?;
        Ok(match self.config.logit_softcap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        })
    }

    /// The summed loss of labels `[B, T]`, without ever holding all logits.
    pub(crate) fn loss(&self, inputs: &Inputs, labels: &Tensor) -> Result<Tensor> {
        let hidden = self.hidden_states(inputs)?.flatten(0, 1);
        let labels = labels.flatten(0, 1);
        let softcap = self.config.logit_softcap;
        Ok(idiolect_torch::linear_cross_entropy(&hidden, &self.head, &labels, softcap)?)
    }

    /// An empty cache for `capacity` positions.
    pub(crate) fn cache(&self, capacity: i64) -> Cache {
        let (heads, width) = (self.config.n_kv_heads() as i64, self.config.head_dim() as i64);
        let layer = |_: &Block| LayerCache::new(heads, width, capacity, &self.token.weight);
        Cache { layers: self.blocks.iter().map(layer).collect(), length: 0 }
    }

    fn run(
        &self,
        ids: &Tensor,
        position_ids: Option<&Tensor>,
        mask: Mask,
        mut cache: Option<&mut Cache>,
    ) -> Result<Tensor> {
        let start = cache.as_ref().map_or(0, |cache| cache.length);
        let length = ids.size()[1];
        let mut x = self.token.forward(ids)?; // [B, T, D]
        if let Some(position) = &self.position {
            x += match position_ids {
                Some(position_ids) => position.forward(position_ids)?,
                None => position.rows(start, length),
            };
        }
        if let Some(norm) = &self.embedding_norm {
            x = norm.forward(&x)?;
        }
        x = drop(x, self.config.embedding_dropout, self.training);
        let angles = self.rotary.as_ref().map(|rotary| match position_ids {
            Some(position_ids) => rotary.at(position_ids),
            None => rotary.range(start, length),
        });
        let pass = Pass { mask, angles, training: self.training, start };
        for (layer, block) in self.blocks.iter().enumerate() {
            let cache = cache.as_mut().map(|cache| &mut cache.layers[layer]);
            x = block.forward(x, &pass, cache)?;
        }
        if let Some(cache) = cache {
            cache.length += length;
        }
        self.norm.forward(&x)
    }
}

impl Block {
    fn new(mut path: Path<'_>, config: &GptConfig, names: &Names, inits: &Inits) -> Result<Self> {
        let width = config.hidden_size as i64;
        let attention = AttentionConfig {
            width,
            n_heads: config.n_heads as i64,
            n_kv_heads: config.n_kv_heads() as i64,
            head_dim: config.head_dim() as i64,
            bias: config.attention_bias,
            dropout: config.attention_dropout,
        };
        let epsilon = config.norm_epsilon;
        let norm_attention = norm(path.child(names.norm_attention), config)?;
        let qk_norm = match (config.qk_norm, config.norm) {
            (false, _) => QkNorm::None,
            (true, NormForm::RmsNormPlain) => QkNorm::Plain { epsilon },
            (true, _) => {
                QkNorm::weighted(path.child(names.attention), attention.head_dim, epsilon)?
            }
        };
        let attention = Attention::new(
            path.child(names.attention),
            (names.projections, names.form),
            attention,
            qk_norm,
            (inits.attention_in, inits.out),
        )?;
        let norm_mlp = norm(path.child(names.norm_mlp), config)?;
        let mlp = Mlp::new(
            path.child("mlp"),
            (names.mlp, names.form),
            config.mlp,
            (width, config.intermediate_size() as i64),
            config.mlp_bias,
            (inits.mlp_in, inits.out),
        )?;
        Ok(Self { norm_attention, attention, norm_mlp, mlp, dropout: config.residual_dropout })
    }

    /// `[B, T, D]` to `[B, T, D]`.
    fn forward(&self, x: Tensor, pass: &Pass, cache: Option<&mut LayerCache>) -> Result<Tensor> {
        let attended = self.attention.forward(&self.norm_attention.forward(&x)?, pass, cache)?;
        let x = x + drop(attended, self.dropout, pass.training);
        let changed = self.mlp.forward(&self.norm_mlp.forward(&x)?)?;
        Ok(x + drop(changed, self.dropout, pass.training))
    }
}

/// The tables of rotary positions, where the configuration has them.
fn rotary(architecture: Architecture, config: &GptConfig, device: Device) -> Option<Rotary> {
    if config.positions == Positions::Learned {
        return None;
    }
    let turn = match architecture {
        Architecture::NanoChat => Turn::Backward,
        _ => Turn::Forward,
    };
    let (context, head_dim) = (config.context_length as i64, config.head_dim() as i64);
    Some(Rotary::new(context, head_dim, config.rope_theta, turn, device))
}

fn norm(path: Path<'_>, config: &GptConfig) -> Result<Norm> {
    Norm::new(path, config.norm, config.hidden_size as i64, config.norm_epsilon)
}

/// Dropout that costs nothing where it is off.
pub(crate) fn drop(x: Tensor, share: f64, training: bool) -> Tensor {
    if training && share > 0.0 { x.dropout(share, true) } else { x }
}

/// What Transformers calls the parts.
struct Names {
    body: &'static str,
    token: &'static str,
    position: &'static str,
    blocks: &'static str,
    norm: &'static str,
    norm_attention: &'static str,
    attention: &'static str,
    projections: AttentionNames,
    norm_mlp: &'static str,
    mlp: MlpNames,
    form: Form,
}

fn names(architecture: Architecture) -> Names {
    match architecture {
        Architecture::Gpt2 => Names {
            body: "transformer",
            token: "wte",
            position: "wpe",
            blocks: "h",
            norm: "ln_f",
            norm_attention: "ln_1",
            attention: "attn",
            projections: AttentionNames { qkv: "c_attn", parts: ["q", "k", "v"], out: "c_proj" },
            norm_mlp: "ln_2",
            mlp: MlpNames { gate: "", up: "c_fc", down: "c_proj" },
            form: Form::Columns,
        },
        Architecture::Llama | Architecture::Qwen3 => Names {
            mlp: MlpNames { gate: "gate_proj", up: "up_proj", down: "down_proj" },
            ..names(Architecture::NanoChat)
        },
        Architecture::NanoChat => Names {
            body: "model",
            token: "embed_tokens",
            position: "",
            blocks: "layers",
            norm: "norm",
            norm_attention: "input_layernorm",
            attention: "self_attn",
            projections: AttentionNames {
                qkv: "qkv_proj",
                parts: ["q_proj", "k_proj", "v_proj"],
                out: "o_proj",
            },
            norm_mlp: "post_attention_layernorm",
            mlp: MlpNames { gate: "", up: "fc1", down: "fc2" },
            form: Form::Rows,
        },
    }
}

/// The published starting values.
struct Inits {
    token: Init,
    head: Init,
    attention_in: Init,
    mlp_in: Init,
    /// Of the layers that end in the residual stream.
    out: Init,
}

/// GPT-2: normal 0.02, and `0.02 / sqrt(2 L)` where a layer ends in the residual stream (Radford
/// et al. 2019, section 2.3). NanoChat (`gpt.py`, `init_weights`): uniform of deviation
/// `1 / sqrt(D)`, zeros where a layer ends in the residual stream, token table of deviation 1,
/// head 0.001; a tied table keeps 0.02, since logits are made with it.
fn inits(architecture: Architecture, config: &GptConfig) -> Inits {
    let base = Init::Normal(0.02);
    if architecture == Architecture::NanoChat {
        let uniform = Init::Uniform((3.0 / config.hidden_size as f64).sqrt());
        let token = if config.tie_embeddings { base } else { Init::Normal(1.0) };
        let (head, out) = (Init::Normal(0.001), Init::Zeros);
        return Inits { token, head, attention_in: uniform, mlp_in: uniform, out };
    }
    let out = Init::Normal(0.02 / (2.0 * config.n_layers as f64).sqrt());
    Inits { token: base, head: base, attention_in: base, mlp_in: base, out }
}
