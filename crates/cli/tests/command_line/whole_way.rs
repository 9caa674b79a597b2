//! From text to a trained model and back to text.

use serde_json::Value;

use crate::support::{Place, lines};

#[test]
fn a_gpt_from_text_to_text() {
    let place = Place::new("gpt.toml");
    let report = &place.json(&["data", "prepare", "run.toml"])[0];
    assert!(report.is_object());
    assert_eq!(report, &place.json(&["data", "report", "run"])[0]);

    let steps = place.json(&["train", "run.toml"]);
    let end = steps.last().expect("a last line");
    assert_eq!((&end["done"], &end["run"]), (&Value::Bool(true), &Value::from("run")));
    assert!(steps.iter().any(|line| line["step"] == 8 && line["loss"].is_f64()), "{steps:?}");
    assert!(place.path("run/model/tokenizer.json").is_file());
    assert!(place.path("run/report.md").is_file());

    let again = place.call(&["train", "run.toml"]);
    assert_eq!(again.status, Some(0), "{}", again.stderr);

    generates(&place);
    evaluates(&place);
    tokenizes(&place);
}

fn generates(place: &Place) {
    let generate = ["generate", "--model", "run", "--prompt", "ten ", "--max-new-tokens", "9"];
    let line = &place.json(&generate)[0];
    assert_eq!(line["ids"].as_array().map(Vec::len), Some(9));
    assert_eq!(line["finish_reason"], "length");
    let text = place.done(&generate);
    assert_eq!(
        text.trim_end_matches('\n'),
        line["text"].as_str().expect("text").trim_end_matches('\n')
    );

    let sampled = |seed: &str| {
        place.json(&[&generate[..], &["--temperature", "1", "--seed", seed]].concat())[0]["ids"]
            .clone()
    };
    assert_eq!(sampled("3"), sampled("3"));
    assert_ne!(sampled("3"), sampled("4"));

    let scoring = ["--echo", "--max-new-tokens", "0", "--logprobs", "--prompt", "wall"];
    let scored = &place.json(&[&["generate", "--model", "run"], &scoring[..]].concat())[0];
    assert_eq!(scored["prompt_ids"].as_array().map(Vec::len), Some(4));
    assert_eq!(scored["prompt_logprobs"][0], Value::Null);
    assert!(scored["prompt_logprobs"][3].as_f64().is_some_and(|value| value < 0.0));
}

fn evaluates(place: &Place) {
    let figures = place.json(&[
        "evaluate",
        "--model",
        "run/model",
        "--task",
        "perplexity",
        "--data",
        "text.txt",
    ]);
    let names: Vec<&str> = figures.iter().filter_map(|figure| figure["metric"].as_str()).collect();
    assert_eq!(names, ["nats_per_token", "perplexity", "bits_per_byte"]);
    let keys = ["task", "version", "metric", "filter", "n_shot", "value", "stderr", "ci95", "n"];
    let of_first: Vec<&String> = figures[0].as_object().expect("an object").keys().collect();
    assert_eq!(of_first, keys);
    // Plain ASCII, a character a token: the same number in two units.
    let value = |at: usize| figures[at]["value"].as_f64().expect("a number");
    assert!((value(0) / std::f64::consts::LN_2 - value(2)).abs() < 1e-6);
    assert!((value(0).exp() - value(1)).abs() < 1e-6);
    let by_run_file =
        place.json(&["evaluate", "run.toml", "--set", "evaluate.tasks=['perplexity']"]);
    assert_eq!(by_run_file.len(), 3);
}

fn tokenizes(place: &Place) {
    let encoded = &place.json(&["tokenizer", "encode", "run", "on the"])[0];
    assert_eq!(encoded["offsets"][1], serde_json::json!([1, 2]));
    let ids = encoded["ids"].to_string();
    assert_eq!(place.json(&["tokenizer", "decode", "run", &ids])[0]["text"], "on the");

    let mut command = place.command(&["tokenizer", "encode", "run", "--json"]);
    place.write("lines", b"a\nb\n");
    command.stdin(std::fs::File::open(place.path("lines")).expect("just written"));
    let output = command.output().expect("the binary starts");
    assert_eq!(lines(&String::from_utf8(output.stdout).expect("UTF-8")).len(), 2);
}

#[test]
fn a_bert_from_text_to_filled_masks() {
    let place = Place::new("bert.toml");
    place.done(&["train", "run.toml"]);
    let text = "[MASK] green bottles hanging on the [MASK]";
    let line = &place.json(&["fill-mask", "--model", "run", text, "--top-k", "3"])[0];
    let masks = line["predictions"].as_array().expect("a list a mask");
    assert_eq!(masks.len(), 2);
    assert_eq!(masks[0].as_array().map(Vec::len), Some(3));
    let probability = |at: usize| masks[0][at]["probability"].as_f64().expect("a number");
    assert!(probability(0) >= probability(1) && probability(1) >= probability(2));

    let said = place.call(&["generate", "--model", "run", "--prompt", "x"]);
    assert_eq!(said.status, Some(1));
    assert!(said.stderr.contains("masked one"), "{}", said.stderr);
}

#[test]
fn an_estimate_comes_before_anything_is_spent() {
    let place = Place::new("gpt.toml");
    let bill = &place.json(&[
        "estimate",
        "run.toml",
        "--flops",
        "1e9",
        "--watts",
        "100",
        "--price-per-hour",
        "2",
    ])[0];
    assert_eq!(bill["steps"], 8);
    assert_eq!(bill["tokens_per_step"], 128);
    assert!(bill["parameters"]["total"].as_u64().is_some_and(|count| count > 10_000));
    assert!(bill["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(bill["cost"].as_f64().is_some_and(|cost| cost > 0.0));
    assert!(!place.path("run").exists());
}

#[test]
fn the_doctor_says_what_is_there() {
    let found = &Place::new("gpt.toml").json(&["doctor"])[0];
    assert_eq!(found["threads"], 1);
    assert!(found["matmul_f32_flops"].as_f64().is_some_and(|flops| flops > 1e6), "{found}");
}
