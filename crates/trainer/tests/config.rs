//! The section `[trainer]`: what is refused, by which key, and what the rest comes to.

use idiolect_trainer::{Error, Plan, ScheduleKind, Spike, TrainerConfig};

fn parse(json: &str) -> Result<TrainerConfig, serde_json::Error> {
    serde_json::from_str(json)
}

// 100 samples of 8 positions.
fn plan(json: &str) -> Result<Plan, Error> {
    parse(json).unwrap().plan(100, 8)
}

fn check_refused(json: &str, expected: &str) {
    match plan(json) {
        Err(Error::Config { key, .. }) => assert_eq!(key, expected, "{json}"),
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn a_wrong_value_names_its_key() {
    check_refused(r#"{}"#, "steps");
    check_refused(r#"{"steps": 0}"#, "steps");
    check_refused(r#"{"steps": 5, "epochs": 1}"#, "epochs");
    check_refused(r#"{"epochs": -1}"#, "epochs");
    check_refused(r#"{"steps": 5, "warmup_steps": 5}"#, "warmup_steps");
    check_refused(r#"{"steps": 5, "learning_rate": 0}"#, "learning_rate");
    check_refused(r#"{"steps": 5, "min_learning_rate": 1}"#, "min_learning_rate");
    check_refused(
        r#"{"steps": 5, "schedule": "constant", "min_learning_rate": 1e-4}"#,
        "min_learning_rate",
    );
    check_refused(r#"{"steps": 5, "decay_steps": 2}"#, "decay_steps");
    check_refused(r#"{"steps": 5, "schedule": "wsd", "decay_steps": 6}"#, "decay_steps");
    check_refused(r#"{"steps": 5, "global_batch_tokens": 12}"#, "global_batch_tokens");
    check_refused(
        r#"{"steps": 5, "global_batch_tokens": 16, "global_batch_size": 2}"#,
        "global_batch_tokens",
    );
    check_refused(r#"{"steps": 5, "micro_batch_size": 0}"#, "micro_batch_size");
    check_refused(
        r#"{"steps": 5, "global_batch_size": 4, "micro_batch_size": 9}"#,
        "micro_batch_size",
    );
    check_refused(r#"{"steps": 5, "global_batch_size": 9000000000000000000}"#, "global_batch_size");
    check_refused(
        r#"{"steps": 5, "global_batch_tokens": 4000000000000, "micro_batch_size": 1}"#,
        "global_batch_tokens",
    );
    check_refused(r#"{"steps": 5, "keep_last": 0}"#, "keep_last");
    check_refused(r#"{"steps": 5, "spike": {"window": 1}}"#, "spike.window");
    check_refused(
        r#"{"steps": 5, "optimizer": {"type": "muon", "momentum": 1}}"#,
        "optimizer.momentum",
    );
}

#[test]
fn a_mistyped_key_is_named() {
    let check = |json: &str, expected: &str| {
        let error = parse(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(r#"{"step": 5}"#, "unknown field `step`");
    check(r#"{"spike": {"sigmas": 5}}"#, "unknown field `sigmas`");
    check(r#"{"spike": "of"}"#, "\"off\" or {");
    check(r#"{"optimizer": {"type": "adamw", "beta": 5}}"#, "unknown field `beta`");
    check(r#"{"optimizer": {"type": "sgd"}}"#, "unknown variant `sgd`");
}

#[test]
fn what_runs() {
    let check = |json: &str, steps: u64, rows: usize, micro_rows: usize| {
        let plan = plan(json).unwrap();
        assert_eq!((plan.steps, plan.rows, plan.micro_rows), (steps, rows, micro_rows), "{json}");
    };
    check(r#"{"steps": 5}"#, 5, 32, 32);
    check(r#"{"steps": 5, "micro_batch_size": 6}"#, 5, 6, 6);
    check(r#"{"epochs": 1.5, "global_batch_size": 4, "micro_batch_size": 4}"#, 38, 4, 4);
    check(r#"{"steps": 1, "global_batch_tokens": 64, "micro_batch_size": 3}"#, 1, 8, 3);
}

#[test]
fn what_is_written_reads_back() {
    for json in [r#"{"steps": 5}"#, r#"{"spike": "off", "optimizer": {"type": "muon"}}"#] {
        let config = parse(json).unwrap();
        assert_eq!(parse(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
    assert_eq!(parse(r#"{"spike": "off"}"#).unwrap().spike, Spike::Off);
    assert_eq!(parse(r#"{"schedule": "wsd"}"#).unwrap().schedule, ScheduleKind::Wsd);
}
