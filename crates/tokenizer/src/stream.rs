//! Decoding as ids come: an id goes in, the text it completes comes out, never a part of a character.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Decodes one id after another. All that it gives, joined, is what [`Tokenizer::decode`] gives of all ids.
///
/// ```
/// # use idiolect_tokenizer::{TrainConfig, train};
/// # fn main() -> idiolect_tokenizer::Result<()> {
/// let tokenizer = train(["a cat"].iter(), &TrainConfig::bpe(258), &mut |_| {})?;
/// let ids = tokenizer.encode_ordinary("🐈"); // four bytes, four ids
/// let mut stream = tokenizer.decode_stream();
/// for id in &ids[..3] {
///     assert_eq!(stream.push(*id)?, None);
/// }
/// assert_eq!(stream.push(ids[3])?.as_deref(), Some("🐈"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Byte-level: the bytes that may still become a character.
    Bytes(Vec<u8>),
    /// Any other decoder: the ids that the text still to come may depend on, and how much of their text is given.
    Window { ids: Vec<u32>, given: String, settled: usize },
}

impl<'a> DecodeStream<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> DecodeStream<'a> {
        let state = if tokenizer.is_byte_level() {
            State::Bytes(Vec::new())
        } else {
            State::Window { ids: Vec::new(), given: String::new(), settled: 0 }
        };
        DecodeStream { tokenizer, skip_special, state }
    }

    /// The text that this id completes, if it completes any.
    pub fn push(&mut self, id: u32) -> Result<Option<String>> {
        self.tokenizer.check_id(id)?;
        let skipped = self.skip_special && self.tokenizer.is_special(id);
        let text = match &mut self.state {
            _ if skipped => String::new(),
            State::Bytes(pending) => {
                pending.extend(self.tokenizer.piece(id));
                take_whole_characters(pending)
            }
            State::Window { ids, given, settled } => {
                ids.push(id);
                let text = self.tokenizer.decode(ids, self.skip_special)?;
                // A run of single bytes is text or not as a whole.
                if text.ends_with('\u{fffd}') || self.tokenizer.is_fallback_byte(id) {
                    String::new()
                } else {
                    let new = after_common(given, &text).to_string();
                    // What came before the last step no longer has a say in what follows.
                    ids.drain(..*settled);
                    *settled = ids.len();
                    *given = self.tokenizer.decode(ids, self.skip_special)?;
                    new
                }
            }
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// What is left when no more ids come: an unfinished character as U+FFFD.
    pub fn finish(self) -> String {
        match self.state {
            State::Bytes(pending) => String::from_utf8_lossy(&pending).into_owned(),
            State::Window { ids, given, .. } => {
                let text = self.tokenizer.decode(&ids, self.skip_special).unwrap_or_default();
                after_common(&given, &text).to_string()
            }
        }
    }
}

/// Takes from the front all that can no longer change, with U+FFFD for what is not UTF-8.
fn take_whole_characters(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = pending.as_slice();
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                rest = &[];
                break;
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                rest = after;
                let Some(invalid) = error.error_len() else { break };
                text.push('\u{fffd}');
                rest = &rest[invalid..];
            }
        }
    }
    *pending = rest.to_vec();
    text
}

fn after_common<'a>(given: &str, text: &'a str) -> &'a str {
    match text.strip_prefix(given) {
        Some(new) => new,
        None => {
            let pairs = given.char_indices().zip(text.chars());
            let same = pairs.take_while(|((_, a), b)| a == b).map(|((i, a), _)| i + a.len_utf8());
            &text[same.last().unwrap_or(0)..]
        }
    }
}
