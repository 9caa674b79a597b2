//! A chat template of any text in; a conversation is rendered by it, or refused.
#![no_main]

use idiolect_tokenizer::chat::{ChatTemplate, Message, Options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::from_str(source) else { return };
    let messages = [Message::new("system", "Be brief."), Message::new("user", "Hello?")];
    let _ = template.render(&messages, &Options::default());
});
