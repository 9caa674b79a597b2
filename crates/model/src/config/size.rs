//! Parameters and floating-point operations of a configuration, without building it.

use super::{BertConfig, GptConfig, Norm, Positions};

/// Sizes as wide numbers: products of three of the largest possible do not overflow.
fn wide(size: usize) -> u128 {
    size.min(1 << 40) as u128
}

fn narrow(size: u128) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The numbers of one block: in matrices that are multiplied, and in vectors.
struct Block {
    matrices: u128,
    vectors: u128,
}

impl GptConfig {
    /// Learned numbers, a tied table counted once.
    pub fn parameter_count(&self) -> u64 {
        let (vocab, width) = (wide(self.vocab_size), wide(self.hidden_size));
        let Block { matrices, vectors } = self.block();
        let positions = match self.positions {
            Positions::Learned => wide(self.context_length) * width,
            Positions::Rotary => 0,
        };
        let head = match (self.labels.len(), self.tie_embeddings) {
            (0, true) => 0,
            (0, false) => vocab,
            (labels, _) => wide(labels),
        };
        let norm = norm_size(self.norm) * width;
        narrow(
            wide(self.n_layers) * (matrices + vectors) + (vocab + head) * width + positions + norm,
        )
    }

    /// See [`ModelConfig::flops_per_token`](crate::ModelConfig::flops_per_token).
    pub fn flops_per_token(&self, context: usize) -> f64 {
        let layers = self.n_layers as f64;
        let matrices = layers * self.block().matrices as f64;
        let head = self.vocab_size as f64 * self.hidden_size as f64;
        let window = self.sliding_window.unwrap_or(context).min(context);
        let seen: usize = (0..self.n_layers.min(1 << 20))
            .map(|layer| if self.is_local(layer) { window } else { context })
            .sum();
        let attention = (self.n_heads * self.head_dim()) as f64 * seen as f64;
        2.0 * (matrices + head) + 4.0 * attention
    }

    fn block(&self) -> Block {
        let (width, inner) = (wide(self.hidden_size), wide(self.intermediate_size()));
        let head = wide(self.head_dim());
        let (queries, keys) = (wide(self.n_heads) * head, wide(self.n_kv_heads()) * head);
        let ups = if self.mlp.is_gated() { 2 } else { 1 };
        let norm = norm_size(self.norm);
        let norms = if self.post_norm { 4 } else { 2 };
        let mut vectors = norms * norm * width;
        if self.attention_bias {
            vectors += queries + 2 * keys;
        }
        if self.attention_output_bias.unwrap_or(self.attention_bias) {
            vectors += width;
        }
        if self.mlp_bias {
            vectors += ups * inner + width;
        }
        if self.qk_norm {
            vectors += 2 * norm * head;
        }
        let matrices = width * (2 * queries + 2 * keys) + width * (ups + 1) * inner;
        Block { matrices, vectors }
    }
}

/// Learned numbers of a norm for each number of its width.
fn norm_size(norm: Norm) -> u128 {
    match norm {
        Norm::LayerNorm => 2,
        Norm::LayerNormUnbiased | Norm::RmsNorm | Norm::RmsNormOffset => 1,
        Norm::RmsNormPlain => 0,
    }
}

impl BertConfig {
    /// Learned numbers of the encoder and its head, for masked ids or for classes, the tied table
    /// counted once.
    pub fn parameter_count(&self) -> u64 {
        let (vocab, width) = (wide(self.vocab_size), wide(self.hidden_size));
        let positions = match self.positions {
            Positions::Learned => wide(self.context_length) + wide(self.position_offset),
            Positions::Rotary => 0,
        };
        let tables = vocab + positions + wide(self.token_types);
        let Block { matrices, vectors } = self.block();
        let norm = norm_size(self.norm) * width;
        // Of the embedding; and of the end, less the one that the first block does without, is none.
        let dense = width * width + if self.classifier_bias { width } else { 0 };
        let transform_norm = if self.labels.is_empty() || self.pre_norm { norm } else { 0 };
        let last = match (self.labels.len(), self.decoder_bias) {
            (0, true) => vocab,
            (0, false) => 0,
            (labels, _) => wide(labels) * (width + 1),
        };
        let head = dense + transform_norm + last;
        narrow(wide(self.n_layers) * (matrices + vectors) + tables * width + norm + head)
    }

    /// See [`ModelConfig::flops_per_token`](crate::ModelConfig::flops_per_token). The head is
    /// counted for every position, though training computes it only where there is a label.
    pub fn flops_per_token(&self, context: usize) -> f64 {
        let (layers, width) = (self.n_layers as f64, self.hidden_size as f64);
        let head = width * width + self.vocab_size as f64 * width;
        let window = self.local_attention.unwrap_or(context).min(context);
        let seen: usize = (0..self.n_layers.min(1 << 20))
            .map(|layer| if self.is_local(layer) { window } else { context })
            .sum();
        2.0 * (layers * self.block().matrices as f64 + head) + 4.0 * width * seen as f64
    }

    fn block(&self) -> Block {
        let (width, inner) = (wide(self.hidden_size), wide(self.intermediate_size()));
        let ups = if self.mlp.is_gated() { 2 } else { 1 };
        let mut vectors = 2 * norm_size(self.norm) * width;
        if self.attention_bias {
            vectors += 4 * width;
        }
        if self.mlp_bias {
            vectors += ups * inner + width;
        }
        Block { matrices: 4 * width * width + (ups + 1) * width * inner, vectors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_models_have_their_published_sizes() {
        assert_eq!(GptConfig::gpt2().parameter_count(), 124_439_808);
        assert_eq!(BertConfig::base().parameter_count(), 109_514_298);
    }

    #[test]
    fn a_token_of_gpt2_costs_two_operations_a_weight_and_attention() {
        let weights = 12.0 * 12.0 * 768.0 * 768.0 + 50257.0 * 768.0;
        let expected = 2.0 * weights + 4.0 * 12.0 * 768.0 * 1024.0;
        assert_eq!(GptConfig::gpt2().flops_per_token(1024), expected);
    }
}
