//! Chats: messages and a model's own Jinja template in; text, ids and the mask of the assistant's ids out.
//!
//! ```
//! use idiolect_tokenizer::chat::{ChatTemplate, Message, Options};
//!
//! # fn main() -> idiolect_tokenizer::Result<()> {
//! let template = ChatTemplate::from_str(
//!     "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
//! )?;
//! let messages = [Message::new("user", "Hello")];
//! let options = Options { add_generation_prompt: true, ..Options::default() };
//! assert_eq!(template.render(&messages, &options)?, "<|user|>Hello</s><|assistant|>");
//! # Ok(())
//! # }
//! ```
//!
//! Templates come from strangers: [`Jinja`] bounds the time and memory that one can take.

mod date;
mod encode;
mod filters;
mod jinja;
mod json;
mod limits;
mod message;
mod python;
mod rewrite;
mod template;

pub use date::Date;
pub use encode::ChatIds;
pub use jinja::Jinja;
pub use message::{Content, Message, Part};
pub use template::{ChatTemplate, Options};
