//! Chats: rendered as Transformers renders them, masked as templates say, and strangers' templates kept within bounds.
#![cfg(feature = "chat")]

use idiolect_tokenizer::chat::{ChatTemplate, Jinja, Message, Options};
use idiolect_tokenizer::{Tokenizer, TrainConfig, train};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

#[derive(Deserialize)]
struct Fixture {
    templates: Map<String, Value>,
    special_tokens: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    tools: Option<Vec<Value>>,
    text: String,
    /// Characters that the assistant wrote.
    generated: Option<Vec<[usize; 2]>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/chat.json")).unwrap()
}

fn tokenizer() -> Tokenizer {
    let config =
        TrainConfig::Character { special_tokens: vec!["<|endoftext|>".into(), "</s>".into()] };
    train(fixture().cases.iter().map(|case| case.text.clone()), &config, &mut |_| {}).unwrap()
}

#[test]
fn chats_are_rendered_as_transformers_renders_them() {
    let fixture = fixture();
    for case in &fixture.cases {
        let template = ChatTemplate::from_str(fixture.templates[&case.template].as_str().unwrap());
        let template = template.unwrap().with_special_tokens(fixture.special_tokens.clone());
        let options = Options {
            add_generation_prompt: case.add_generation_prompt,
            tools: case.tools.clone(),
            ..Options::default()
        };
        let text = template.render(&case.messages, &options).unwrap();
        assert_eq!(text, case.text, "{}", case.template);
    }
}

#[test]
fn what_the_assistant_wrote_is_known() {
    let (fixture, tokenizer) = (fixture(), tokenizer());
    for case in fixture.cases.iter().filter(|case| case.generated.is_some()) {
        let template =
            ChatTemplate::from_str(fixture.templates[&case.template].as_str().unwrap()).unwrap();
        let options =
            Options { add_generation_prompt: case.add_generation_prompt, ..Options::default() };
        let chat = template.encode(&tokenizer, &case.messages, &options).unwrap();
        let wrote = |of: &[(u32, bool)]| {
            let ids: Vec<u32> = of.iter().filter(|one| one.1).map(|one| one.0).collect();
            tokenizer.decode(&ids, false).unwrap()
        };
        let pairs: Vec<_> = chat.ids.into_iter().zip(chat.assistant_mask).collect();
        let characters: Vec<char> = case.text.chars().collect();
        let expected: String = case
            .generated
            .iter()
            .flatten()
            .flat_map(|&[start, end]| &characters[start..end])
            .collect();
        assert_eq!(wrote(&pairs), expected);
    }
}

#[test]
fn without_blocks_the_mask_comes_from_prefixes_or_says_why_not() {
    let (fixture, tokenizer) = (fixture(), tokenizer());
    let of =
        |name: &str| ChatTemplate::from_str(fixture.templates[name].as_str().unwrap()).unwrap();
    let messages = [Message::new("user", "a"), Message::new("assistant", "b")];
    let chat = of("chatml").encode(&tokenizer, &messages, &Options::default()).unwrap();
    let ids: Vec<u32> =
        chat.ids.iter().zip(&chat.assistant_mask).filter(|one| *one.1).map(|one| *one.0).collect();
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "b<|im_end|>\n");
    let last = [Message::new("assistant", "b"), Message::new("user", "a")];
    // Only the last message is what it says: the beginning alone is another text.
    let source = "{% for m in messages %}{{ m.content if loop.last else 'u' }}{% endfor %}";
    let forgetful = ChatTemplate::from_str(source).unwrap();
    let error = forgetful.encode(&tokenizer, &last, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("assistant's part cannot be found"), "{error}");
}

/// A template that must end within bounds, with an error or without.
fn check_bounded(template: &str) {
    let started = Instant::now();
    let outcome = Jinja::new(template, "bomb")
        .and_then(|jinja| jinja.render(&json!({"messages": [{"role": "user", "content": "x"}]})));
    // Debug builds are slow; a release build needs a tenth.
    assert!(started.elapsed() < Duration::from_secs(10), "{template}");
    assert!(outcome.is_err(), "{template}");
}

#[test]
fn bombs_end_in_an_error() {
    for template in [
        "{% for i in range(10 ** 9) %}.{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}.{% endfor %}{% endfor %}",
        "{{ 'a' * 10 ** 9 }}",
        "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'bomb' %}",
        "{% import 'bomb' as b %}",
        "{{ raise_exception('no') }}",
        "{{ messages[0].content.ljust(10 ** 9) }}",
        "{% for %}",
    ] {
        check_bounded(template);
    }
}

#[test]
fn an_error_names_the_line() {
    let error = Jinja::new("a\nb\n{{ raise_exception('roles must alternate') }}", "t.jinja")
        .unwrap()
        .render(&json!({}))
        .unwrap_err();
    assert_eq!(error.to_string(), "t.jinja, line 3: roles must alternate");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_templates_never_panic(which in 0usize..7, at in any::<prop::sample::Index>(), new in "[{}%'\\[\\]().|a-z \n]{0,6}", gone in 0usize..8) {
        let fixture = fixture();
        let template = fixture.templates.values().nth(which).unwrap().as_str().unwrap();
        let mut characters: Vec<char> = template.chars().collect();
        let at = at.index(characters.len());
        let end = (at + gone).min(characters.len());
        characters.splice(at..end, new.chars());
        let mutated: String = characters.into_iter().collect();
        if let Ok(template) = ChatTemplate::from_str(&mutated) {
            let _ = template.render(&fixture.cases[2].messages, &Options::default());
        }
    }
}

#[test]
fn a_template_knows_the_special_tokens_that_files_name() {
    let folder = tempfile::tempdir().unwrap();
    tokenizer().save_folder(folder.path()).unwrap();
    let config = r#"{"bos_token": "<|endoftext|>", "eos_token": {"content": "</s>"}}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let template = ChatTemplate::from_str("{{ bos_token }}{{ eos_token }}").unwrap();
    assert_eq!(template.render(&[], &Options::default()).unwrap(), "");
    let template = template.with_special_tokens_of(&tokenizer);
    assert_eq!(template.render(&[], &Options::default()).unwrap(), "<|endoftext|></s>");
}
