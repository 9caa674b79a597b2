//! A task in words goes in, an answer in words comes out, from any language model.
//!
//! ```text
//! variables ──Template──▶ prompt ──Backend──▶ Answer { text, ids, log-probabilities }
//! prompt, continuations ─────────Backend──▶ Scores (log-probabilities)
//! ```
//!
//! A [`Backend`] is whatever can answer: the local model behind feature `local`, or one of your
//! own. A [`Template`] turns named values into a prompt, with solved examples or without:
//!
//! ```
//! use std::ops::ControlFlow;
//! use idiolect_prompting::{Answer, Backend, Capabilities, FinishReason, Request, Result, Template};
//!
//! /// Answers every prompt with its last word.
//! struct Echo;
//!
//! impl Backend for Echo {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::default().with_generate()
//!     }
//!     fn generate(
//!         &self,
//!         request: &Request,
//!         on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
//!     ) -> Result<Answer> {
//!         let text = request.prompt.split_whitespace().last().unwrap_or_default().to_owned();
//!         let _ = on_text(&text);
//!         Ok(Answer { text, finish_reason: FinishReason::Stop, ..Answer::default() })
//!     }
//! }
//!
//! let template = Template::few_shot(
//!     "English: {{ english }}\nFrench: {{ french }}",
//!     &[&[("english", "sea"), ("french", "mer")]],
//!     "English: {{ english }}\nFrench:",
//! )?;
//! let prompt = template.render(&[("english", "sky")])?;
//! assert_eq!(prompt, "English: sea\nFrench: mer\n\nEnglish: sky\nFrench:");
//!
//! let answer = Echo.generate(&Request::new(prompt), &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(answer.text, "French:");
//! # Ok::<(), idiolect_prompting::Error>(())
//! ```

mod backend;
mod error;
#[cfg(feature = "local")]
mod local;
mod stop;
mod template;

pub use backend::{Answer, Backend, Capabilities, FinishReason, Request, Score};
pub use error::{Error, Result};
#[cfg(feature = "local")]
pub use idiolect_tokenizer::chat;
#[cfg(feature = "local")]
pub use local::{Classification, EmbedConfig, Embeddings, LocalBackend, Pooling, Prediction};
pub use stop::StopScanner;
pub use template::Template;
