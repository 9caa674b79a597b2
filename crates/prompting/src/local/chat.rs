//! A conversation in, the model's answer out, by the model's own template.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use idiolect_tokenizer::chat::{ChatTemplate, Message, Options};
use idiolect_tokenizer::gguf_text;
use serde_json::{Map, Value};

use super::LocalBackend;
use crate::{Answer, Error, Request, Result};

/// Keys of `generation_config.json` that say nothing of sampling.
const INERT: [&str; 8] = [
    "_from_model_config",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "transformers_version",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
];

impl LocalBackend {
    /// The chat template of `place`, the model folder or GGUF file that this model was loaded from, with its special
    /// tokens.
    pub fn chat_template(&self, place: &Path) -> Result<ChatTemplate> {
        if !place.is_file() {
            return Ok(ChatTemplate::from_folder(place)?);
        }
        let folder = place.to_owned();
        let template = gguf_text(place)?.chat_template;
        let source = template.ok_or(idiolect_tokenizer::Error::NoChatTemplate { folder })?;
        Ok(ChatTemplate::from_str(&source)?.with_special_tokens_of(&self.tokenizer))
    }

    /// Answers a conversation; the request says how, its prompt is not used. The answer ends as the template ends a turn.
    pub fn chat(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        request: &Request,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        request.validate()?;
        self.expect_causal("chat: its model is a masked one")?;
        let started = Instant::now();
        let options = Options { add_generation_prompt: true, ..Options::default() };
        let ids = template.encode_ids(&self.tokenizer, messages, &options)?;
        let mut answer = Answer { prompt_tokens: ids.len(), ..Answer::default() };
        let mut stop_ids = self.stop_ids.clone();
        stop_ids.extend(template.end_of_turn(&self.tokenizer));
        if request.max_new_tokens > 0 {
            let events = self.start(ids, super::generation_config(request, &stop_ids))?;
            self.follow(&events, (request, &stop_ids), on_text, &mut answer)?;
        }
        answer.duration = started.elapsed();
        Ok(answer)
    }

    /// Lays what `generation_config.json` of a model folder says of sampling over a request; gives the keys that are
    /// not followed.
    pub fn apply_generation_config(folder: &Path, request: &mut Request) -> Result<Vec<String>> {
        let path = folder.join("generation_config.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(_) if !path.exists() => return Ok(Vec::new()),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let map: Map<String, Value> =
            serde_json::from_str(&text).map_err(|source| Error::Json { path, source })?;
        let samples = map.get("do_sample") == Some(&Value::Bool(true));
        let mut left = Vec::new();
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            let count = value.as_u64().map(|count| count as usize);
            match (key.as_str(), value.as_f64()) {
                ("do_sample", _) => {}
                ("temperature", Some(number)) if samples => request.temperature = number,
                ("top_p", Some(number)) if samples => request.top_p = Some(number),
                ("min_p", Some(number)) if samples => request.min_p = Some(number),
                ("typical_p", Some(number)) if samples => request.typical_p = Some(number),
                ("top_k", _) if samples => request.top_k = count.filter(|&count| count > 0),
                ("temperature" | "top_p" | "min_p" | "typical_p" | "top_k", _) if !samples => {}
                ("repetition_penalty", Some(number)) => request.repetition_penalty = number,
                ("no_repeat_ngram_size", _) => {
                    request.no_repeat_ngram = count.filter(|&count| count > 0);
                }
                ("max_new_tokens", _) => {
                    request.max_new_tokens = count.unwrap_or(request.max_new_tokens);
                }
                (key, _) if INERT.contains(&key) => {}
                (key, _) => left.push(key.to_owned()),
            }
        }
        if samples && request.temperature == 0.0 {
            request.temperature = 1.0;
        }
        Ok(left)
    }
}
