//! Models as they come: imported, embedded with, talked to.

use std::fs::File;

use serde_json::Value;

use crate::support::{Place, lines, said};

/// Lets `lines` of standard input come to a command, and gives its JSON lines.
fn fed(place: &Place, line: &[&str], input: &str) -> Vec<Value> {
    place.write("input", input.as_bytes());
    let mut command = place.command(line);
    command.arg("--json").stdin(File::open(place.path("input")).expect("just written"));
    let said = said(command.output().expect("the binary starts"));
    assert_eq!(said.status, Some(0), "{line:?}: {}", said.stderr);
    lines(&said.stdout)
}

const TEMPLATE: &str = "{% for m in messages %}{{ m.content }} {% endfor %}";

#[test]
fn a_model_is_imported_and_talked_to() {
    let place = Place::new("gpt.toml");
    place.done(&["train", "run.toml"]);
    place.done(&["import", "run", "imported"]);
    let again = place.call(&["import", "run", "imported"]);
    assert_eq!(again.status, Some(1));
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    let generate = |model| {
        place.json(&["generate", "--model", model, "--prompt", "on", "--max-new-tokens", "5"])
    };
    assert_eq!(generate("run")[0]["ids"], generate("imported")[0]["ids"]);

    let none = place.call(&["chat", "--model", "run"]);
    assert_eq!(none.status, Some(1));
    assert!(none.stderr.contains("--template FILE"), "{}", none.stderr);
    place.write("t.jinja", TEMPLATE.as_bytes());
    let chat = [
        "chat",
        "--model",
        "run",
        "--template",
        "t.jinja",
        "--max-new-tokens",
        "3",
        "--temperature",
        "1",
    ];
    let input = "on\n/undo\non\n/seed 7\n/nonsense\n/reset\non\n/save said.jsonl\n";
    let answers = fed(&place, &chat, input);
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["prompt"], "on");
    assert_eq!(answers[0]["ids"], answers[1]["ids"], "undone and asked again");
    let saved = std::fs::read_to_string(place.path("said.jsonl")).expect("it was saved");
    let saved = lines(&saved);
    assert_eq!(saved.len(), 2);
    assert_eq!((&saved[0]["role"], &saved[1]["content"]), (&"user".into(), &answers[2]["text"]));
    // A conversation that does not fit is told.
    place.write("input", "on the wall ".repeat(10).as_bytes());
    let mut command = place.command(&chat);
    command.stdin(File::open(place.path("input")).expect("just written"));
    let said = said(command.output().expect("the binary starts"));
    assert_eq!(said.status, Some(1));
    assert!(
        said.stderr.contains("the model takes") || said.stderr.contains("model takes"),
        "{}",
        said.stderr
    );
}

#[test]
fn texts_become_vectors() {
    let place = Place::new("bert.toml");
    place.done(&["train", "run.toml"]);
    let embed = ["embed", "--model", "run"];
    let found = fed(&place, &embed, "green bottles\non the wall\ngreen bottles\n");
    assert_eq!(found.len(), 3);
    assert_eq!(found[0]["embedding"], found[2]["embedding"]);
    let numbers = |line: &Value| -> Vec<f64> {
        let numbers = line["embedding"].as_array().expect("a vector").iter();
        numbers.map(|number| number.as_f64().expect("a number")).collect()
    };
    let length = |line| numbers(line).iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((length(&found[1]) - 1.0).abs() < 1e-5);
    let plain = fed(&place, &["embed", "--model", "run", "--no-normalize"], "on the wall\n");
    assert!((length(&plain[0]) - 1.0).abs() > 1e-3);
    let said = place.call(&["predict", "--model", "run", "x"]);
    assert_eq!(said.status, Some(1));
    assert!(said.stderr.contains("no classification head"), "{}", said.stderr);
}

#[test]
fn a_file_that_is_no_model_is_told() {
    let place = Place::new("gpt.toml");
    place.write("x.gguf", b"GGUF\x03\0\0\0");
    let said = place.call(&["generate", "--model", "x.gguf", "--prompt", "x"]);
    assert_eq!(said.status, Some(1));
    assert!(said.stderr.contains("x.gguf"), "{}", said.stderr);
}
