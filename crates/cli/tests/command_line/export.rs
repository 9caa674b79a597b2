//! `export`: what was trained becomes a GGUF file that runs as the folder does, or a folder; nothing half written.

use std::process::{Command, Stdio};

use crate::support::Place;

/// A place where a Llama with a byte-level tokenizer was trained.
fn trained() -> Place {
    let place = Place::new("gpt.toml");
    let text = std::fs::read_to_string(place.path("run.toml")).expect("the run file");
    let (before, _) = text.split_once("[tokenizer]").expect("a section");
    let run = format!("{before}{LLAMA}");
    place.write("run.toml", run.as_bytes());
    place.done(&["train", "run.toml"]);
    place
}

const LLAMA: &str = r#"[tokenizer]
type = "bpe"
vocab_size = 300

[model]
type = "gpt"
preset = "llama_small"
hidden_size = 32
n_layers = 2
n_heads = 2
n_kv_heads = 1
intermediate_size = 64
context_length = 16

[trainer]
steps = 4
"#;

#[test]
fn a_run_becomes_a_file_that_runs_the_same() {
    let place = trained();
    let said = place.call(&["export", "run", "model.gguf", "--type", "f32"]);
    assert_eq!(said.status, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("32.00 bits a number"), "{}", said.stderr);
    let generate = |model| {
        let line = ["generate", "--model", model, "--prompt", "on", "--max-new-tokens", "5"];
        place.json(&line)[0]["ids"].clone()
    };
    assert_eq!(generate("run"), generate("model.gguf"));
    // A file becomes a file of another type, and a folder again.
    let said = place.call(&["export", "model.gguf", "small.gguf", "--type", "Q4_K"]);
    assert_eq!(said.status, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("as Q5_0, because"), "{}", said.stderr);
    place.done(&["export", "model.gguf", "folder"]);
    assert_eq!(generate("run"), generate("folder"));
    let halves = ["export", "run", "halves", "--dtype", "bf16"];
    place.done(&halves);
    let config = std::fs::read_to_string(place.path("halves/config.json")).expect("it is there");
    assert!(config.contains("bfloat16"), "{config}");

    let check = |line: &[&str], status: i32, part: &str| {
        let said = place.call(line);
        assert_eq!(said.status, Some(status), "{line:?}: {}", said.stderr);
        assert!(said.stderr.contains(part), "{line:?}: {}", said.stderr);
    };
    check(&["export", "run", "model.gguf"], 1, "model.gguf is there already");
    check(&["export", "run", "folder"], 1, "folder is there already");
    check(&["export", "run", "new", "--type", "Q8_0"], 2, "--type is for GGUF files");
    check(&["export", "run", "new.gguf", "--dtype", "bf16"], 2, "--dtype is for folders");
    check(&["export", "run", "new.gguf", "--type", "Q9"], 2, "Q4_K");
    check(&["export", "nowhere", "new.gguf"], 1, "no such folder or file");
    check(&["export", "run", "no/where.gguf"], 1, "no/where.gguf");
    std::fs::remove_file(place.path("halves/tokenizer.json")).expect("it was there");
    check(&["export", "halves", "new.gguf"], 1, "tokenizer.json");
    assert!(!place.path("new.gguf").exists() && !place.path("new").exists());
}

#[test]
fn a_model_that_no_file_can_hold_is_told() {
    let place = Place::new("gpt.toml");
    let depth = ["train", "run.toml", "--set", "model.mlp=squared_relu"];
    let said = place.call(&depth);
    assert_eq!(said.status, Some(0), "{}", said.stderr);
    let said = place.call(&["export", "run", "model.gguf"]);
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("GGUF"), "{}", said.stderr);
    assert!(!place.path("model.gguf").exists());
}

#[test]
fn ctrl_c_leaves_nothing_half_written() {
    let place = trained();
    let before = std::fs::read_dir(place.path(".")).expect("a folder").count();
    for to in ["model.gguf", "folder"] {
        let mut command = place.command(&["export", "run", to]);
        let mut child = command.stderr(Stdio::null()).spawn().expect("the binary starts");
        // Whether it comes before, amid or after the work, there is all of it or nothing.
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
        let status = child.wait().expect("it ends").code();
        let made = usize::from(place.path(to).exists());
        let after = std::fs::read_dir(place.path(".")).expect("a folder").count();
        assert_eq!(after, before + made, "{to}: {status:?}");
        assert_eq!(made == 1, status == Some(0), "{to}: {status:?}");
    }
}
