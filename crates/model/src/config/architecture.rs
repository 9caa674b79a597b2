//! Which architecture of Transformers a GPT configuration is, or what would have to change for it to be one.

use super::{GptConfig, Norm, Positions};
use crate::{Error, Result};

/// An architecture of Transformers: what a GPT is saved as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// `GPT2LMHeadModel`
    Gpt2,
    /// `LlamaForCausalLM`
    Llama,
    /// `Qwen3ForCausalLM`
    Qwen3,
    /// `NanoChatForCausalLM`
    NanoChat,
}

/// A key and the values the architecture has for it.
type Demand = (&'static str, bool, &'static str);

impl Architecture {
    const ALL: [Self; 4] = [Self::Gpt2, Self::Llama, Self::Qwen3, Self::NanoChat];

    /// What Transformers calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "GPT2LMHeadModel",
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::NanoChat => "NanoChatForCausalLM",
        }
    }

    /// What the architecture has, each with whether the configuration agrees.
    fn demands(self, config: &GptConfig) -> Vec<Demand> {
        let GptConfig { norm, mlp, qk_norm, embedding_norm, mlp_bias, attention_bias, .. } =
            *config;
        let (learned, rotary) = (
            ("positions", config.positions == Positions::Learned, "\"learned\""),
            ("positions", config.positions == Positions::Rotary, "\"rotary\""),
        );
        let rms = ("norm", norm == Norm::RmsNorm, "\"rms_norm\"");
        let gated = ("mlp", mlp.is_gated(), "a gated one");
        let ungated = ("mlp", !mlp.is_gated(), "one that is not gated");
        let common_head =
            ("head_dim", config.head_dim() * config.n_heads == config.hidden_size, "absent");
        let no_qk_norm = ("qk_norm", !qk_norm, "false");
        let with_qk_norm = ("qk_norm", qk_norm, "true");
        let no_embedding_norm = ("embedding_norm", !embedding_norm, "false");
        let no_cap = ("logit_softcap", config.logit_softcap.is_none(), "absent");
        let no_mlp_bias = ("mlp_bias", !mlp_bias, "false");
        let no_dropout = [
            ("embedding_dropout", config.embedding_dropout == 0.0, "0"),
            ("residual_dropout", config.residual_dropout == 0.0, "0"),
        ];
        let own = match self {
            Self::Gpt2 => vec![
                learned,
                ("norm", norm == Norm::LayerNorm, "\"layer_norm\""),
                ungated,
                ("n_kv_heads", config.n_kv_heads() == config.n_heads, "absent"),
                common_head,
                ("attention_bias", attention_bias, "true"),
                ("mlp_bias", mlp_bias, "true"),
                no_qk_norm,
                no_embedding_norm,
                no_cap,
            ],
            Self::Llama => vec![rotary, rms, gated, no_qk_norm, no_embedding_norm, no_cap],
            Self::Qwen3 => {
                vec![rotary, rms, gated, with_qk_norm, no_embedding_norm, no_cap, no_mlp_bias]
            }
            Self::NanoChat => vec![
                rotary,
                ("norm", norm == Norm::RmsNormPlain, "\"rms_norm_plain\""),
                ungated,
                common_head,
                with_qk_norm,
                ("embedding_norm", embedding_norm, "true"),
                no_mlp_bias,
            ],
        };
        let dropout = no_dropout.into_iter().filter(|_| self != Self::Gpt2);
        own.into_iter().chain(dropout).collect()
    }
}

impl GptConfig {
    /// The architecture that has this combination of keys, or an error that names the keys which
    /// keep it from being the nearest one.
    pub fn architecture(&self) -> Result<Architecture> {
        let misses = |architecture: Architecture| {
            architecture.demands(self).into_iter().filter(|demand| !demand.1).collect::<Vec<_>>()
        };
        let all = Architecture::ALL.map(|architecture| (architecture, misses(architecture)));
        let nearest = all.into_iter().min_by_key(|(_, missed)| missed.len());
        let (architecture, missed) = nearest.unwrap_or((Architecture::Gpt2, Vec::new()));
        if missed.is_empty() {
            return Ok(architecture);
        }
        let keys: Vec<_> =
            missed.iter().map(|(key, _, wanted)| format!("`{key}` to be {wanted}")).collect();
        Err(Error::Combination {
            architecture: architecture.name(),
            problem: format!("needs {}", keys.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: GptConfig, expected: Result<Architecture, &str>) {
        match (config.architecture(), expected) {
            (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn each_preset_has_its_architecture() {
        check(GptConfig::gpt2(), Ok(Architecture::Gpt2));
        check(GptConfig::llama_small(), Ok(Architecture::Llama));
        check(GptConfig::qwen3_small(), Ok(Architecture::Qwen3));
        check(GptConfig::depth(4), Ok(Architecture::NanoChat));
        check(GptConfig { logit_softcap: None, ..GptConfig::depth(4) }, Ok(Architecture::NanoChat));
    }

    #[test]
    fn a_combination_that_none_has_names_the_keys() {
        let capped = GptConfig { logit_softcap: Some(15.0), ..GptConfig::gpt2() };
        check(capped, Err("GPT2LMHeadModel, needs `logit_softcap` to be absent"));
        let unnormed = GptConfig { qk_norm: false, embedding_norm: false, ..GptConfig::depth(4) };
        check(unnormed, Err("NanoChatForCausalLM, needs `qk_norm` to be true, `embedding_norm`"));
        let dropping = GptConfig { residual_dropout: 0.1, ..GptConfig::llama_small() };
        check(dropping, Err("LlamaForCausalLM, needs `residual_dropout` to be 0"));
    }
}
