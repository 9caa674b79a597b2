//! Checks of a configuration before anything is allocated: each error names its key.

use super::{BertConfig, GptConfig, LayerType, ModelConfig, Positions};
use crate::{Error, Result};

/// No single size may be larger: products of two then fit libtorch's 64-bit sizes.
const LARGEST: usize = 1 << 31;

fn refuse<T>(key: &'static str, problem: impl Into<String>) -> Result<T> {
    Err(Error::Config { key, problem: problem.into() })
}

fn check_size(key: &'static str, size: usize) -> Result<()> {
    match size {
        0 => refuse(key, "is 0"),
        1..=LARGEST => Ok(()),
        _ => refuse(key, format!("is {size}, at most {LARGEST} is possible")),
    }
}

fn check_share(key: &'static str, share: f64) -> Result<()> {
    match (0.0..1.0).contains(&share) {
        true => Ok(()),
        false => refuse(key, format!("is {share}, must be at least 0 and below 1")),
    }
}

fn check_positive(key: &'static str, value: f64) -> Result<()> {
    match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => refuse(key, format!("is {value}, must be above 0")),
    }
}

fn check_divides(key: &'static str, part: usize, whole: (&str, usize)) -> Result<()> {
    match whole.1.is_multiple_of(part) {
        true => Ok(()),
        false => refuse(key, format!("is {part}, which does not divide {} {}", whole.0, whole.1)),
    }
}

/// All weights, in f32, must be addressable.
fn check_total(parameters: u64) -> Result<()> {
    match parameters.checked_mul(4).is_some_and(|bytes| bytes <= i64::MAX as u64) {
        true => Ok(()),
        false => refuse("hidden_size", "makes a model larger than any memory"),
    }
}

impl GptConfig {
    /// Checks that the model can be built.
    fn validate(&self) -> Result<()> {
        check_size("vocab_size", self.vocab_size)?;
        check_size("context_length", self.context_length)?;
        check_size("hidden_size", self.hidden_size)?;
        check_size("n_layers", self.n_layers)?;
        check_size("n_heads", self.n_heads)?;
        check_size("n_kv_heads", self.n_kv_heads())?;
        check_size("intermediate_size", self.intermediate_size())?;
        if self.head_dim.is_none() {
            check_divides("n_heads", self.n_heads, ("hidden_size", self.hidden_size))?;
        }
        check_size("head_dim", self.head_dim())?;
        check_divides("n_kv_heads", self.n_kv_heads(), ("n_heads", self.n_heads))?;
        if self.positions == Positions::Rotary {
            self.check_rotary()?;
        }
        check_positive("rope_theta", self.rope_theta)?;
        check_positive("query_pre_attn_scalar", self.query_pre_attn_scalar.unwrap_or(1.0))?;
        check_positive("attention_softcap", self.attention_softcap.unwrap_or(1.0))?;
        check_windows("sliding_window", self.sliding_window, &self.layer_types, self.n_layers)?;
        check_positive("norm_epsilon", self.norm_epsilon)?;
        check_positive("logit_softcap", self.logit_softcap.unwrap_or(1.0))?;
        check_share("embedding_dropout", self.embedding_dropout)?;
        check_share("residual_dropout", self.residual_dropout)?;
        check_share("attention_dropout", self.attention_dropout)?;
        check_total(self.parameter_count())
    }

    fn check_rotary(&self) -> Result<()> {
        let share = self.partial_rotary_factor;
        if !(0.0..=1.0).contains(&share) {
            return refuse("partial_rotary_factor", format!("is {share}, must be from 0 to 1"));
        }
        let width = self.rotary_width();
        if !width.is_multiple_of(2) || width == 0 {
            return match share == 1.0 {
                true => {
                    refuse("head_dim", format!("is {width}, rotary positions need an even one"))
                }
                false => {
                    let problem = format!("rotates {width} numbers of a head, must be even");
                    refuse("partial_rotary_factor", problem)
                }
            };
        }
        check_positive("local_rope_theta", self.local_rope_theta.unwrap_or(1.0))?;
        for (key, number) in self.rope_scaling.iter().flat_map(|scaling| scaling.positive()) {
            check_positive("rope_scaling", number).map_err(|_| Error::Config {
                key: "rope_scaling",
                problem: format!("has a `{key}` that is too small"),
            })?;
        }
        Ok(())
    }
}

