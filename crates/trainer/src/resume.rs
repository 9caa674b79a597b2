//! What a checkpoint says of its run and what this run says come in; differences go out, as warnings or as an error that names the key.

use crate::checkpoint::{Identity, State};
use crate::{Error, Plan, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

// Keys that change no number of the run.
const HARMLESS: [&str; 11] = [
    "trainer.checkpoint_every",
    "trainer.keep_last",
    "trainer.keep_best",
    "trainer.log_every",
    "trainer.validate_every",
    "trainer.validation_batches",
    "trainer.max_non_finite",
    "trainer.best_by",
    "trainer.patience",
    "trainer.threads",
    "trainer.resume",
];

// Keys that a run cannot go on without, besides the model's.
const SENSELESS: [&str; 2] = ["trainer.optimizer.type", "data.tokenizer"];

/// Compares a checkpoint with the run that wants to go on from it. Another model, optimizer or tokenizer (whose ids mean other
/// text), or fewer steps than are done, make no sense; all else that changes numbers is told. Of a run that is done nothing may
/// differ: its weights would stay, and its report would say that they came from what was never run.
pub fn compare(
    path: &Path,
    saved: &State,
    now: &Identity,
    (plan, is_done): (&Plan, bool),
) -> Result<Vec<String>> {
    let differs = |key: &str, was: &str, now: &str| Error::Resume {
        path: path.into(),
        key: key.into(),
        was: was.into(),
        now: now.into(),
    };
    if plan.steps < saved.progress.step {
        let (was, now) = (format!("past step {}", saved.progress.step), plan.steps.to_string());
        return Err(differs("trainer.steps", &was, &now));
    }
    let mut warnings = Vec::new();
    for (key, was, now) in differences(&saved.identity, now) {
        if key.starts_with("model.") || SENSELESS.contains(&key.as_str()) {
            return Err(differs(&key, &was, &now));
        }
        if HARMLESS.contains(&key.as_str()) {
            continue;
        }
        if is_done && !key.starts_with("environment.") {
            return Err(Error::Finished { path: path.into(), key, was, now });
        }
        warnings.push(format!(
            "{key} was {was} and is now {now}: the run will not equal one that was never stopped"
        ));
    }
    Ok(warnings)
}

fn differences(saved: &Identity, now: &Identity) -> Vec<(String, String, String)> {
    let (saved, now) = (flat(saved), flat(now));
    let keys: std::collections::BTreeSet<&String> = saved.keys().chain(now.keys()).collect();
    let absent = || "absent".to_owned();
    keys.into_iter()
        .map(|key| (key, saved.get(key), now.get(key)))
        .filter(|(_, was, now)| was != now)
        .map(|(key, was, now)| {
            let text = |value: Option<&String>| value.cloned().unwrap_or_else(absent);
            (key.clone(), text(was), text(now))
        })
        .collect()
}

// `{"a": {"b": 1}}` becomes `a.b -> 1`.
fn flat(identity: &Identity) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    flatten("", &serde_json::to_value(identity).unwrap_or_default(), &mut out);
    out
}

fn flatten(prefix: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, out);
            }
        }
        Value::Null => {}
        _ => {
            out.insert(prefix.to_owned(), value.to_string());
        }
    }
}
