//! What lies in a run's folder: nothing of somebody else's is replaced, and the run's own record runs again.

use crate::support::Place;

/// A call that must fail, naming `part`, and that must leave `file` as it was.
fn check_refused(place: &Place, line: &[&str], part: &str, file: &str) {
    let before = std::fs::read(place.path(file)).expect(file);
    let said = place.call(line);
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains(part), "{}", said.stderr);
    assert_eq!(std::fs::read(place.path(file)).expect(file), before);
}

#[test]
fn a_run_file_in_the_runs_own_folder_is_not_overwritten() {
    let place = Place::new("gpt.toml");
    let here = ["train", "run.toml", "--set", "run='.'"];
    check_refused(&place, &here, "run.toml is no run's", "run.toml");
    let anew = [&here[..], &["--restart"]].concat();
    check_refused(&place, &anew, "run.toml is no run's", "run.toml");
}

#[test]
fn folders_put_there_by_hand_are_not_replaced() {
    let place = Place::new("gpt.toml");
    for folder in ["model", "tokenizer"] {
        std::fs::create_dir_all(place.path(&format!("run/{folder}"))).expect("a folder");
        let file = format!("run/{folder}/mine.txt");
        place.write(&file, b"by hand");
        check_refused(&place, &["train", "run.toml"], folder, &file);
        std::fs::remove_dir_all(place.path(&format!("run/{folder}"))).expect("it is there");
    }
}

#[test]
fn the_record_of_a_run_goes_on_with_it() {
    let place = Place::new("gpt.toml");
    place.done(&["train", "run.toml"]);
    let read = |name: &str| std::fs::read(place.path(name)).expect(name);
    let (record, weights) = (read("run/run.toml"), read("run/model/model.safetensors"));
    let said = place.call(&["train", "run/run.toml"]);
    assert_eq!(said.status, Some(0), "{}", said.stderr);
    assert!(!said.stderr.contains("will not equal"), "{}", said.stderr);
    assert!(record == read("run/run.toml") && weights == read("run/model/model.safetensors"));
    // From another folder as well.
    let inside = place.command(&["train", "run.toml"]).current_dir(place.path("run")).output();
    assert!(inside.expect("the binary starts").status.success());
    assert!(!place.path("run/run").exists());
}

#[test]
fn a_run_folder_that_cannot_be_made_is_named() {
    let place = Place::new("gpt.toml");
    let said = place.call(&["train", "run.toml", "--set", "run='text.txt/run'"]);
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("text.txt/run"), "{}", said.stderr);
}

#[test]
fn training_whose_reader_goes_away_is_not_done() {
    use std::io::{BufRead, BufReader};
    let place = Place::new("gpt.toml");
    let line = ["train", "run.toml", "--set", "trainer.steps=600", "--set", "trainer.log_every=1"];
    let mut command = place.command(&[&line[..], &["--json"]].concat());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut first).expect("a line");
    drop(reader);
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn a_finished_run_under_another_seed_is_refused() {
    let place = Place::new("gpt.toml");
    place.done(&["train", "run.toml"]);
    let other = ["train", "run.toml", "--set", "trainer.learning_rate=0.5"];
    check_refused(&place, &other, "trainer.learning_rate", "run/report.md");
    check_refused(&place, &other, "--restart", "run/run.toml");
}

#[test]
fn compressed_texts_are_scored() {
    let place = Place::new("gpt.toml");
    place.done(&["train", "run.toml"]);
    let text = std::fs::read(place.path("text.txt")).expect("a text");
    place.write("text.txt.zst", &zstd::encode_all(&text[..], 0).expect("packed"));
    let task = ["evaluate", "--model", "run", "--task", "perplexity", "--data"];
    let score = |data: &str| place.json(&[&task[..], &[data]].concat());
    assert_eq!(score("text.txt"), score("text.txt.zst"));
    place.write("bad.txt", b"one\ntwo\n\xff");
    let said = place.call(&[&task[..], &["bad.txt"]].concat());
    assert!(said.stderr.contains("bad.txt, line 3: not UTF-8"), "{}", said.stderr);
}

#[test]
fn what_a_run_trained_on_is_not_made_anew() {
    let place = Place::new("gpt.toml");
    place.done(&["train", "run.toml"]);
    let before = std::fs::read(place.path("run/tokenizer/tokenizer.json")).expect("it is there");
    let other = ["train", "run.toml", "--set", "data.validation.share=0.2"];
    let said = place.call(&other);
    assert_eq!(said.status, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("has trained on it"), "{}", said.stderr);
    assert!(before == std::fs::read(place.path("run/tokenizer/tokenizer.json")).expect("there"));
    place.done(&[&other[..], &["--set", "run=other"]].concat());
    place.done(&[&other[..], &["--restart"]].concat());
    assert!(place.path("run/previous-1/model/tokenizer.json").is_file());
    assert!(place.path("run/model/tokenizer.json").is_file());
}
