//! Wrong usage and broken files: a clear message, the right exit status, no panic.

use std::process::Stdio;

use crate::support::{Place, said};

/// Calls, and expects a status and a part of what is said on standard error.
fn check(place: &Place, line: &[&str], status: i32, part: &str) {
    let said = place.call(line);
    assert_eq!(said.status, Some(status), "{line:?}: {}", said.stderr);
    assert!(said.stderr.contains(part), "{line:?} said: {}", said.stderr);
    assert!(!said.stderr.contains("internal error"), "{line:?} said: {}", said.stderr);
    assert!(said.stdout.is_empty(), "{line:?} printed: {}", said.stdout);
}

#[test]
fn wrong_usage_ends_with_two() {
    let place = Place::new("gpt.toml");
    check(&place, &["talk", "--model", "run"], 2, "unrecognized subcommand");
    check(&place, &["train"], 2, "RUN.toml");
    check(&place, &["train", "run.toml", "--stps", "3"], 2, "unexpected argument");
    check(&place, &["train", "run.toml", "--device", "tpu"], 2, "--device tpu");
    check(&place, &["train", "run.toml", "--dtype", "f16"], 2, "f32 or bf16");
    check(&place, &["train", "run.toml", "--set", "trainer.steps"], 2, "section.key=value");
    check(&place, &["train", "run.toml", "--set", "trainer.stps=1"], 2, "did you mean `steps`?");
    check(&place, &["tokenizer", "decode", ".", "1", "x"], 1, "tokenizer");
    check(&place, &["generate", "--model", "nowhere", "--prompt", "x"], 1, "no such folder");
    check(&place, &["generate", "--model", ".", "--prompt", "x", "--top-p", "2"], 2, "top_p");
    check(&place, &["generate", "--model", ".", "--prompt", "x"], 1, "config.json");
    check(&place, &["train", "missing.toml"], 1, "missing.toml");
    check(&place, &["data", "report", "."], 1, "report");
}

#[test]
fn a_gpu_that_is_not_there_is_told() {
    let place = Place::new("gpt.toml");
    let said = place.call(&["doctor", "--device", "cuda:77"]);
    assert_eq!(said.status, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("cuda"), "{}", said.stderr);
}

/// Changes one line of the run file, and expects `train` to refuse it with file, line and key.
fn check_run_file(run_file: &str, line: &str, changed: &str, parts: &[&str]) {
    let place = Place::new(run_file);
    let text = std::fs::read_to_string(place.path("run.toml")).expect("it is there");
    assert!(text.contains(line), "{line}");
    place.write("run.toml", text.replacen(line, changed, 1).as_bytes());
    for part in parts {
        check(&place, &["train", "run.toml"], 2, part);
    }
    assert!(!place.path("run/model").exists());
}

#[test]
fn a_run_file_that_cannot_run_names_line_and_key() {
    let typo = ["run.toml:21: ", "did you mean `steps`?"];
    check_run_file("gpt.toml", "steps = 8", "stesp = 8", &typo);
    check_run_file(
        "gpt.toml",
        "[trainer]",
        "[triner]",
        &["run.toml:20: ", "did you mean `trainer`?"],
    );
    check_run_file("gpt.toml", "n_heads = 2", "n_heads = 5", &["run.toml:18: ", "n_heads"]);
    check_run_file("gpt.toml", "seed = 1", "seed = ", &["run.toml:3: "]);
    check_run_file("gpt.toml", "steps = 8", "steps = -8", &["run.toml:21: ", "trainer.steps"]);
    check_run_file("gpt.toml", "steps = 8", "warmup_steps = 8", &["trainer", "steps"]);
    check_run_file("gpt.toml", "type = \"character\"", "type = \"characters\"", &["run.toml:11: "]);
    check_run_file("gpt.toml", "n_layers = 2", "n_layers = 2\nvocab_size = 3", &["vocab_size"]);
    check_run_file("gpt.toml", "\"tail\"", "\"none\"", &["validation.share"]);
    let none = ["run.toml:13: ", "[samples]", "[model]"];
    check_run_file("gpt.toml", "[model]", "[samples]", &none);
    check_run_file("bert.toml", "whole_words", "whole_word", &["did you mean `whole_words`?"]);
    let share = ["run.toml:23: ", "`samples.share`"];
    check_run_file("bert.toml", "whole_words = true", "share = 1.5", &share);
}

/// Trains on a text, and expects the data stage to refuse it.
fn check_text(text: &[u8], part: &str) {
    let place = Place::new("gpt.toml");
    place.write("text.txt", text);
    check(&place, &["train", "run.toml"], 1, part);
}

#[test]
fn a_text_that_is_none_names_the_file() {
    check_text(b"", "document");
    check_text(b"ab\n\xff\xfe cd\n", "text.txt");
    check_text(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0", "text.txt");
    let place = Place::new("gpt.toml");
    std::fs::remove_file(place.path("text.txt")).expect("it is there");
    check(&place, &["data", "prepare", "run.toml"], 1, "text.txt");
}

#[test]
fn what_is_broken_in_a_model_folder_is_told() {
    let place = Place::new("gpt.toml");
    place.done(&["train", "run.toml"]);
    check(
        &place,
        &["evaluate", "--model", "run", "--task", "perplexity", "--data", "none.txt"],
        1,
        "none.txt",
    );
    place.write("empty.txt", b"");
    check(
        &place,
        &["evaluate", "--model", "run", "--task", "perplexity", "--data", "empty.txt"],
        1,
        "empty",
    );
    place.write("binary.txt", b"a\nb\xff");
    check(
        &place,
        &["evaluate", "--model", "run", "--task", "perplexity", "--data", "binary.txt"],
        1,
        "binary.txt, line 2",
    );
    check(
        &place,
        &[
            "evaluate",
            "--model",
            "run",
            "--task",
            "perplexity",
            "--data",
            "text.txt",
            "--stride",
            "99",
        ],
        2,
        "stride",
    );
    check(&place, &["fill-mask", "--model", "run", "a [MASK]"], 1, "mask");

    let weights = place.path("run/model/model.safetensors");
    let bytes = std::fs::read(&weights).expect("it is there");
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("it can be written");
    check(&place, &["generate", "--model", "run", "--prompt", "a"], 1, "model.safetensors");
    std::fs::write(&weights, b"").expect("it can be written");
    check(&place, &["generate", "--model", "run", "--prompt", "a"], 1, "model.safetensors");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let place = Place::new("gpt.toml");
    let mut child = place
        .command(&["doctor"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let said = said(child.wait_with_output().expect("it ends"));
    assert_eq!((said.status, said.stderr.as_str()), (Some(0), ""));
}
