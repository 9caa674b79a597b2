//! Fine-tuning: a base and labelled rows to a classifier that predicts, in every format; what cannot be is told with its place.

use crate::support::{Place, lines};

const RUN: &str = r#"
run = "tuned"
seed = 3
[task]
type = "classification"
class_weights = "balanced"
[data]
train = "train.tsv"
validation = "dev.tsv"
[model]
from = "run"
[trainer]
epochs = 8
global_batch_size = 4
learning_rate = 5e-3
best_by = "macro_f1"
validate_every = 5
checkpoint_every = 5
"#;

/// A base trained for a few steps, and rows whose label their words give away; `bad` is twice as frequent.
fn place(base: &str) -> Place {
    let place = Place::new(base);
    place.done(&["train", "run.toml"]);
    let row = |i: usize| {
        let (word, label) = [("wall", "good"), ("seven", "bad"), ("seven", "bad")][i % 3];
        format!("{}\t{label}\n", format!("{word} ").repeat(1 + i % 4).trim())
    };
    place.write("train.tsv", (0..36).map(row).collect::<String>().as_bytes());
    place.write("dev.tsv", (0..9).map(row).collect::<String>().as_bytes());
    place.write("tune.toml", RUN.as_bytes());
    place
}

fn check(base: &str, architecture: &str) {
    let place = place(base);
    let said = lines(&place.done(&["train", "tune.toml", "--json"]));
    let last = &said[said.len() - 1];
    let read = |name: &str| std::fs::read_to_string(place.path(name)).expect(name);
    assert_eq!((&last["done"], &last["accuracy"]["n"]), (&true.into(), &9.into()));
    assert_eq!(last["accuracy"]["value"], 1.0, "{last}");
    // The two crates that know the score agree on it at every evaluation.
    let best = said.iter().filter_map(|line| line["macro_f1"].as_f64()).fold(0.0, f64::max);
    assert!((last["macro_f1"]["value"].as_f64().expect("a number") - best).abs() < 1e-12, "{last}");
    let config: serde_json::Value =
        serde_json::from_str(&read("tuned/model/config.json")).expect("JSON");
    assert_eq!(config["architectures"][0], architecture);
    assert_eq!((&config["id2label"]["0"], &config["label2id"]["good"]), (&"bad".into(), &1.into()));
    let report = read("tuned/report.md");
    assert!(report.contains("| accuracy | 1.0000 (95 % interval 0.70"), "{report}");
    assert!(report.contains("| good | 0 | 3 |"), "{report}");
    let recorded = read("tuned/run.toml");
    assert!(recorded.contains("class_weights = \"balanced\""), "{recorded}");
    for (text, label) in [("wall wall", "good"), ("seven", "bad")] {
        let said = place.json(&["predict", "--model", "tuned", text]);
        assert_eq!(said[0]["label"], label, "{said:?}");
    }
    // Once more: it is done already, and says so with the same scores.
    let again = lines(&place.done(&["train", "tune.toml", "--json"]));
    assert_eq!(again[again.len() - 1]["accuracy"], last["accuracy"]);
}

#[test]
fn an_encoder_learns_labels() {
    check("bert.toml", "BertForSequenceClassification");
}

#[test]
fn a_decoder_learns_labels() {
    check("gpt.toml", "GPT2ForSequenceClassification");
}

#[test]
fn csv_and_jsonl_give_the_same_run() {
    let place = place("bert.toml");
    let tsv = std::fs::read_to_string(place.path("train.tsv")).expect("just written");
    let rows = || tsv.lines().filter_map(|line| line.split_once('\t'));
    let csv: String = rows().map(|(text, label)| format!("{label},\"{text}\"\n")).collect();
    place.write("train.csv", format!("stars,review\n{csv}").as_bytes());
    let jsonl: String =
        rows().map(|(text, label)| format!("{{\"r\":\"{text}\",\"s\":\"{label}\"}}\n")).collect();
    place.write("train.jsonl", jsonl.as_bytes());
    let weights = |set: &[&str], folder: &str| {
        let folder = format!("run=\"{folder}\"");
        let fixed =
            ["--set", "data.validation=train.tsv", "--set", "trainer.epochs=1", "--set", &folder];
        let mut line = vec!["train", "tune.toml"];
        line.extend(fixed);
        for change in set {
            line.extend(["--set", change]);
        }
        place.done(&line);
    };
    weights(&[], "a");
    let csv = [
        "data.train=train.csv",
        "data.validation=train.csv",
        "data.text=review",
        "data.label=stars",
    ];
    weights(&csv, "b");
    let jsonl =
        ["data.train=train.jsonl", "data.validation=train.jsonl", "data.text=r", "data.label=s"];
    weights(&jsonl, "c");
    let read =
        |run: &str| std::fs::read(place.path(run).join("model/model.safetensors")).expect(run);
    assert!(read("a") == read("b") && read("b") == read("c"));
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    let place = place("bert.toml");
    let check = |set: &[&str], status: i32, expected: &str| {
        let mut line = vec!["train", "tune.toml"];
        for change in set {
            line.extend(["--set", change]);
        }
        let said = place.call(&line);
        assert_eq!(said.status, Some(status), "{set:?}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{set:?}: {}", said.stderr);
    };
    check(&["data.lable=2"], 2, "unknown key `lable` of [data]; did you mean `label`?");
    check(&["task.type=regression"], 2, "`task.type`");
    check(
        &["model.from=nowhere"],
        2,
        "tune.toml:11: `model.from`: nowhere: no such folder or file",
    );
    check(
        &["model.max_length=99"],
        2,
        "`model.max_length`: is 99, must be from 1 to the model's 16",
    );
    check(&["trainer.patience=0"], 2, "`trainer.patience`");
    check(
        &["trainer.class_weights=[1.0]"],
        2,
        "`trainer.class_weights`: is worked out from `task.class_weights`",
    );
    check(
        &["task.class_weights={ fine = 2.0 }"],
        2,
        "the rows have no label `fine`, only bad, good",
    );
    check(&["data.label=3"], 1, "train.tsv, line 1: no column 3 of 2");
    place.write("dev.tsv", b"wall\tgood\nwall\tugly\n");
    check(&[], 1, "dev.tsv: line 2: the training rows have no label `ugly`");
    place.write("dev.tsv", b"wall\tgood\nwall\n");
    check(&[], 1, "dev.tsv, line 2: 1 columns, the first line has 2; on_bad_row = \"drop\"");
    place.write("train.tsv", b"wall\tgood\nseven\tgood\n");
    check(&["data.on_bad_row=drop"], 1, "has 1 labels, two are needed");
    let said = place.call(&["estimate", "tune.toml"]);
    assert_eq!(said.status, Some(2));
    assert!(said.stderr.contains("only `idiolect train` takes"), "{}", said.stderr);
}
