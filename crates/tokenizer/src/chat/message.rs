//! A message of a chat, in the shape that OpenAI and Hugging Face share: JSON in and out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// What is said; an assistant that only calls tools may say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The calls of tools that an assistant makes, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<Value>>,
    /// Everything else a template may read: `name`, `tool_call_id`, `reasoning_content`.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Several parts, of which templates of text models read those of type `text`.
    Parts(Vec<Part>),
}

/// A part of a content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `text`, `image` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text of a part of type `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where a message's reasoning may lie; the first is the standard name.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

impl Message {
    /// A message of `role` that says `text`.
    pub fn new(role: impl Into<String>, text: impl Into<String>) -> Self {
        let content = Some(Content::Text(text.into()));
        Self { role: role.into(), content, ..Self::default() }
    }

    /// All of its text, parts one after another.
    pub fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                parts.iter().filter_map(|part| part.text.as_deref()).collect()
            }
        }
    }

    /// The message as a template sees it: without what is null, and with its reasoning under each name that templates read
    /// (as Transformers does since 5.20).
    pub(super) fn to_value(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(map) = &mut value {
            map.retain(|_, value| !value.is_null());
            let reasoning = REASONING.iter().find_map(|name| map.get(*name)).cloned();
            if let Some(reasoning) = reasoning {
                map.insert("reasoning_content".to_owned(), reasoning.clone());
                map.entry("thinking").or_insert(reasoning);
            }
        }
        value
    }

    /// Adds `tag` to the end of the text; `None` where there is none.
    pub(super) fn tagged(&self, tag: &str) -> Option<Self> {
        let mut tagged = self.clone();
        let text = match tagged.content.as_mut()? {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.iter_mut().rev().find_map(|part| part.text.as_mut())?,
        };
        text.push_str(tag);
        Some(tagged)
    }
}
