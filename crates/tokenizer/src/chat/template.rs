//! A model's chat template: its folder or text in, rendered chats out.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Date, Jinja, Message, filters};
use crate::{Error, Result, Tokenizer};

/// The tokens that Transformers gives a template by the name of their role.
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// How a chat is rendered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// End with what makes the model answer.
    pub add_generation_prompt: bool,
    /// End inside the last message, so that the model goes on with it.
    pub continue_final_message: bool,
    /// JSON schemas of the tools the model may call.
    pub tools: Option<Vec<Value>>,
    /// Documents to answer from, each a map with `title` and `text`.
    pub documents: Option<Vec<Value>>,
    /// What `strftime_now` tells; the local time where there is none.
    pub date: Option<Date>,
    /// Further variables of the template, such as `enable_thinking`.
    pub variables: Map<String, Value>,
}

/// The chat template of a model.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    default: Jinja,
    tool_use: Option<Jinja>,
    special_tokens: Map<String, Value>,
}

/// A chat as text, and the bytes of it that the assistant wrote by the template's own word.
pub(super) struct Rendered {
    pub(super) text: String,
    pub(super) generated: Vec<std::ops::Range<usize>>,
}

const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

impl ChatTemplate {
    /// Reads the template of a model folder: `chat_template.jinja` (and `additional_chat_templates/tool_use.jinja`), or
    /// `chat_template` in `tokenizer_config.json`, a text or a list of named ones. Special tokens come from
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::NoChatTemplate`] where there is none; [`Error::Template`] where it is not well formed.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let config = read_config(&folder.join("tokenizer_config.json"))?;
        let special_tokens = special_tokens(&config);
        let file = folder.join("chat_template.jinja");
        if let Some(source) = read(&file)? {
            let more = folder.join("additional_chat_templates").join("tool_use.jinja");
            let tool_use = match read(&more)? {
                Some(source) => Some(Jinja::new(&source, &more.display().to_string())?),
                None => None,
            };
            let default = Jinja::new(&source, &file.display().to_string())?;
            return Ok(Self { default, tool_use, special_tokens });
        }
        let origin = folder.join("tokenizer_config.json").display().to_string();
        match config.get("chat_template") {
            Some(Value::String(source)) => {
                let default = Jinja::new(source, &origin)?;
                Ok(Self { default, tool_use: None, special_tokens })
            }
            Some(Value::Array(named)) => Self::from_named(named, &origin, special_tokens),
            None | Some(Value::Null) => Err(Error::NoChatTemplate { folder: folder.to_owned() }),
            Some(_) => {
                let what = "`chat_template` is neither a text nor a list".to_owned();
                Err(Error::Invalid { origin, what })
            }
        }
    }

    /// Takes a template as it stands, without special tokens.
    #[expect(clippy::should_implement_trait, reason = "its errors name a template")]
    pub fn from_str(source: &str) -> Result<Self> {
        let default = Jinja::new(source, "the given template")?;
        Ok(Self { default, tool_use: None, special_tokens: Map::new() })
    }

    /// Reads a file that holds a template.
    pub fn from_file(path: &Path) -> Result<Self> {
        let source =
            read(path)?.ok_or_else(|| Error::NoChatTemplate { folder: path.to_owned() })?;
        let default = Jinja::new(&source, &path.display().to_string())?;
        Ok(Self { default, tool_use: None, special_tokens: Map::new() })
    }

    /// The same with special tokens by their role: `bos_token`, `eos_token` and so on.
    pub fn with_special_tokens(mut self, tokens: Map<String, Value>) -> Self {
        self.special_tokens = tokens;
        self
    }

    /// The same with the special tokens that the files of a tokenizer, or the GGUF file it came from, name.
    pub fn with_special_tokens_of(self, tokenizer: &Tokenizer) -> Self {
        let named = tokenizer.named_roles().iter();
        let tokens = named.map(|(key, token)| (key.clone(), Value::from(token.clone())));
        self.with_special_tokens(tokens.collect())
    }

    fn from_named(
        named: &[Value],
        origin: &str,
        special_tokens: Map<String, Value>,
    ) -> Result<Self> {
        let find = |name: &str| {
            let found = named.iter().find(|one| one["name"].as_str() == Some(name));
            let source = found.and_then(|one| one["template"].as_str());
            source.map(|source| Jinja::new(source, &format!("{origin} ({name})"))).transpose()
        };
        let default = find("default")?.ok_or_else(|| {
            let names: Vec<&str> = named.iter().filter_map(|one| one["name"].as_str()).collect();
            let what =
                format!("no chat template is called `default` (there are: {})", names.join(", "));
            Error::Invalid { origin: origin.to_owned(), what }
        })?;
        Ok(Self { default, tool_use: find("tool_use")?, special_tokens })
    }

    /// The template that these options choose: the one for tools where there are tools and one for them.
    pub fn jinja(&self, options: &Options) -> &Jinja {
        match &self.tool_use {
            Some(tool_use) if options.tools.is_some() => tool_use,
            _ => &self.default,
        }
    }

    /// The chat as text.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] where the template fails or refuses; [`Error::Chat`] where the options do not fit the messages.
    pub fn render(&self, messages: &[Message], options: &Options) -> Result<String> {
        if options.continue_final_message {
            return self.render_continued(messages, options);
        }
        Ok(self.render_marked(messages, options)?.text)
    }

    fn render_continued(&self, messages: &[Message], options: &Options) -> Result<String> {
        let refuse = |what: &str| Err(Error::Chat { what: what.to_owned() });
        if options.add_generation_prompt {
            return refuse("a chat cannot both continue its last message and begin a new one");
        }
        let Some((last, before)) = messages.split_last() else {
            return refuse("there is no message to continue");
        };
        let Some(tagged) = last.tagged(TAG) else {
            return refuse("the last message has no text to continue");
        };
        let mut messages = before.to_vec();
        messages.push(tagged);
        let mut text = self.render_marked(&messages, options)?.text;
        let Some(at) = text.rfind(TAG.trim_end()) else {
            return refuse("the template leaves out the end of the last message");
        };
        // Where the template trims the message, what it would have trimmed goes too.
        let kept = text[at..].starts_with(TAG);
        text.truncate(at);
        if !kept {
            text.truncate(text.trim_end().len());
        }
        Ok(text)
    }

    /// Renders, and takes the marks of `generation` blocks out again.
    pub(super) fn render_marked(
        &self,
        messages: &[Message],
        options: &Options,
    ) -> Result<Rendered> {
        let jinja = self.jinja(options);
        let mut variables = self.special_tokens.clone();
        variables.insert("tools".to_owned(), json!(options.tools));
        variables.insert("documents".to_owned(), json!(options.documents));
        variables.extend(options.variables.clone());
        let messages: Vec<Value> = messages.iter().map(Message::to_value).collect();
        variables.insert("messages".to_owned(), Value::Array(messages));
        let prompt = json!(options.add_generation_prompt);
        variables.insert("add_generation_prompt".to_owned(), prompt);
        if let Some(date) = options.date {
            let date = date.format("%Y-%m-%dT%H:%M:%S");
            variables.insert(filters::DATE.to_owned(), json!(date));
        }
        if !jinja.has_generation() {
            return Ok(Rendered { text: jinja.render(&variables)?, generated: Vec::new() });
        }
        let marks = unused_marks(jinja.source(), &variables)?;
        variables.insert(filters::MARKS.to_owned(), json!(String::from_iter(marks)));
        Ok(unmark(&jinja.render(&variables)?, marks))
    }
}

/// Two private-use characters that occur neither in the template nor in what it is given.
fn unused_marks(source: &str, variables: &Map<String, Value>) -> Result<[char; 2]> {
    let given = json!(variables).to_string();
    let unused =
        ('\u{10_FF00}'..='\u{10_FFFD}').filter(|&c| !given.contains(c) && !source.contains(c));
    match unused.take(2).collect::<Vec<_>>()[..] {
        [start, end] => Ok([start, end]),
        _ => Err(Error::Chat { what: "the messages use up plane 16 of Unicode".to_owned() }),
    }
}

fn unmark(marked: &str, [start, end]: [char; 2]) -> Rendered {
    let mut rendered =
        Rendered { text: String::with_capacity(marked.len()), generated: Vec::new() };
    let mut opened = None;
    for character in marked.chars() {
        let at = rendered.text.len();
        if character == start {
            // Of a block inside a block the outer one counts.
            opened = opened.or(Some(at));
        } else if character == end {
            rendered.generated.extend(opened.take().map(|start| start..at));
        } else {
            rendered.text.push(character);
        }
    }
    rendered
}

/// The contents of the special tokens that a `tokenizer_config.json` names.
fn special_tokens(config: &Map<String, Value>) -> Map<String, Value> {
    let content = |value: &Value| {
        let text = value.as_str().or_else(|| value["content"].as_str());
        text.map(|text| Value::from(text.to_owned()))
    };
    let one = |&key: &&str| Some((key.to_owned(), content(config.get(key)?)?));
    let mut tokens: Map<String, Value> = SPECIAL_TOKENS.iter().filter_map(one).collect();
    // Tokens of a model's own, by name.
    for key in ["model_specific_special_tokens", "extra_special_tokens"] {
        if let Some(Value::Object(more)) = config.get(key) {
            tokens.extend(
                more.iter().filter_map(|(key, value)| Some((key.clone(), content(value)?))),
            );
        }
    }
    tokens
}

fn read_config(path: &Path) -> Result<Map<String, Value>> {
    let Some(text) = read(path)? else { return Ok(Map::new()) };
    serde_json::from_str(&text).map_err(|error| Error::Invalid {
        origin: path.display().to_string(),
        what: format!("it is not a JSON object: {error}"),
    })
}

/// A file's text, if there is the file.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => {
                let what = "it is not UTF-8".to_owned();
                Err(Error::Invalid { origin: path.display().to_string(), what })
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: PathBuf::from(path), source }),
    }
}
