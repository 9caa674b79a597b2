//! The local model as a backend: a model folder in; text, scores and filled masks out.

mod chat;
mod classify;
mod embed;
mod place;
mod rows;
mod worker;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use idiolect_model::tch::{Device, Kind};
use idiolect_model::{GeneratedToken, GenerationConfig, Model, ModelConfig, Overflow, Quantize};
use idiolect_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Backend, Capabilities, Error, FinishReason, Request, Result, Score, StopScanner,
};
use worker::Worker;

pub use classify::Classification;
pub use embed::{EmbedConfig, Embeddings, Pooling};

/// A model folder that answers on this machine.
///
/// The model lives on a thread of its own, since a tensor may not be shared between threads; calls
/// wait in a queue for it. Text is made on the caller's thread, so that a slow reader of the text
/// does not hold up the model.
pub struct LocalBackend {
    worker: Worker,
    tokenizer: Tokenizer,
    model: ModelConfig,
    stop_ids: Vec<u32>,
    embed: EmbedConfig,
}

/// What might stand at a mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The token as text.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Its probability, of all tokens.
    pub probability: f32,
}

impl LocalBackend {
    /// Loads a model folder (`config.json`, `model.safetensors`, `tokenizer.json`) or a GGUF file. Without a
    /// dtype, the weights keep the one they were saved in; what a GGUF file quantises becomes f32.
    pub fn load(folder: &Path, device: Device, dtype: Option<Kind>) -> Result<Self> {
        let place = folder.to_owned();
        Self::of(folder, move || Model::load(&place, device, dtype))
    }

    /// The same on the CPU, with the matrices of a decoder in fewer bits.
    pub fn load_packed(folder: &Path, quantize: Quantize) -> Result<Self> {
        let place = folder.to_owned();
        Self::of(folder, move || Model::load_packed(&place, quantize))
    }

    fn of(
        folder: &Path,
        load: impl FnOnce() -> idiolect_model::Result<Model> + Send + 'static,
    ) -> Result<Self> {
        let tokenizer = Tokenizer::open(folder)?;
        let (worker, model) = Worker::start(load)?;
        if tokenizer.vocab_size() > model.vocab_size() {
            return Err(Error::Mismatch {
                path: folder.to_owned(),
                ids: tokenizer.vocab_size(),
                vocab_size: model.vocab_size(),
            });
        }
        let stop_ids = place::stop_ids(folder, &tokenizer)?;
        let embed = embed::read_config(folder, matches!(model, ModelConfig::Bert(_)))?;
        Ok(Self { worker, tokenizer, model, stop_ids, embed })
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.model
    }

    /// The tokenizer that lies beside the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The ids that end a text.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// A prompt's ids as the model sees them: an empty one becomes the token that begins a text.
    pub fn prompt_ids(&self, prompt: &str) -> Result<Vec<u32>> {
        let ids = self.tokenizer.encode(prompt);
        match (ids.is_empty(), self.tokenizer.bos_id().or(self.tokenizer.eos_id())) {
            (false, _) => Ok(ids),
            (true, Some(start)) => Ok(vec![start]),
            (true, None) => Err(Error::Request {
                field: "prompt",
                what: "is empty, and the tokenizer has no token that begins a text".to_owned(),
            }),
        }
    }

    /// The `count` likeliest tokens at each mask of `text`, one list a mask, the likeliest first.
    pub fn fill_mask(&self, text: &str, count: usize) -> Result<Vec<Vec<Prediction>>> {
        let Some(mask) = self.tokenizer.mask_id().filter(|_| self.is_masked_model()) else {
            return Err(Error::Unsupported {
                what: "fill in masks: its model is not a masked one",
            });
        };
        let ids = self.tokenizer.encode(text);
        let positions: Vec<usize> = (0..ids.len()).filter(|&at| ids[at] == mask).collect();
        if positions.is_empty() {
            let mask = self.tokenizer.id_to_token(mask).unwrap_or_default();
            return Err(Error::NoMask { mask, text: text.to_owned() });
        }
        let count = count.min(self.model.vocab_size());
        let found = self.worker.call(move |model| model.fill_mask(&ids, &positions, count))??;
        let prediction = |found: idiolect_model::Prediction| Prediction {
            token: self.tokenizer.id_to_token(found.id).unwrap_or_default(),
            id: found.id,
            probability: found.probability,
        };
        Ok(found.into_iter().map(|row| row.into_iter().map(prediction).collect()).collect())
    }

    fn is_masked_model(&self) -> bool {
        matches!(self.model, ModelConfig::Bert(_))
    }

    fn expect_causal(&self, what: &'static str) -> Result<()> {
        if self.is_masked_model() { Err(Error::Unsupported { what }) } else { Ok(()) }
    }

