//! The seam to a language model: a request in, an answer or a score out, streamed by callback.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Whatever answers in words: a local model, a server, a record of either.
///
/// Calls block and may come from many threads at once. What a backend does not support, its
/// [`Capabilities`] say beforehand and its methods refuse with [`Error::Unsupported`].
pub trait Backend: Send + Sync {
    /// What this backend can do.
    fn capabilities(&self) -> Capabilities;

    /// Continues a prompt. `on_text` receives the new text piece by piece, only whole characters
    /// and nothing of a stop string; when it breaks, generation ends with
    /// [`FinishReason::Cancelled`].
    fn generate(
        &self,
        request: &Request,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer>;

    /// How likely each continuation is after the prompt.
    fn score(&self, prompt: &str, continuations: &[&str]) -> Result<Vec<Score>> {
        let _ = (prompt, continuations);
        Err(Error::Unsupported { what: "score text" })
    }

    /// For each row of ids, the natural log-probability of every id after the first.
    fn score_ids(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let _ = rows;
        Err(Error::Unsupported { what: "score ids" })
    }

    /// A vector for each text.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let _ = texts;
        Err(Error::Unsupported { what: "embed text" })
    }
}

/// What a [`Backend`] supports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// It continues prompts.
    pub generate: bool,
    /// It gives log-probabilities of continuations and of ids.
    pub score: bool,
    /// It gives vectors for texts.
    pub embed: bool,
    /// It fills in masks.
    pub fill_mask: bool,
    /// The longest sequence in tokens, where known.
    pub context_length: Option<usize>,
}

impl Capabilities {
    /// The same, with generation.
    pub fn with_generate(self) -> Self {
        Self { generate: true, ..self }
    }

    /// The same, with scores.
    pub fn with_score(self) -> Self {
        Self { score: true, ..self }
    }

    /// The same, with a longest sequence in tokens.
    pub fn with_context_length(self, tokens: usize) -> Self {
        Self { context_length: Some(tokens), ..self }
    }
}

/// A prompt and how to continue it. Greedy unless `temperature` is above 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Request {
    /// The text to continue.
    pub prompt: String,
    /// The most tokens to add.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token; 1 samples from the model's own distribution.
    pub temperature: f64,
    /// Sample among this many likeliest tokens only.
    pub top_k: Option<usize>,
    /// Sample among the fewest tokens whose probabilities sum to at least this.
    pub top_p: Option<f64>,
    /// Sample among the tokens with at least this share of the likeliest one's probability.
    pub min_p: Option<f64>,
    /// Sample among the most typical tokens whose probabilities sum to at least this (Meister et al. 2023).
    pub typical_p: Option<f64>,
    /// Above 1, tokens of prompt and answer become less likely (Keskar et al. 2019); 1 is off.
    pub repetition_penalty: f64,
    /// Taken from a token's logit for each time it was generated.
    pub frequency_penalty: f64,
    /// Taken from a token's logit once it was generated.
    pub presence_penalty: f64,
    /// No sequence of this many tokens comes twice, prompt included.
    pub no_repeat_ngram: Option<usize>,
    /// Added to the logits of ids.
    pub logit_bias: BTreeMap<u32, f64>,
    /// Of the sampling: the same seed gives the same text.
    pub seed: u64,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// When the context is full, go on with so many first tokens and the newest ones; else the answer ends.
    pub slide: Option<usize>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            max_new_tokens: 256,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            min_p: None,
            typical_p: None,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            no_repeat_ngram: None,
            logit_bias: BTreeMap::new(),
            seed: 0,
            stop: Vec::new(),
            slide: None,
        }
    }
}

impl Request {
    /// Continues `prompt` greedily by at most 256 tokens.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }

    /// Refuses values that make no sense, naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, what: &str| Err(Error::Request { field, what: what.to_owned() });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse("temperature", "must be a number of at least 0");
        }
        if self.top_k == Some(0) {
            return refuse("top_k", "must be at least 1");
        }
        let shares = [("top_p", self.top_p), ("min_p", self.min_p), ("typical_p", self.typical_p)];
        for (field, share) in shares {
            if share.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
                return refuse(field, "must be above 0 and at most 1");
            }
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return refuse("repetition_penalty", "must be a number above 0");
        }
        if !self.frequency_penalty.is_finite() {
            return refuse("frequency_penalty", "must be a number");
        }
        if !self.presence_penalty.is_finite() {
            return refuse("presence_penalty", "must be a number");
        }
        if self.no_repeat_ngram == Some(0) {
            return refuse("no_repeat_ngram", "must be at least 1");
        }
        if self.logit_bias.values().any(|bias| bias.is_nan()) {
            return refuse("logit_bias", "must hold numbers");
        }
        if self.stop.iter().any(String::is_empty) {
            return refuse("stop", "must not hold an empty text");
        }
        Ok(())
    }
}

/// What a backend answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The new text, without the prompt and without a stop string.
    pub text: String,
    /// The ids that were generated, where the backend tells, up to the one that ended the answer.
    pub ids: Vec<u32>,
    /// The natural log-probability of each of `ids` under the model, before any sampling option.
    pub log_probabilities: Vec<f32>,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
    /// How many tokens the prompt had.
    pub prompt_tokens: usize,
    /// How many tokens the model no longer saw at the end, where the context slid.
    pub cut_tokens: usize,
    /// How long it took.
    pub duration: Duration,
}

impl Answer {
    /// Generated tokens a second; `None` before the first.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.duration.as_secs_f64();
        (seconds > 0.0 && !self.ids.is_empty()).then(|| self.ids.len() as f64 / seconds)
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The most tokens asked for, or the model's context, were reached.
    #[default]
    Length,
    /// The model ended its text, or a stop string came.
    Stop,
    /// The caller's callback broke off.
    Cancelled,
}

/// How likely a continuation is after its prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The continuation's ids.
    pub ids: Vec<u32>,
    /// The natural log-probability of each of `ids`, given all before it.
    pub log_probabilities: Vec<f32>,
}

impl Score {
    /// The natural log-probability of the whole continuation.
    pub fn total(&self) -> f64 {
        self.log_probabilities.iter().map(|&value| f64::from(value)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_makes_no_sense_names_its_field() {
        let check = |change: fn(&mut Request), field: &str| {
            let mut request = Request::new("x");
            change(&mut request);
            let message = request.validate().expect_err("must be refused").to_string();
            assert!(message.starts_with(&format!("`{field}`")), "{message}");
        };
        check(|r| r.temperature = -1.0, "temperature");
        check(|r| r.temperature = f64::NAN, "temperature");
        check(|r| r.top_k = Some(0), "top_k");
        check(|r| r.top_p = Some(0.0), "top_p");
        check(|r| r.top_p = Some(f64::NAN), "top_p");
        check(|r| r.min_p = Some(2.0), "min_p");
        check(|r| r.typical_p = Some(0.0), "typical_p");
        check(|r| r.repetition_penalty = 0.0, "repetition_penalty");
        check(|r| r.frequency_penalty = f64::INFINITY, "frequency_penalty");
        check(|r| r.presence_penalty = f64::NAN, "presence_penalty");
        check(|r| r.no_repeat_ngram = Some(0), "no_repeat_ngram");
        check(|r| r.logit_bias = [(1, f64::NAN)].into(), "logit_bias");
        check(|r| r.stop = vec![String::new()], "stop");
        assert!(Request::new("x").validate().is_ok());
    }
}
