//! What to train: the section `[tokenizer]` of a run file.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A kind of tokenizer and its settings.
///
/// ```
/// use idiolect_tokenizer::TrainConfig;
/// let text = r#"{"type": "bpe", "vocab_size": 8192, "pattern": "gpt4"}"#;
/// let config: TrainConfig = serde_json::from_str(text).unwrap();
/// assert_eq!(config.vocab_size(), Some(8192));
/// let typo = r#"{"type": "bpe", "vocab_sice": 8192}"#;
/// assert!(serde_json::from_str::<TrainConfig>(typo).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainConfig {
    /// Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes, Radford et al. 2019). Spells any text.
    Bpe {
        /// Tokens in all: special tokens, 256 bytes, merges. Fewer if the text gives no more.
        vocab_size: usize,
        /// How often a pair must occur to be merged.
        #[serde(default = "default_min_frequency")]
        min_frequency: u64,
        /// They get the first ids, in this order.
        #[serde(default = "default_bpe_tokens")]
        special_tokens: Vec<String>,
        /// Where words are cut before pairs are merged.
        #[serde(default)]
        pattern: Pattern,
    },
    /// WordPiece (Devlin et al. 2018), trained by pair frequency as the Python library does.
    Wordpiece {
        /// Tokens in all. Fewer if the text gives no more.
        vocab_size: usize,
        /// How often a pair must occur to be merged.
        #[serde(default = "default_min_frequency")]
        min_frequency: u64,
        /// Whether case and accents are dropped.
        #[serde(default = "default_true")]
        lowercase: bool,
        /// How many different characters get a token; words with rarer ones become `[UNK]`.
        #[serde(default = "default_alphabet_limit")]
        alphabet_limit: usize,
        /// They get the first ids, in this order; `[UNK]`, `[CLS]` and `[SEP]` must be among them.
        #[serde(default = "default_wordpiece_tokens")]
        special_tokens: Vec<String>,
    },
    /// One token a character.
    Character {
        /// They get the first ids, in this order. `<unk>`, if it is among them, stands for characters that were not in
        /// the text; without it these are left out.
        #[serde(default = "default_character_tokens")]
        special_tokens: Vec<String>,
    },
}

/// Where byte-level BPE cuts words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// GPT-2's: letters, digits and the rest, each with the space before it.
    #[default]
    Gpt2,
    /// GPT-4's (`cl100k_base`): numbers by three digits, contractions in any case, line ends by themselves.
    Gpt4,
}

impl TrainConfig {
    /// Byte-level BPE with GPT-2's pattern and `<|endoftext|>`.
    pub fn bpe(vocab_size: usize) -> TrainConfig {
        TrainConfig::Bpe {
            vocab_size,
            min_frequency: default_min_frequency(),
            special_tokens: default_bpe_tokens(),
            pattern: Pattern::default(),
        }
    }

    /// BERT's uncased WordPiece.
    pub fn wordpiece(vocab_size: usize) -> TrainConfig {
        TrainConfig::Wordpiece {
            vocab_size,
            min_frequency: default_min_frequency(),
            lowercase: true,
            alphabet_limit: default_alphabet_limit(),
            special_tokens: default_wordpiece_tokens(),
        }
    }

    /// One token a character, and `<unk>`.
    pub fn character() -> TrainConfig {
        TrainConfig::Character { special_tokens: default_character_tokens() }
    }

    /// The size asked for; characters are as many as there are.
    pub fn vocab_size(&self) -> Option<usize> {
        match self {
            TrainConfig::Bpe { vocab_size, .. } | TrainConfig::Wordpiece { vocab_size, .. } => {
                Some(*vocab_size)
            }
            TrainConfig::Character { .. } => None,
        }
    }

    /// The special tokens, in order of their ids.
    pub fn special_tokens(&self) -> &[String] {
        match self {
            TrainConfig::Bpe { special_tokens, .. }
            | TrainConfig::Wordpiece { special_tokens, .. }
            | TrainConfig::Character { special_tokens } => special_tokens,
        }
    }

    /// Checks what can be checked without the text.
    pub fn validate(&self) -> Result<()> {
        let tokens = self.special_tokens();
        for (index, token) in tokens.iter().enumerate() {
            if token.chars().count() < 2 {
                return config_error("special_tokens", format!("{token:?} is too short"));
            }
            if tokens[..index].contains(token) {
                return config_error("special_tokens", format!("{token:?} occurs twice"));
            }
        }
        let least = match self {
            TrainConfig::Bpe { .. } => tokens.len() + 256,
            TrainConfig::Wordpiece { .. } => {
                for needed in ["[UNK]", "[CLS]", "[SEP]"] {
                    if !tokens.iter().any(|token| token == needed) {
                        return config_error("special_tokens", format!("{needed} is missing"));
                    }
                }
                tokens.len() + 1
            }
            TrainConfig::Character { .. } => 0,
        };
        match self.vocab_size() {
            Some(size) if size < least => {
                config_error("vocab_size", format!("{size} is too small, {least} is the least"))
            }
            Some(size) if size >= 1 << 31 => {
                config_error("vocab_size", format!("{size} is more than ids can count"))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn config_error<T>(key: &'static str, what: String) -> Result<T> {
    Err(Error::Config { key, what })
}

fn default_min_frequency() -> u64 {
    2
}

fn default_true() -> bool {
    true
}

fn default_alphabet_limit() -> usize {
    1000
}

fn default_bpe_tokens() -> Vec<String> {
    vec!["<|endoftext|>".to_string()]
}

fn default_wordpiece_tokens() -> Vec<String> {
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).to_vec()
}

fn default_character_tokens() -> Vec<String> {
    vec!["<unk>".to_string()]
}
