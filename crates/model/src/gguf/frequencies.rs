//! A table of rotary divisors (`rope_freqs.weight`) in, the scaling of Llama 3 that makes it out.

use serde_json::{Map, Value, json};
use std::f64::consts::TAU;

/// How far a divisor may be from the one that the scaling found gives, of it.
const TOLERANCE: f64 = 1e-3;

/// Low frequencies are divided by a factor, high ones are kept, between them lies a ramp over the turns within the original
/// context (Grattafiori et al. 2024). Only the ratios of that context and of the ramp's two ends count, so that the lower
/// end is taken to be 1, as in all published models; the others follow from the divisors on the ramp.
pub(super) fn scaling(divisors: &[f32], theta: f64) -> Result<Map<String, Value>, String> {
    let plain = |kind: &str| Map::from_iter([("rope_type".to_string(), json!(kind))]);
    let (Some(&first), Some(&last)) = (divisors.first(), divisors.last()) else {
        return Err("is empty".into());
    };
    if divisors.iter().any(|divisor| !(divisor.is_finite() && *divisor >= 1.0)) {
        return Err("has a divisor that is not a number of 1 or more".into());
    }
    let factor = f64::from(last);
    if divisors.iter().all(|&divisor| divisor == first) {
        let mut map = plain(if factor == 1.0 { "default" } else { "linear" });
        if factor != 1.0 {
            map.insert("factor".into(), json!(factor));
        }
        return Ok(map);
    }
    let pairs = divisors.len() as f64;
    // Turns a position, for each pair of numbers of a head.
    let turns = |pair: usize| theta.powf(-(pair as f64) / pairs) / TAU;
    let found = candidates(divisors, factor, turns).into_iter().find(|&(original, high)| {
        divisors.iter().enumerate().all(|(pair, &divisor)| {
            let share = ((original as f64 * turns(pair) - 1.0) / (high - 1.0)).clamp(0.0, 1.0);
            let expected = 1.0 / ((1.0 - share) / factor + share);
            (f64::from(divisor) / expected - 1.0).abs() < TOLERANCE
        })
    });
    let (original, high) =
        found.ok_or_else(|| "holds divisors that no scaling of Llama 3 makes".to_string())?;
    let mut map = plain("llama3");
    map.extend([
        ("factor".to_string(), json!(factor)),
        ("low_freq_factor".to_string(), json!(1.0)),
        ("high_freq_factor".to_string(), json!(high)),
        ("original_max_position_embeddings".to_string(), json!(original)),
    ]);
    Ok(map)
}

/// Original contexts and upper ends that may be meant: with the usual end of 4, and as two divisors on the ramp say.
fn candidates(divisors: &[f32], factor: f64, turns: impl Fn(usize) -> f64) -> Vec<(u64, f64)> {
    // (turns a position, share that is kept), where it is neither none nor all.
    let share = |divisor: f32| (1.0 / f64::from(divisor) - 1.0 / factor) / (1.0 - 1.0 / factor);
    let ramp: Vec<(f64, f64)> = divisors
        .iter()
        .enumerate()
        .map(|(pair, &divisor)| (turns(pair), share(divisor)))
        .filter(|(_, share)| (1e-4..1.0 - 1e-4).contains(share))
        .collect();
    let mut all: Vec<(f64, f64)> =
        ramp.iter().map(|(turns, share)| ((3.0 * share + 1.0) / turns, 4.0)).collect();
    if let (Some(a), Some(b)) = (ramp.first(), ramp.last())
        && a.1 != b.1
    {
        // share = (original * turns - 1) / (high - 1), at both.
        let slope = (a.1 - b.1) / (a.0 - b.0);
        let width = 1.0 / (slope * a.0 - a.1);
        all.push((slope * width, 1.0 + width));
    }
    // Nothing on the ramp: any that puts it between the last that is kept and the next.
    if let (true, Some(kept)) =
        (ramp.is_empty(), divisors.iter().rposition(|&divisor| divisor == 1.0))
    {
        all.push((4.0 / turns(kept), 4.0));
    }
    let sensible =
        |&(original, high): &(f64, f64)| (1.0..1e9).contains(&original) && high > 1.0 && high < 1e6;
    all.into_iter()
        .filter(sensible)
        .map(|(original, high)| (original.round() as u64, high))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: usize, theta: f64, factor: f64, high: f64, original: f64) -> Vec<f32> {
        let divisor = |pair: usize| {
            let turns = original / (TAU * theta.powf(2.0 * pair as f64 / width as f64));
            let share = ((turns - 1.0) / (high - 1.0)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - share) / factor + share)) as f32
        };
        (0..width / 2).map(divisor).collect()
    }

    #[test]
    fn the_scaling_of_a_table_is_found() {
        for (width, theta, factor, high, original) in [
            (128, 500_000.0, 8.0, 4.0, 8192.0),
            (64, 500_000.0, 32.0, 4.0, 8192.0),
            (128, 500_000.0, 16.0, 8.0, 8192.0),
            (8, 100.0, 4.0, 4.0, 24.0),
        ] {
            let map = scaling(&table(width, theta, factor, high, original), theta).unwrap();
            assert_eq!(map["rope_type"], "llama3");
            assert_eq!(map["factor"], factor);
            let near = |key: &str, expected: f64| {
                let got = map[key].as_f64().unwrap();
                assert!((got / expected - 1.0).abs() < 1e-3, "{key} {got}, not {expected}");
            };
            near("original_max_position_embeddings", original);
            near("high_freq_factor", high);
        }
        assert_eq!(scaling(&[1.0; 4], 1e4).unwrap()["rope_type"], "default");
        assert_eq!(scaling(&[4.0; 4], 1e4).unwrap()["factor"], 4.0);
    }

    #[test]
    fn other_tables_are_refused() {
        for table in
            [&[][..], &[f32::NAN, 1.0], &[0.5, 1.0], &[1.0, 3.0, 2.0, 8.0], &[f32::INFINITY; 3]]
        {
            assert!(scaling(table, 500_000.0).is_err(), "{table:?}");
        }
    }
}
