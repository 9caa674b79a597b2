//! `idiolect generate`: prompts in, their continuations out as they are made.

use std::ops::ControlFlow;

use anyhow::Result;
use idiolect_prompting::{Answer, Backend, FinishReason, LocalBackend, Request};
use serde::Serialize;

use super::{DONE, model_folder};
use crate::arguments::{Common, Generate};
use crate::output::{Output, message, texts, usage};
use crate::stop::Stop;

/// Continues each prompt.
pub fn run(generate: &Generate, common: &Common, output: Output, stop: &Stop) -> Result<u8> {
    let mut request = request(generate, common);
    request.validate().map_err(|error| usage(error.to_string()))?;
    let backend = model_folder::load(&generate.model, common, generate.quantize)?;
    for prompt in texts(generate.prompt.clone()) {
        request.prompt = prompt?;
        // While text is made someone polls; while a line is waited for nobody does.
        stop.gracefully();
        let answer = match output.is_json() {
            true => as_json(&backend, &request, generate, output, stop)?,
            false => as_text(&backend, &request, generate.echo, output, stop)?,
        };
        stop.immediately();
        if answer.cut_tokens > 0 {
            message(format!("the context slid: {} tokens were left behind", answer.cut_tokens));
        }
        if answer.finish_reason == FinishReason::Cancelled {
            return Ok(stop.status());
        }
    }
    Ok(DONE)
}

/// Greedy, unless an option that only makes sense with sampling is given.
fn request(generate: &Generate, common: &Common) -> Request {
    let mut request = Request::new("");
    generate.sampling.apply(&mut request, common);
    request.max_new_tokens = generate.max_new_tokens;
    request.stop = generate.stop.clone();
    request.slide = generate.slide;
    request
}

fn as_text(
    backend: &LocalBackend,
    request: &Request,
    echo: bool,
    output: Output,
    stop: &Stop,
) -> Result<Answer> {
    if echo {
        output.text(&request.prompt)?;
    }
    let mut written = Ok(());
    let answer = backend.generate(request, &mut |text| {
        written = output.text(text);
        if written.is_err() || stop.asked() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    written?;
    output.text("\n")?;
    Ok(answer)
}

/// What `generate --json` prints of a prompt.
#[derive(Serialize)]
struct Line<'a> {
    prompt: &'a str,
    text: &'a str,
    ids: &'a [u32],
    finish_reason: FinishReason,
    tokens_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_ids: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<Vec<Option<f32>>>,
}

fn as_json(
    backend: &LocalBackend,
    request: &Request,
    generate: &Generate,
    output: Output,
    stop: &Stop,
) -> Result<Answer> {
    let answer = backend.generate(request, &mut |_| match stop.asked() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })?;
    let prompt_ids = if generate.echo { Some(backend.prompt_ids(&request.prompt)?) } else { None };
    let prompt_logprobs = match &prompt_ids {
        Some(ids) if generate.logprobs => Some(prompt_logprobs(backend, ids)?),
        _ => None,
    };
    output.json(&Line {
        prompt: &request.prompt,
        text: &answer.text,
        ids: &answer.ids,
        finish_reason: answer.finish_reason,
        tokens_per_second: answer.tokens_per_second(),
        logprobs: generate.logprobs.then_some(&answer.log_probabilities),
        prompt_ids,
        prompt_logprobs,
    })?;
    Ok(answer)
}

/// Nothing predicts the first id, so that it has no log-probability.
fn prompt_logprobs(backend: &LocalBackend, ids: &[u32]) -> Result<Vec<Option<f32>>> {
    let scores = backend.score_ids(&[ids.to_vec()])?;
    Ok(std::iter::once(None).chain(scores.into_iter().flatten().map(Some)).collect())
}
