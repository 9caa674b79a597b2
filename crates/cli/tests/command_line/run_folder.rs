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