    fn start(&self, ids: Vec<u32>, config: GenerationConfig) -> Result<mpsc::Receiver<Event>> {
        let (sender, receiver) = mpsc::channel();
        self.worker.submit(Box::new(move |model| {
            let tokens = sender.clone();
            let result = model.generate(&ids, &config, None, &mut |token| {
                // The receiver is gone once a stop string came or the caller broke off.
                match tokens.send(Event::Token(token)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            let _ = sender.send(Event::End(result.map(|made| made.cut).map_err(Error::from)));
        }))?;
        Ok(receiver)
    }
}

/// What the worker tells of a generation.
enum Event {
    Token(GeneratedToken),
    /// With how many tokens were cut.
    End(Result<usize>),
}

impl Backend for LocalBackend {
    fn capabilities(&self) -> Capabilities {
        let causal = !self.is_masked_model();
        Capabilities {
            generate: causal,
            score: causal,
            embed: true,
            fill_mask: !causal,
            context_length: Some(self.model.context_length()),
        }
    }

    fn generate(
        &self,
        request: &Request,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        request.validate()?;
        self.expect_causal("generate text: its model is a masked one")?;
        let started = Instant::now();
        let ids = self.prompt_ids(&request.prompt)?;
        let mut answer = Answer { prompt_tokens: ids.len(), ..Answer::default() };
        if request.max_new_tokens > 0 {
            let events = self.start(ids, generation_config(request, &self.stop_ids))?;
            self.follow(&events, (request, &self.stop_ids), on_text, &mut answer)?;
        }
        answer.duration = started.elapsed();
        Ok(answer)
    }

    fn score(&self, prompt: &str, continuations: &[&str]) -> Result<Vec<Score>> {
        // Blanks at the prompt's end belong to the continuation's first token (as in
        // lm-evaluation-harness), or that token would be one the model never saw there.
        let context = prompt.trim_end();
        let start = self.prompt_ids(context)?.len();
        // An empty prompt may be the token that begins a text, which the whole text lacks.
        let shared = self.tokenizer.encode(context).len();
        let blank = &prompt[context.len()..];
        let rows: Vec<Vec<u32>> = continuations
            .iter()
            .map(|continuation| {
                let mut ids = self.prompt_ids(context)?;
                let whole = self.tokenizer.encode(&format!("{context}{blank}{continuation}"));
                ids.extend(whole.into_iter().skip(shared));
                Ok(ids)
            })
            .collect::<Result<_>>()?;
        let scores = self.score_ids(&rows)?;
        Ok(rows
            .into_iter()
            .zip(scores)
            .map(|(ids, scores)| Score {
                log_probabilities: scores[start - 1..].to_vec(),
                ids: ids[start..].to_vec(),
            })
            .collect())
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(self.embed_with(texts, self.embed)?.vectors)
    }

    fn score_ids(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        self.expect_causal("score text: its model is a masked one")?;
        let rows = rows.to_vec();
        Ok(self.worker.call(move |model| model.score(&rows))??)
    }
}

impl LocalBackend {
    /// Turns the worker's tokens into text for `on_text` and into `answer`, until either ends.
    fn follow(
        &self,
        events: &mpsc::Receiver<Event>,
        (request, stop_ids): (&Request, &[u32]),
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
        answer: &mut Answer,
    ) -> Result<()> {
        let mut stream = self.tokenizer.decode_stream();
        let mut scanner = StopScanner::new(&request.stop);
        loop {
            let token = match events.recv().map_err(|_| Error::WorkerGone)? {
                Event::Token(token) => token,
                Event::End(result) => {
                    answer.cut_tokens = result?;
                    break;
                }
            };
            answer.ids.push(token.id);
            answer.log_probabilities.push(token.log_probability);
            if stop_ids.contains(&token.id) {
                answer.finish_reason = FinishReason::Stop;
                break;
            }
            let piece = stream.push(token.id)?.unwrap_or_default();
            if emit(&scanner.push(&piece), on_text, answer).is_break() {
                return Ok(());
            }
            if scanner.stopped() {
                answer.finish_reason = FinishReason::Stop;
                return Ok(());
            }
        }
        let mut rest = scanner.push(&stream.finish());
        rest.push_str(&scanner.finish());
        if scanner.stopped() {
            answer.finish_reason = FinishReason::Stop;
        }
        let _ = emit(&rest, on_text, answer);
        Ok(())
    }
}

fn emit(
    text: &str,
    on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    answer: &mut Answer,
) -> ControlFlow<()> {
    if text.is_empty() {
        return ControlFlow::Continue(());
    }
    answer.text.push_str(text);
    let flow = on_text(text);
    if flow.is_break() {
        answer.finish_reason = FinishReason::Cancelled;
    }
    flow
}

fn generation_config(request: &Request, stop_ids: &[u32]) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: request.max_new_tokens,
        temperature: request.temperature,
        top_k: request.top_k,
        top_p: request.top_p,
        seed: request.seed,
        stop_ids: stop_ids.to_vec(),
        min_p: request.min_p,
        typical_p: request.typical_p,
        repetition_penalty: request.repetition_penalty,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        no_repeat_ngram: request.no_repeat_ngram,
        logit_bias: request.logit_bias.clone(),
        overflow: request.slide.map_or(Overflow::Stop, |sinks| Overflow::Slide { sinks }),
    }
}
