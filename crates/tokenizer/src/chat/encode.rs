//! A chat as ids: messages in, ids and the mask of those that the assistant wrote out.

use std::ops::Range;

use super::template::Rendered;
use super::{ChatTemplate, Message, Options};
use crate::{Error, Result, Special, Tokenizer};

/// A chat as a model reads it. Both lists are equally long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatIds {
    /// The ids.
    pub ids: Vec<u32>,
    /// Which of them the assistant wrote.
    pub assistant_mask: Vec<bool>,
}

impl ChatTemplate {
    /// The ids of a chat: special tokens in the rendered text are matched, none are added.
    pub fn encode_ids(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &Options,
    ) -> Result<Vec<u32>> {
        Ok(tokenizer.encode_as(&self.render(messages, options)?, Special::Match))
    }

    /// The ids of a chat with the mask of the assistant's.
    ///
    /// What the assistant wrote is what the template's `generation` blocks hold or, where it has none, what an assistant's
    /// message adds to the chat before it with a generation prompt: the answer and what ends it.
    ///
    /// # Errors
    ///
    /// [`Error::Chat`] where the template renders the beginning of the chat otherwise than in the whole chat (some leave
    /// out earlier reasoning), so that the two cannot be compared.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &Options,
    ) -> Result<ChatIds> {
        if options.continue_final_message {
            let what = "a chat whose last message goes on has no mask yet".to_owned();
            return Err(Error::Chat { what });
        }
        let Rendered { text, mut generated } = self.render_marked(messages, options)?;
        if !self.jinja(options).has_generation() {
            generated = self.by_prefixes(&text, messages, options)?;
        }
        let encoding = tokenizer.encode_with_offsets(&text, Special::Match);
        let mut spans = generated.iter().peekable();
        let mut wrote = |token: &Range<usize>| {
            while spans.next_if(|span| span.end <= token.start).is_some() {}
            spans.peek().is_some_and(|span| token.end > span.start && !span.is_empty())
        };
        let assistant_mask = encoding.offsets.iter().map(&mut wrote).collect();
        Ok(ChatIds { ids: encoding.ids, assistant_mask })
    }

    /// The bytes of `text` that each assistant's message adds.
    fn by_prefixes(
        &self,
        text: &str,
        messages: &[Message],
        options: &Options,
    ) -> Result<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            if message.role != "assistant" {
                continue;
            }
            let before = Options { add_generation_prompt: true, ..options.clone() };
            let before = self.render_marked(&messages[..index], &before)?.text;
            let after = Options { add_generation_prompt: false, ..options.clone() };
            let after = self.render_marked(&messages[..=index], &after)?.text;
            check_prefix(text, &before, &format!("the messages before number {}", index + 1))?;
            check_prefix(text, &after, &format!("the messages up to number {}", index + 1))?;
            if after.len() < before.len() {
                let what = format!("the template renders nothing of message {}", index + 1);
                return Err(Error::Chat { what });
            }
            spans.push(before.len()..after.len());
        }
        Ok(spans)
    }

    /// The ids that end an answer by the template: the special token right after an assistant's content, if there is one.
    pub fn end_of_turn(&self, tokenizer: &Tokenizer) -> Option<u32> {
        const ANSWER: &str = "Xylophone";
        let messages = [Message::new("user", "Hi"), Message::new("assistant", ANSWER)];
        let text = self.render(&messages, &Options::default()).ok()?;
        let rest = &text[text.rfind(ANSWER)? + ANSWER.len()..];
        let first = tokenizer.encode_as(rest.trim_start(), Special::Match).first().copied();
        first.filter(|&id| tokenizer.is_special(id))
    }
}

/// Checks that `text` begins with `prefix`, and says where they part.
fn check_prefix(text: &str, prefix: &str, what: &str) -> Result<()> {
    if text.starts_with(prefix) {
        return Ok(());
    }
    let same = text.bytes().zip(prefix.bytes()).take_while(|(a, b)| a == b).count();
    let same =
        (0..=same).rev().find(|&at| text.is_char_boundary(at) && prefix.is_char_boundary(at));
    let same = same.unwrap_or(0);
    let excerpt = |text: &str| text[same..].chars().take(30).collect::<String>();
    let what = format!(
        "the assistant's part cannot be found: the template renders {what} otherwise alone ({:?}) than in the whole \
         chat ({:?}, byte {same}); a template with {{% generation %}} blocks tells it",
        excerpt(prefix),
        excerpt(text)
    );
    Err(Error::Chat { what })
}