/// A window where a layer sees one, and a type for each layer or none.
fn check_windows(
    key: &'static str,
    window: Option<usize>,
    types: &[LayerType],
    n_layers: usize,
) -> Result<()> {
    if !types.is_empty() && types.len() != n_layers {
        let problem = format!("has {} entries for {n_layers} layers", types.len());
        return refuse("layer_types", problem);
    }
    match (window, types.contains(&LayerType::SlidingAttention)) {
        (Some(window), true) => check_size(key, window),
        (None, true) => refuse(key, "is absent, and `layer_types` has windows"),
        (_, false) => Ok(()),
    }
}

impl ModelConfig {
    /// Checks that the model can be built, and saved as an architecture that Transformers has.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Gpt(config) => config.validate()?,
            Self::Bert(config) => config.validate()?,
        }
        self.family().map(|_| ())
    }
}

impl BertConfig {
    /// Checks that the model can be built.
    fn validate(&self) -> Result<()> {
        check_size("vocab_size", self.vocab_size)?;
        check_size("context_length", self.context_length)?;
        check_size("hidden_size", self.hidden_size)?;
        check_size("n_layers", self.n_layers)?;
        check_size("n_heads", self.n_heads)?;
        check_size("intermediate_size", self.intermediate_size())?;
        check_divides("n_heads", self.n_heads, ("hidden_size", self.hidden_size))?;
        if self.mlp.is_gated() && !self.pre_norm {
            return refuse("mlp", "is gated, which BERT is not");
        }
        if self.positions == Positions::Rotary
            && !(self.hidden_size / self.n_heads).is_multiple_of(2)
        {
            return refuse("n_heads", "makes heads of an odd width, which cannot be rotated");
        }
        check_positive("rope_theta", self.rope_theta.unwrap_or(1.0))?;
        check_positive("local_rope_theta", self.local_rope_theta.unwrap_or(1.0))?;
        check_windows("local_attention", self.local_attention, &self.layer_types, self.n_layers)?;
        check_share("classifier_dropout", self.classifier_dropout.unwrap_or(0.0))?;
        check_positive("norm_epsilon", self.norm_epsilon)?;
        check_share("hidden_dropout", self.hidden_dropout)?;
        check_share("attention_dropout", self.attention_dropout)?;
        check_total(self.parameter_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;

    fn check(typed: &str, expected: &str) {
        let config: Result<ModelConfig, _> = serde_json::from_str(typed);
        let error = match config {
            Ok(config) => config.validate().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn each_problem_names_its_key() {
        let gpt = |rest: &str| format!(r#"{{"type": "gpt", "vocab_size": 9, {rest}}}"#);
        check(r#"{"type": "gpt"}"#, "`vocab_size` is 0");
        check(&gpt(r#""n_heads": 3"#), "`n_heads` is 3, which does not divide hidden_size 128");
        check(&gpt(r#""n_kv_heads": 3"#), "`n_kv_heads` is 3, which does not divide n_heads 4");
        check(&gpt(r#""depth": 2, "n_heads": 128"#), "`head_dim` is 1, rotary positions");
        check(&gpt(r#""hidden_size": 4000000000"#), "`hidden_size` is 4000000000, at most");
        check(&gpt(r#""hidden_size": 500000000"#), "larger than any memory");
        check(&gpt(r#""n_layers": 0"#), "`n_layers` is 0");
        check(&gpt(r#""residual_dropout": 1.0"#), "`residual_dropout` is 1");
        check(&gpt(r#""norm_epsilon": 0.0"#), "`norm_epsilon` is 0");
        check(&gpt(r#""n_layer": 2"#), "unknown field `n_layer`");
        check(&gpt(r#""preset": "gpt5""#), "no preset is named `gpt5`");
        check(&gpt(r#""preset": "gpt2", "depth": 2"#), "exclude each other");
        check(&gpt(r#""depth": 2, "logit_softcap": true"#), "`logit_softcap` takes a number");
        check(r#"{"type": "bert", "vocab_size": 9, "mlp": "gated_silu"}"#, "`mlp` is gated");
    }

    #[test]
    fn what_was_validated_reads_back_the_same() {
        let starts = [GptConfig::tiny(), GptConfig::gpt2(), GptConfig::qwen3_small()];
        for gpt in starts.into_iter().chain([GptConfig::depth(3)]) {
            let config = ModelConfig::Gpt(gpt);
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
        }
        let uncapped = r#"{"type": "gpt", "depth": 2, "logit_softcap": false}"#;
        let ModelConfig::Gpt(config) = serde_json::from_str(uncapped).unwrap() else { panic!() };
        assert_eq!(config.logit_softcap, None);
    }
}
