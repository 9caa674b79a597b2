//! A decoder: ids `[B, T]` to hidden states `[B, T, D]` to logits `[B, T, V]` or to scores of classes.
//!
//! The configuration says how its blocks are wired and what they are made of; the family says what its
//! parts are called and how they start. GPT-2 (Radford et al. 2019) is one, Llama another.

use crate::config::{GptConfig, Positions};
use crate::families::DecoderFamily;
use crate::layers::{
    Angles, AttentionConfig, Block, BlockConfig, Embedding, Fused, LayerCache, Linear, Norm, Pass,
    Rotary, RotaryConfig, Sight, View, Weight, Wiring, drop,
};
use crate::parameter::{Builder, Fill, Parameter, ParameterKind};
use crate::{Inputs, Result};
use tch::{Device, Kind, Tensor};

/// A decoder.
#[derive(Debug)]
pub struct Gpt {
    config: GptConfig,
    parameters: Vec<Parameter>,
    token: Embedding,
    position: Option<Embedding>,
    /// What the embedding is multiplied by.
    scale: Option<f64>,
    rotary: Option<Rotary>,
    /// Of layers with a window, where they have a base of their own.
    local_rotary: Option<Rotary>,
    embedding_norm: Option<Norm>,
    blocks: Vec<Block>,
    norm: Norm,
    /// `[V, D]`; the token table where they are tied; none where there is no head of this kind.
    head: Option<Weight>,
    /// `[D]` to a score for each label.
    classifier: Option<Linear>,
    training: bool,
    /// All blocks in one call, for ids that follow those in a cache.
    fused: Option<Fused>,
}

/// Which heads a model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    /// The one pre-training needs: logits of ids.
    pub(crate) ids: bool,
    /// Scores of labels.
    pub(crate) classifier: bool,
    /// An encoder's pooler.
    pub(crate) pooler: bool,
}

/// Keys and values of all layers for one sequence.
#[derive(Debug)]
pub(crate) struct Cache {
    layers: Vec<LayerCache>,
    length: i64,
}

impl Cache {
    /// All but the first `length` positions are forgotten.
    pub(crate) fn cut(&mut self, length: i64) {
        self.length = self.length.min(length);
    }

    /// A cache of its own with the same content.
    pub(crate) fn copy(&self) -> Self {
        Self { layers: self.layers.iter().map(LayerCache::copy).collect(), length: self.length }
    }
}

