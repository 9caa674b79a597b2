//! Chats against what Transformers renders (`fixtures/make_chats.py`), and folders of several shapes.
#![cfg(feature = "chat")]

use idiolect_tokenizer::chat::{ChatTemplate, Date, Jinja, Message, Options};
use idiolect_tokenizer::{Error, Special, Tokenizer, TrainConfig, train};
use serde_json::{Map, Value, json};

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/chats.json")).unwrap()
}

fn special_tokens() -> Map<String, Value> {
    let tokens = json!({"bos_token": "<s>", "eos_token": "</s>"});
    tokens.as_object().unwrap().clone()
}

/// The options of a row of the fixture; what is none of ours is a variable.
fn options(row: &Value, date: &str) -> Options {
    let mut given = row["options"].as_object().unwrap().clone();
    let mut flag = |name: &str| given.shift_remove(name) == Some(json!(true));
    let add_generation_prompt = flag("add_generation_prompt");
    let continue_final_message = flag("continue_final_message");
    let mut list =
        |name: &str| given.shift_remove(name).map(|list| serde_json::from_value(list).unwrap());
    Options {
        add_generation_prompt,
        continue_final_message,
        tools: list("tools"),
        documents: list("documents"),
        date: Some(Date::parse(date).unwrap()),
        variables: given,
    }
}

#[test]
fn chats_are_rendered_as_transformers_renders_them() {
    let fixture = fixture();
    let tokenizer = Tokenizer::from_json(&fixture["tokenizer"].to_string()).unwrap();
    let mut compared = 0;
    for row in fixture["rendered"].as_array().unwrap() {
        let name = row["template"].as_str().unwrap();
        let template = ChatTemplate::from_str(fixture["templates"][name].as_str().unwrap())
            .unwrap()
            .with_special_tokens(special_tokens());
        let chat = &fixture["chats"][row["chat"].as_str().unwrap()];
        let messages: Vec<Message> = serde_json::from_value(chat.clone()).unwrap();
        let options = options(row, fixture["date"].as_str().unwrap());
        let about = format!("{name}, {}, {}", row["chat"], row["options"]);
        match (template.render(&messages, &options), row["text"].as_str()) {
            (Ok(text), Some(expected)) => assert_eq!(text, expected, "{about}"),
            (Err(_), None) => {}
            (got, expected) => panic!("{about}: {got:?}, not {expected:?} ({})", row["error"]),
        }
        if let Ok(ids) = serde_json::from_value::<Vec<u32>>(row["ids"].clone()) {
            let encoded = template.encode(&tokenizer, &messages, &options).unwrap();
            let mask: Vec<u8> = serde_json::from_value(row["mask"].clone()).unwrap();
            let ours: Vec<u8> = encoded.assistant_mask.iter().map(|&wrote| wrote.into()).collect();
            assert_eq!((encoded.ids, ours), (ids, mask), "{about}");
        }
        compared += 1;
    }
    assert!(compared > 150, "{compared}");
}

#[test]
fn small_templates_say_what_jinja_says() {
    let fixture = fixture();
    let variables = &fixture["expressions"]["variables"];
    for pair in fixture["expressions"]["texts"].as_array().unwrap() {
        let (source, expected) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        let text = Jinja::new(source, "it").and_then(|template| template.render(variables));
        assert_eq!(text.ok().as_deref(), Some(expected), "{source}");
    }
}

/// The text that the mask marks, the spans between bars.
fn marked(template: &str, messages: &[Message]) -> Result<String, String> {
    let tokenizer = Tokenizer::from_json(&fixture()["tokenizer"].to_string()).unwrap();
    let template = ChatTemplate::from_str(template).unwrap().with_special_tokens(special_tokens());
    let encoded = template
        .encode(&tokenizer, messages, &Options::default())
        .map_err(|error| error.to_string())?;
    let rows = encoded.ids.chunk_by(|_, _| true).flatten().zip(&encoded.assistant_mask);
    let rows: Vec<(u32, bool)> = rows.map(|(&id, &wrote)| (id, wrote)).collect();
    let spans = rows.chunk_by(|a, b| a.1 == b.1).filter(|span| span[0].1);
    let text = |span: &[(u32, bool)]| {
        let ids: Vec<u32> = span.iter().map(|row| row.0).collect();
        tokenizer.decode(&ids, false).unwrap()
    };
    Ok(spans.map(text).collect::<Vec<_>>().join("|"))
}

fn template(name: &str) -> String {
    fixture()["templates"][name].as_str().unwrap().to_owned()
}

