//! Commands that each print a JSON line in, a table with median ratios and intervals out: runs the sides in turn, again and again.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::process;

/// One program of a comparison. In its arguments `{round}` is the number of the round, from 1.
pub struct Side {
    pub name: &'static str,
    pub program: String,
    pub arguments: Vec<String>,
}

/// A figure that every side prints under this key; `a.b` is the `b` inside of `a`.
#[derive(Clone, Copy)]
pub struct Metric {
    pub key: &'static str,
    pub better: Better,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
    /// Must be the same on all sides; differing is said.
    Equal,
}

/// What is compared: the first side is ours, the others are peers.
pub struct Comparison {
    pub name: String,
    pub sides: Vec<Side>,
    pub metrics: Vec<Metric>,
    pub rounds: usize,
}

/// Sets the environment of a side.
pub type Prepare<'a> = dyn Fn(&mut Command) -> Result<()> + 'a;

type Figures = Map<String, Value>;

/// Runs every side once a round, in an order that turns around each time, and prints a table.
pub fn compare(comparison: &Comparison, log: &Path, prepare: &Prepare) -> Result<()> {
    let mut rounds: Vec<Vec<Figures>> = Vec::new();
    for round in 1..=comparison.rounds {
        let count = comparison.sides.len();
        let mut figures = vec![Figures::new(); count];
        for turn in 0..count {
            let index = if round % 2 == 1 { turn } else { count - 1 - turn };
            let side = &comparison.sides[index];
            figures[index] = run_side(side, round, log, prepare)?;
            record(log, comparison, round, side, &figures[index])?;
            let shown: Vec<String> =
                comparison.metrics.iter().map(|metric| show(&figures[index], metric.key)).collect();
            eprintln!(
                "{} round {round}/{} {}: {}",
                comparison.name,
                comparison.rounds,
                side.name,
                shown.join(", ")
            );
        }
        rounds.push(figures);
    }
    println!("{}", table(comparison, &rounds));
    Ok(())
}

fn run_side(side: &Side, round: usize, log: &Path, prepare: &Prepare) -> Result<Figures> {
    let printed = log.with_extension("out");
    let said = log.with_extension("err");
    let mut command = Command::new(&side.program);
    command.args(side.arguments.iter().map(|word| word.replace("{round}", &round.to_string())));
    command.stdout(Stdio::from(File::create(&printed)?)).stderr(Stdio::from(File::create(&said)?));
    prepare(&mut command)?;
    let shown = process::shown(&command);
    let code = process::status(&mut command)?;
    if code != 0 {
        bail!(
            "`{shown}` ended with status {code}:\n{}",
            fs::read_to_string(&said).unwrap_or_default().trim()
        );
    }
    let text = fs::read_to_string(&printed)?;
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("`{shown}` printed no JSON line"))?;
    serde_json::from_str(line).with_context(|| format!("`{shown}` printed no JSON object: {line}"))
}

/// Keeps every run, a JSON line each.
fn record(
    log: &Path,
    comparison: &Comparison,
    round: usize,
    side: &Side,
    figures: &Figures,
) -> Result<()> {
    let line = serde_json::json!({
        "comparison": comparison.name, "round": round, "side": side.name, "figures": figures,
    });
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "{line}").context("cannot write the log of the bench")
}

fn show(figures: &Figures, key: &str) -> String {
    let value = find(figures, key).map_or_else(|| "?".to_owned(), Value::to_string);
    format!("{key} {value}")
}

