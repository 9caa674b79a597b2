//! Checks of a configuration before anything is allocated: each error names its key.

use super::{BertConfig, GptConfig, Positions};
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
    /// Checks that the model can be built, and saved as an architecture that Transformers has.
    pub fn validate(&self) -> Result<()> {
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
        if self.positions == Positions::Rotary && self.head_dim() % 2 == 1 {
            let problem = format!("is {}, rotary positions need an even one", self.head_dim());
            return refuse("head_dim", problem);
        }
        check_positive("rope_theta", self.rope_theta)?;
        check_positive("norm_epsilon", self.norm_epsilon)?;
        check_positive("logit_softcap", self.logit_softcap.unwrap_or(1.0))?;
        check_share("embedding_dropout", self.embedding_dropout)?;
        check_share("residual_dropout", self.residual_dropout)?;
        check_share("attention_dropout", self.attention_dropout)?;
        check_total(self.parameter_count())?;
        self.architecture().map(|_| ())
    }
}

impl BertConfig {
    /// Checks that the model can be built.
    pub fn validate(&self) -> Result<()> {
        check_size("vocab_size", self.vocab_size)?;
        check_size("context_length", self.context_length)?;
        check_size("hidden_size", self.hidden_size)?;
        check_size("n_layers", self.n_layers)?;
        check_size("n_heads", self.n_heads)?;
        check_size("token_types", self.token_types)?;
        check_size("intermediate_size", self.intermediate_size())?;
        check_divides("n_heads", self.n_heads, ("hidden_size", self.hidden_size))?;
        if self.mlp.is_gated() {
            return refuse("mlp", "is gated, which BERT is not");
        }
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