#[test]
fn without_generation_blocks_prefixes_tell_what_the_assistant_wrote() {
    let chat = |name: &str| {
        serde_json::from_value::<Vec<Message>>(fixture()["chats"][name].clone()).unwrap()
    };
    let check = |name: &str, chat: &[Message], expected: &str| {
        assert_eq!(marked(&template(name), chat).as_deref(), Ok(expected), "{name}");
    };
    let (first, second) = ("It's 4 — \"four\" <b>&</b>.", "quatre\n");
    let longer = chat("longer");
    check("chatml", &longer, &format!("{first}<|im_end|>\n|{second}<|im_end|>\n"));
    check("generation", &longer, &format!("{first}<|im_end|>|{second}<|im_end|>"));
    check("mistral", &longer, &format!(" {first}</s>| quatre</s>"));
    check("gemma", &longer, &format!("{first}<end_of_turn>\n|quatre<end_of_turn>\n"));
    check("chatml", &chat("system"), "");
    // Qwen leaves the reasoning of earlier turns out, so that a prefix differs from the whole.
    let error = marked(&template("qwen3"), &chat("thought")).unwrap_err();
    assert!(error.contains("the messages up to number 2 otherwise alone"), "{error}");
    assert!(error.contains("{% generation %}"), "{error}");
}

#[test]
fn a_text_full_of_private_characters_keeps_its_mask() {
    let said = "\u{10ff00}a\u{10ff01}\u{f0000}b";
    let messages = [Message::new("user", "\u{10ff02}"), Message::new("assistant", said)];
    assert_eq!(marked(&template("generation"), &messages), Ok(format!("{said}<|im_end|>")));
}

#[test]
fn a_template_that_writes_the_first_token_gets_it_once() {
    let tokenizer = Tokenizer::from_json(&fixture()["tokenizer"].to_string()).unwrap();
    let template =
        ChatTemplate::from_str("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}")
            .unwrap()
            .with_special_tokens(special_tokens());
    let ids = template.encode_ids(&tokenizer, &[Message::new("user", "a")], &Options::default());
    let ids = ids.unwrap();
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "<s>a</s>");
    assert_eq!(ids.len(), 3);
    assert_eq!(template.end_of_turn(&tokenizer), None); // it never writes the answer
    let chatml = ChatTemplate::from_str(&self::template("chatml")).unwrap();
    assert_eq!(chatml.end_of_turn(&tokenizer), tokenizer.token_to_id("<|im_end|>"));
    assert_eq!(tokenizer.encode_as("<|im_end|>", Special::Match).len(), 1);
}

#[test]
fn folders_keep_their_templates_in_several_places() {
    let user = [Message::new("user", "hi")];
    let tools = Options { tools: Some(vec![json!({})]), ..Options::default() };
    let check = |files: &[(&str, String)], plain: &str, with_tools: &str| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let template = ChatTemplate::from_folder(folder.path()).unwrap();
        assert_eq!(template.render(&user, &Options::default()).unwrap(), plain);
        assert_eq!(template.render(&user, &tools).unwrap(), with_tools);
    };
    let config = |template: Value| {
        let bos = json!({"content": "<s>", "lstrip": false});
        json!({"bos_token": bos, "eos_token": "</s>", "chat_template": template}).to_string()
    };
    let (plain, tool) = ("{{ bos_token }}p{{ eos_token }}", "t{{ tools | length }}");
    let jinja = || ("chat_template.jinja", plain.to_owned());
    let name = "tokenizer_config.json";
    check(&[(name, config(json!(plain)))], "<s>p</s>", "<s>p</s>");
    check(&[jinja(), (name, config(json!("old")))], "<s>p</s>", "<s>p</s>");
    let more = "additional_chat_templates/tool_use.jinja";
    check(&[jinja(), (more, tool.to_owned())], "p", "t1");
    let named =
        json!([{"name": "tool_use", "template": tool}, {"name": "default", "template": plain}]);
    check(&[(name, config(named))], "<s>p</s>", "t1");
}

#[test]
fn a_folder_without_a_template_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let check = |expected: &str| {
        let error = ChatTemplate::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("no chat template");
    let write = |text: &[u8]| {
        std::fs::write(folder.path().join("tokenizer_config.json"), text).unwrap();
    };
    write(b"{}");
    assert!(matches!(ChatTemplate::from_folder(folder.path()), Err(Error::NoChatTemplate { .. })));
    write(br#"{"chat_template": [{"name": "rag", "template": "x"}]}"#);
    check("no chat template is called `default` (there are: rag)");
    write(br#"{"chat_template": 3}"#);
    check("neither a text nor a list");
    write(b"{");
    check("not a JSON object");
    write(b"\xff");
    check("not UTF-8");
    write(("{\"a\":".repeat(100_000)).as_bytes());
    check("recursion limit");
}

#[test]
fn a_template_knows_the_special_tokens_that_files_name() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = ["<|endoftext|>", "</s>"].map(String::from).to_vec();
    let config = TrainConfig::Character { special_tokens: tokens };
    train(["a"].iter(), &config, &mut |_| {}).unwrap().save_folder(folder.path()).unwrap();
    let config = r#"{"bos_token": "<|endoftext|>", "eos_token": {"content": "</s>"}}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let template = ChatTemplate::from_str("{{ bos_token }}{{ eos_token }}").unwrap();
    assert_eq!(template.render(&[], &Options::default()).unwrap(), "");
    let template = template.with_special_tokens_of(&tokenizer);
    assert_eq!(template.render(&[], &Options::default()).unwrap(), "<|endoftext|></s>");
}