fn find<'a>(figures: &'a Figures, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    let first = figures.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// A Markdown table, a row for each metric and peer.
fn table(comparison: &Comparison, rounds: &[Vec<Figures>]) -> String {
    let mut rows = vec![
        format!(
            "\n{}, {} alternating rounds; a ratio above 1 means that ours is better",
            comparison.name,
            rounds.len()
        ),
        "| metric | ours | peer | its | ratio, median | interval | rounds won |".to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    for metric in &comparison.metrics {
        for (index, peer) in comparison.sides.iter().enumerate().skip(1) {
            rows.push(row(metric, peer.name, rounds, index));
        }
    }
    rows.join("\n")
}

fn row(metric: &Metric, peer: &str, rounds: &[Vec<Figures>], index: usize) -> String {
    let key = metric.key;
    if metric.better == Better::Equal {
        let same = rounds
            .iter()
            .all(|round| round[0].get(key).is_some() && round[0].get(key) == round[index].get(key));
        let word = if same { "the same" } else { "DIFFERS" };
        return format!("| {key} | | {peer} | | {word} | | |");
    }
    let number = |figures: &Figures| find(figures, key).and_then(Value::as_f64);
    let pairs: Vec<(f64, f64)> = rounds
        .iter()
        .filter_map(|round| Some((number(&round[0])?, number(&round[index])?)))
        .collect();
    if pairs.is_empty() {
        return format!("| {key} | | {peer} | | not given | | |");
    }
    let ratios: Vec<f64> = pairs
        .iter()
        .map(
            |(ours, theirs)| {
                if metric.better == Better::Lower { theirs / ours } else { ours / theirs }
            },
        )
        .collect();
    let (low, high, coverage) = interval(&ratios);
    let won = ratios.iter().filter(|ratio| **ratio > 1.0).count();
    let ours = median(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let theirs = median(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    format!(
        "| {key} | {ours:.4} | {peer} | {theirs:.4} | {:.3} | {low:.3} to {high:.3} ({:.0} %) | {won} of {} |",
        median(&ratios),
        100.0 * coverage,
        pairs.len()
    )
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The narrowest interval between two order statistics that covers the median with at least 95 % whatever the distribution
/// (the sign test's), or the whole range when there are too few values; with its coverage.
fn interval(values: &[f64]) -> (f64, f64, f64) {
    let sorted = sorted(values);
    let n = sorted.len();
    // P(at most k - 1 of n fall below the median), doubled, is what an interval from the k-th to the (n+1-k)-th misses.
    let (mut k, mut missed) = (1, 2.0 * 0.5_f64.powi(n as i32));
    let mut term = missed;
    while 2 * (k + 1) <= n {
        term *= (n - k + 1) as f64 / k as f64;
        if missed + term > 0.05 {
            break;
        }
        missed += term;
        k += 1;
    }
    (sorted[k - 1], sorted[n - k], (1.0 - missed).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_interval(n: usize, expected: (f64, f64), coverage: f64) {
        let values: Vec<f64> = (1..=n).rev().map(|value| value as f64).collect();
        let (low, high, covered) = interval(&values);
        assert_eq!((low, high), expected, "{n}");
        assert!((covered - coverage).abs() < 0.0005, "{n}: {covered}");
    }

    #[test]
    fn intervals_are_those_of_the_sign_test() {
        check_interval(1, (1.0, 1.0), 0.0);
        check_interval(3, (1.0, 3.0), 0.75);
        check_interval(9, (2.0, 8.0), 0.9609);
        check_interval(15, (4.0, 12.0), 0.9648);
        check_interval(20, (6.0, 15.0), 0.9586);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn sides_alternate_and_are_tabled() {
        let folder = tempfile::tempdir().unwrap();
        let side = |name, line: &str| Side {
            name,
            program: "sh".into(),
            arguments: vec!["-c".into(), format!("echo chatter; echo '{line}'")],
        };
        let comparison = Comparison {
            name: "tiny".into(),
            sides: vec![side("ours", r#"{"ms":2,"ids":7}"#), side("peer", r#"{"ms":3,"ids":7}"#)],
            metrics: vec![
                Metric { key: "ms", better: Better::Lower },
                Metric { key: "ids", better: Better::Equal },
            ],
            rounds: 2,
        };
        let log = folder.path().join("log.jsonl");
        compare(&comparison, &log, &|_| Ok(())).unwrap();
        let order: Vec<String> = fs::read_to_string(&log)
            .unwrap()
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["side"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(order, ["ours", "peer", "peer", "ours"]);
        let figures = |ms: f64| {
            Map::from_iter([("ms".to_owned(), Value::from(ms)), ("ids".to_owned(), Value::from(7))])
        };
        let text = table(&comparison, &[vec![figures(2.0), figures(3.0)]]);
        assert!(text.contains("| ms | 2.0000 | peer | 3.0000 | 1.500 |"), "{text}");
        assert!(text.contains("| ids | | peer | | the same |"), "{text}");
    }

    #[test]
    fn a_failing_side_says_why() {
        let side = Side {
            name: "ours",
            program: "sh".into(),
            arguments: vec!["-c".into(), "echo bad >&2; exit 3".into()],
        };
        let folder = tempfile::tempdir().unwrap();
        let error = run_side(&side, 1, &folder.path().join("log.jsonl"), &|_| Ok(()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("status 3") && error.contains("bad"), "{error}");
    }
}
