//! `idiolect chat`: what a person types in, the model's answers out, until the person leaves.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use idiolect_files::write_atomic;
use idiolect_prompting::chat::{ChatTemplate, Message};
use idiolect_prompting::{FinishReason, LocalBackend, Request};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde::Serialize;

use super::{DONE, model_folder};
use crate::arguments::{Chat, Common};
use crate::output::{Output, message, texts, usage};
use crate::stop::Stop;

const HELP: &str = "/help            this
/reset           forget the conversation
/undo            forget the last question and its answer
/system TEXT     say what the model is to be; forgets the conversation
/seed N          begin the random draws at N
/save FILE       write the conversation, a JSON message a line
/exit            leave (or Ctrl-D)
Ctrl-C stops an answer. A line that ends with \\ goes on in the next.";

/// What `chat --json` prints of an answer.
#[derive(Serialize)]
struct Line<'a> {
    prompt: &'a str,
    text: &'a str,
    ids: &'a [u32],
    finish_reason: FinishReason,
    tokens_per_second: Option<f64>,
}

/// A conversation and whom it is with.
struct Conversation<'a> {
    backend: LocalBackend,
    template: ChatTemplate,
    request: Request,
    system: Option<String>,
    messages: Vec<Message>,
    output: Output,
    stop: &'a Stop,
    /// Somebody sits at the terminal.
    interactive: bool,
}

/// Talks until there is nothing more to answer.
pub fn run(chat: &Chat, common: &Common, output: Output, stop: &Stop) -> Result<u8> {
    let place = model_folder::find(&chat.model)?;
    let mut request = Request::new("");
    request.max_new_tokens = 1024;
    for key in LocalBackend::apply_generation_config(&place, &mut request)? {
        message(format!("generation_config.json: `{key}` is not followed"));
    }
    chat.sampling.apply(&mut request, common);
    request.max_new_tokens = chat.max_new_tokens.unwrap_or(request.max_new_tokens);
    request.slide = chat.slide;
    request.validate().map_err(|error| usage(error.to_string()))?;
    let backend = model_folder::load(&chat.model, common, chat.quantize)?;
    let template = template(chat, &place, &backend)?;
    let interactive = io::stdin().is_terminal() && !output.is_json();
    let system = chat.system.clone();
    let mut conversation = Conversation {
        backend,
        template,
        request,
        system,
        messages: Vec::new(),
        output,
        stop,
        interactive,
    };
    if interactive {
        conversation.typed()?;
        return Ok(DONE);
    }
    for text in texts(None) {
        let flow = conversation.take(&text?)?;
        // Nobody sits here to go on after a stopped answer.
        if stop.asked() {
            return Ok(stop.status());
        }
        if flow.is_break() {
            break;
        }
    }
    Ok(DONE)
}

fn template(chat: &Chat, place: &Path, backend: &LocalBackend) -> Result<ChatTemplate> {
    match &chat.template {
        Some(file) => {
            Ok(ChatTemplate::from_file(file)?.with_special_tokens_of(backend.tokenizer()))
        }
        None => backend.chat_template(place).context(
            "this model cannot chat: give a template with --template FILE, or continue a text with `idiolect generate`",
        ),
    }
}

impl Conversation<'_> {
    /// Reads lines with an editor.
    fn typed(&mut self) -> Result<()> {
        let mut editor = DefaultEditor::new().context("cannot edit lines")?;
        message("/help tells what there is; Ctrl-D leaves");
        let (mut text, mut interrupted) = (String::new(), false);
        loop {
            match editor.readline(if text.is_empty() { "> " } else { ". " }) {
                Ok(line) => match line.strip_suffix('\\') {
                    Some(part) => text.push_str(&format!("{part}\n")),
                    None => {
                        interrupted = false;
                        text.push_str(&line);
                        let whole = std::mem::take(&mut text);
                        let _ = editor.add_history_entry(&whole);
                        if self.take(&whole)?.is_break() {
                            return Ok(());
                        }
                    }
                },
                // One that was meant for an answer just ended must not end the program.
                Err(ReadlineError::Interrupted) if !interrupted => {
                    interrupted = true;
                    text.clear();
                    message("(Ctrl-C once more, or Ctrl-D, leaves)");
                }
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(error).context("cannot read the line"),
            }
        }
    }

    /// Obeys a command or answers a question.
    fn take(&mut self, text: &str) -> Result<ControlFlow<()>> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        match word {
            "" if rest.is_empty() => {}
            "/help" => message(HELP),
            "/exit" | "/quit" => return Ok(ControlFlow::Break(())),
            "/reset" => self.messages.clear(),
            "/undo" => match self.messages.iter().rposition(|message| message.role == "user") {
                Some(at) => self.messages.truncate(at),
                None => message("there is nothing to undo"),
            },
            "/system" => {
                self.system = Some(rest.to_owned()).filter(|system| !system.is_empty());
                self.messages.clear();
            }
            "/seed" => match rest.parse() {
                Ok(seed) => self.request.seed = seed,
                Err(_) => message("/seed takes a number"),
            },
            "/save" => self.save(rest),
            _ if word.starts_with('/') => {
                message(format!("{word} is no command; /help tells them"))
            }
            _ => self.answer(text)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn whole(&self) -> Vec<Message> {
        let system = self.system.iter().map(|system| Message::new("system", system));
        system.chain(self.messages.iter().cloned()).collect()
    }

    fn answer(&mut self, text: &str) -> Result<()> {
        self.messages.push(Message::new("user", text));
        self.stop.forget();
        self.stop.gracefully();
        let (output, stop) = (self.output, self.stop);
        let mut written = Ok(());
        let messages = self.whole();
        let result = self.backend.chat(&self.template, &messages, &self.request, &mut |piece| {
            if !output.is_json() {
                written = output.text(piece);
            }
            match written.is_err() || stop.asked() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        stop.immediately();
        written?;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                // The conversation stays as it was: the person may shorten it, or ask for less.
                self.messages.pop();
                let error = anyhow::Error::new(error);
                if !self.interactive {
                    return Err(error);
                }
                message(format!("error: {error:#}\n(/undo and /reset shorten the conversation)"));
                return Ok(());
            }
        };
        match output.is_json() {
            true => output.json(&Line {
                prompt: text,
                text: &answer.text,
                ids: &answer.ids,
                finish_reason: answer.finish_reason,
                tokens_per_second: answer.tokens_per_second(),
            })?,
            false => output.text("\n")?,
        }
        if answer.finish_reason == FinishReason::Length {
            message(
                "(cut off: --max-new-tokens or the model's context is reached; /reset begins anew, --slide goes on)",
            );
        }
        self.messages.push(Message::new("assistant", answer.text));
        Ok(())
    }

    fn save(&self, file: &str) {
        if file.is_empty() {
            return message("/save takes a file");
        }
        let lines: Result<Vec<String>, _> =
            self.whole().iter().map(serde_json::to_string).collect();
        let saved = lines.map_err(anyhow::Error::new).and_then(|lines| {
            Ok(write_atomic(Path::new(file), (lines.join("\n") + "\n").as_bytes())?)
        });
        match saved {
            Ok(()) => message(format!("{} messages are in {file}", self.whole().len())),
            Err(error) => message(format!("error: {error:#}")),
        }
    }
}