impl Gpt {
    pub(crate) fn new(
        config: &GptConfig,
        family: &'static DecoderFamily,
        heads: Heads,
        (fill, device, kind): (Fill, Device, Kind),
    ) -> Result<Self> {
        let (names, inits) = (&family.names, (family.inits)(config));
        let mut builder = Builder { parameters: Vec::new(), fill, device, kind };
        let mut root = builder.root();
        // Transformers names a bare decoder's weights without the prefix.
        let bare = !heads.ids && !heads.classifier;
        let mut body = root.child(if bare { "" } else { names.body });
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
            .map(|layer| {
                let mut path = body.child(names.blocks);
                Block::new(path.child(layer), &block(config, layer), &names.block, inits.block)
            })
            .collect::<Result<_>>()?;
        let norm = Norm::new(body.child(names.norm), config.norm, width, config.norm_epsilon)?;
        // Nothing is learned in it (the family sees to that): it has no place among the weights.
        let embedding_norm = config
            .embedding_norm
            .then_some(Norm::Rms { weight: None, epsilon: config.norm_epsilon });
        let head = match (heads.ids, config.tie_embeddings) {
            (false, _) => None,
            (true, true) => Some(token.weight.shallow_clone()),
            (true, false) => {
                let (name, kind) = (format!("{}.weight", names.head), ParameterKind::Head);
                Some(root.parameter(&name, &[vocab, width], kind, inits.head)?.into())
            }
        };
        let classifier = match heads.classifier {
            true => {
                let sizes = (width, config.labels.len() as i64);
                Some(Linear::head(root.child("score"), sizes, false, inits.head)?)
            }
            false => None,
        };
        Ok(Self {
            config: config.clone(),
            parameters: builder.parameters,
            token,
            position,
            scale: config.scale_embeddings.then(|| rounded((width as f64).sqrt(), kind)),
            rotary: rotary(config, family, false, device),
            local_rotary: rotary(config, family, true, device),
            embedding_norm,
            blocks,
            norm,
            head,
            classifier,
            training: false,
            fused: None,
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

    /// Whether its matrices are in fewer bits.
    pub(crate) fn is_packed(&self) -> bool {
        self.token.weight.packed.is_some()
    }

    pub(crate) fn take_parameters(&mut self) -> Vec<Parameter> {
        std::mem::take(&mut self.parameters)
    }

    pub(crate) fn set_parameters(&mut self, parameters: Vec<Parameter>) {
        self.parameters = parameters;
    }

    /// Which heads it has.
    pub(crate) fn heads(&self) -> Heads {
        let (ids, classifier) = (self.head.is_some(), self.classifier.is_some());
        Heads { ids, classifier, pooler: false }
    }

    pub(crate) fn train(&mut self, on: bool) {
        self.training = on;
        if on {
            // It holds copies of some norms, which training would leave behind.
            self.fused = None;
        }
    }

    /// The last hidden states, `[B, T, D]`.
    pub(crate) fn hidden_states(&self, inputs: &Inputs) -> Result<Tensor> {
        self.run(inputs, None, &mut |_| ())
    }

    /// The hidden states before the first layer and after each, `[B, T, D]`, the last normalised.
    pub(crate) fn hidden_states_all(&self, inputs: &Inputs) -> Result<Vec<Tensor>> {
        let mut all = Vec::new();
        let last = self.run(inputs, None, &mut |x| all.push(x.shallow_clone()))?;
        all.pop();
        all.push(last);
        Ok(all)
    }

    /// The hidden states of ids that follow those in the cache, `[1, T, D]`.
    pub(crate) fn hidden_states_cached(&self, ids: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        self.run(&Inputs::new(ids.shallow_clone()), Some(cache), &mut |_| ())
    }

    /// Hidden states `[.., D]` to logits `[.., V]`; nothing without a head.
    pub(crate) fn head(&self, hidden_states: &Tensor) -> Option<Result<Tensor>> {
        let head = self.head.as_ref()?;
        let logits = head.linear(hidden_states, None);
        Some(match self.config.logit_softcap {
            Some(cap) => logits.map(|logits| (logits / cap).tanh() * cap),
            None => logits,
        })
    }

    /// The scores of the labels after each sequence's last id, `[B, labels]`; nothing without a
    /// classification head.
    pub(crate) fn classify(&self, inputs: &Inputs) -> Option<Result<Tensor>> {
        let classifier = self.classifier.as_ref()?;
        Some(self.hidden_states(inputs).and_then(|hidden| {
            let last = match &inputs.attention_mask {
                None => hidden.select(1, -1),
                Some(mask) => {
                    let places = Tensor::arange(mask.size()[1], (Kind::Int64, mask.device()));
                    let last = (mask.ne(0) * places).argmax(1, false); // [B]
                    let width = hidden.size()[2];
                    let index = last.view([-1, 1, 1]).expand([-1, 1, width], false);
                    hidden.gather(1, &index, false).squeeze_dim(1)
                }
            };
            classifier.forward(&last)
        }))
    }

    /// The summed loss of labels `[B, T]`, without ever holding all logits; nothing without a head.
    pub(crate) fn loss(&self, inputs: &Inputs, labels: &Tensor) -> Option<Result<Tensor>> {
        let (head, softcap) = (self.head.as_ref()?, self.config.logit_softcap);
        Some(self.hidden_states(inputs).and_then(|hidden| {
            let (hidden, labels) = (hidden.flatten(0, 1), labels.flatten(0, 1));
            Ok(idiolect_torch::linear_cross_entropy(&hidden, &head.dense, &labels, softcap)?)
        }))
    }

    /// An empty cache for `capacity` positions.
    pub(crate) fn cache(&self, capacity: i64) -> Cache {
        let (heads, width) = (self.config.n_kv_heads() as i64, self.config.head_dim() as i64);
        let options = (self.token.weight.kind(), self.token.weight.device());
        let layer = |_: &Block| LayerCache::new([1, heads, capacity, width], options);
        Cache { layers: self.blocks.iter().map(layer).collect(), length: 0 }
    }

    /// All of it but the heads; `on_layer` sees the embedding and what each block makes of it.
    fn run(
        &self,
        inputs: &Inputs,
        mut cache: Option<&mut Cache>,
        on_layer: &mut dyn FnMut(&Tensor),
    ) -> Result<Tensor> {
        let start = cache.as_ref().map_or(0, |cache| cache.length);
        let length = inputs.ids.size()[1];
        let mut x = self.embed(inputs, start)?; // [B, T, D]
        if let (Some(fused), Some(cache)) = (&self.fused, cache.as_mut())
            && fused.takes(x.size()[0] * length)
            && let Some(rotary) = &self.rotary
        {
            x = self.run_fused(fused, rotary, &x, cache)?;
            return self.norm.forward(&x);
        }
        let pass = self.pass(inputs, start);
        on_layer(&x);
        for (layer, block) in self.blocks.iter().enumerate() {
            let cache = cache.as_mut().map(|cache| &mut cache.layers[layer]);
            x = block.forward(x, &pass, cache)?;
            on_layer(&x);
        }
        if let Some(cache) = cache {
            cache.length += length;
        }
        self.norm.forward(&x)
    }

    /// All blocks in one call, after the positions in the cache.
    fn run_fused(
        &self,
        fused: &Fused,
        rotary: &Rotary,
        x: &Tensor,
        cache: &mut Cache,
    ) -> Result<Tensor> {
        let (start, length) = (cache.length, x.size()[1]);
        let whole = rotary.range(start, length);
        let local = self.local_rotary.as_ref().map(|rotary| rotary.range(start, length));
        let pair: [&Angles; 2] = [&whole, local.as_ref().unwrap_or(&whole)];
        let x = fused.forward(x, pair, &[&cache.layers], &[start])?;
        cache.length += length;
        Ok(x)
    }

    /// Several sequences go on by one id each, `[B, 1]`: the hidden states of the ids, `[B, 1, D]`.
    pub(crate) fn hidden_states_side_by_side(
        &self,
        ids: &Tensor,
        caches: &mut [Cache],
    ) -> Result<Tensor> {
        let count = caches.len() as i64;
        let fused = self.fused.as_ref().filter(|fused| fused.takes(count));
        let (Some(fused), Some(rotary)) = (fused, &self.rotary) else {
            let one = |(row, cache)| self.hidden_states_cached(&ids.narrow(0, row, 1), cache);
            let rows: Vec<Tensor> = (0..).zip(caches).map(one).collect::<Result<_>>()?;
            return Ok(Tensor::cat(&rows, 0));
        };
        let starts: Vec<i64> = caches.iter().map(|cache| cache.length).collect();
        let positions = Tensor::from_slice(&starts).unsqueeze(1); // [B, 1]
        let whole = rotary.at(&positions);
        let local = self.local_rotary.as_ref().map(|rotary| rotary.at(&positions));
        let pair: [&Angles; 2] = [&whole, local.as_ref().unwrap_or(&whole)];
        let layers: Vec<&[LayerCache]> = caches.iter().map(|cache| &cache.layers[..]).collect();
        let x = self.embed(&Inputs::new(ids.shallow_clone()), 0)?;
        let x = fused.forward(&x, pair, &layers, &starts)?;
        caches.iter_mut().for_each(|cache| cache.length += 1);
        self.norm.forward(&x)
    }

    /// Every matrix that may be packed: the table of ids, the head where it is one of its own, and the blocks'.
    pub(crate) fn weights(&mut self) -> Vec<&mut Weight> {
        let blocks = self.blocks.iter_mut().flat_map(Block::weights);
        std::iter::once(&mut self.token.weight).chain(self.head.as_mut()).chain(blocks).collect()
    }

    /// Gets ready to run all blocks in one call, where they are of a kind that can. What follows must not change
    /// weights, unless it switches training on first.
    pub(crate) fn fuse(&mut self) -> Result<()> {
        let rotated = self.config.rotary_width() == self.config.head_dim();
        let whole = self.config.positions == Positions::Rotary && rotated;
        let window = self.config.sliding_window.map(|window| window as i64);
        self.fused = if whole { Fused::new(&self.blocks, window)? } else { None };
        Ok(())
    }

    /// The first layer's input, `[B, T, D]`.
    fn embed(&self, inputs: &Inputs, start: i64) -> Result<Tensor> {
        let mut x = self.token.forward(&inputs.ids)?;
        if let Some(scale) = self.scale {
            x *= scale;
        }
        if let Some(position) = &self.position {
            x += match &inputs.position_ids {
                Some(position_ids) => position.forward(position_ids)?,
                None => position.rows(start, inputs.ids.size()[1]),
            };
        }
        if let Some(norm) = &self.embedding_norm {
            x = norm.forward(&x)?;
        }
        Ok(drop(x, self.config.embedding_dropout, self.training))
    }

    /// What all layers share.
    fn pass(&self, inputs: &Inputs, start: i64) -> Pass {
        let view = View {
            causal: true,
            window: None,
            start,
            length: inputs.ids.size()[1],
            document_ids: inputs.document_ids.as_ref(),
            attention_mask: inputs.attention_mask.as_ref(),
            kind: self.token.weight.kind(),
            device: self.token.weight.device(),
        };
        let angles = |rotary: &Rotary| match &inputs.position_ids {
            Some(position_ids) => rotary.at(position_ids),
            None => rotary.range(start, view.length),
        };
        let whole = Sight { mask: view.mask(), angles: self.rotary.as_ref().map(angles) };
        let local = self.config.sliding_window.map(|window| {
            let rotary = self.local_rotary.as_ref().or(self.rotary.as_ref());
            let view = View { window: Some(window as i64), ..view };
            Sight { mask: view.mask(), angles: rotary.map(angles) }
        });
        Pass { whole, local, training: self.training, start }
    }
}

/// What the block of layer `layer` is made of.
fn block(config: &GptConfig, layer: usize) -> BlockConfig {
    let wiring = match (config.post_norm, config.parallel_residual) {
        (true, _) => Wiring::Sandwich,
        (_, true) => Wiring::Parallel,
        _ => Wiring::Pre { first: true },
    };
    let attention = AttentionConfig {
        width: config.hidden_size as i64,
        n_heads: config.n_heads as i64,
        n_kv_heads: config.n_kv_heads() as i64,
        head_dim: config.head_dim() as i64,
        bias: config.attention_bias,
        out_bias: config.attention_output_bias.unwrap_or(config.attention_bias),
        scale: config.query_pre_attn_scalar.map(|scalar| scalar.powf(-0.5)),
        softcap: config.attention_softcap,
        local: config.is_local(layer),
        dropout: config.attention_dropout,
    };
    BlockConfig {
        wiring,
        attention,
        qk_norm: config.qk_norm,
        norm: config.norm,
        norm_epsilon: config.norm_epsilon,
        mlp: config.mlp,
        inner: config.intermediate_size() as i64,
        mlp_bias: config.mlp_bias,
        dropout: config.residual_dropout,
    }
}

/// The tables of rotary positions, where the configuration has them: of all layers, or of those with a
/// window and a base of their own.
fn rotary(
    config: &GptConfig,
    family: &DecoderFamily,
    local: bool,
    device: Device,
) -> Option<Rotary> {
    if config.positions == Positions::Learned {
        return None;
    }
    let (theta, scaling) = match local {
        true => (config.local_rope_theta?, None),
        false => (config.rope_theta, config.rope_scaling.clone()),
    };
    let (context, width) = (config.context_length as i64, config.rotary_width() as i64);
    Some(Rotary::new(RotaryConfig { context, width, theta, scaling, turn: family.turn }, device))
}

/// The number as a weight of this kind would hold it, which is what Gemma was trained with.
fn rounded(number: f64, kind: Kind) -> f64 {
    Tensor::from(number as f32).to_kind(kind).double_value(&[])
}
