//! Labelled samples: every row comes once an epoch with its own label, in batches of about one length.

use idiolect_dataset::{
    LabelVocab, LabelledRow, LabelledRows, LabelledSamples, LabelledSamplesConfig, Samples,
};
use idiolect_tokenizer::{TrainConfig, train};
use proptest::prelude::*;

/// Row `i` is a text of `lengths[i]` letters; its label is their letter.
fn samples(lengths: &[usize], batch_rows: usize) -> LabelledSamples {
    let letter = |row: usize| ["a", "b", "c"][row % 3];
    let rows: Vec<LabelledRow> = (0..lengths.len())
        .map(|row| LabelledRow {
            text: letter(row).repeat(lengths[row]),
            label: letter(row).into(),
            line: row as u64 + 1,
        })
        .collect();
    let rows = LabelledRows { path: "rows.tsv".into(), rows, dropped: 0 };
    let tokenizer = train(["abc"].into_iter(), &TrainConfig::character(), &mut |_| ()).unwrap();
    let vocab = LabelVocab::new(["a", "b", "c"]).unwrap();
    let config = LabelledSamplesConfig { max_length: 40, pad_id: 0, batch_rows };
    LabelledSamples::new(&rows, &vocab, &tokenizer, config).unwrap()
}

/// The batches of steps over some epochs, as a trainer cuts them.
fn steps(samples: &LabelledSamples, rows: u64, epochs: u64) -> Vec<Vec<(u64, u64)>> {
    let total = samples.len() * epochs;
    let at = |cursor: u64| {
        let (epoch, index) = (cursor / samples.len(), cursor % samples.len());
        (epoch, samples.sample_at(3, epoch, index))
    };
    (0..total.div_ceil(rows))
        .map(|step| (step * rows..(step * rows + rows).min(total)).map(at).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_row_comes_once_an_epoch(lengths in prop::collection::vec(1usize..30, 2..120), rows in 1usize..9) {
        let samples = samples(&lengths, rows);
        let mut seen = vec![0; lengths.len() * 3];
        for (epoch, sample) in steps(&samples, rows as u64, 3).concat() {
            seen[epoch as usize * lengths.len() + sample as usize] += 1;
        }
        prop_assert!(seen.iter().all(|&count| count == 1));
    }

    #[test]
    fn labels_and_ids_stay_with_their_rows(lengths in prop::collection::vec(1usize..60, 2..40), sorted: bool) {
        let samples = samples(&lengths, 4);
        let alone: Vec<_> = (0..lengths.len() as u64).map(|row| samples.batch(0, &[row]).unwrap()).collect();
        prop_assert!(alone.iter().all(|batch| batch.attention_mask.is_none()));
        prop_assert!(alone.iter().zip(&lengths).all(|(batch, &length)| batch.columns == length.min(40)));
        let letters: Vec<i64> = (0..3).map(|row| samples.batch(0, &[row % lengths.len() as u64]).unwrap().ids[0]).collect();
        let samples = if sorted { samples.sorted_by_length() } else { samples };
        let all: Vec<u64> = (0..samples.len()).collect();
        let batch = samples.batch(0, &all).unwrap();
        let classes = batch.classes.unwrap();
        for row in 0..lengths.len() {
            let ids = &batch.ids[row * batch.columns..(row + 1) * batch.columns];
            let real = match &batch.attention_mask {
                Some(mask) => mask[row * batch.columns..(row + 1) * batch.columns].iter().sum::<i64>() as usize,
                None => batch.columns,
            };
            let known = (lengths.len() > 2).then(|| letters[classes[row] as usize]);
            prop_assert!(known.is_none_or(|letter| ids[..real].iter().all(|&id| id == letter)));
            prop_assert!(ids[real..].iter().all(|&id| id == 0));
        }
        let lengths: Vec<i64> = match batch.attention_mask {
            Some(mask) => mask.chunks(batch.columns).map(|row| row.iter().sum()).collect(),
            None => Vec::new(),
        };
        prop_assert!(!sorted || lengths.is_sorted());
    }
}

#[test]
fn steps_are_of_about_one_length_in_every_epoch() {
    // 203 rows in steps of 8: no epoch after the first begins with a step.
    let lengths: Vec<usize> = (0..203).map(|row| 1 + row * 37 % 29).collect();
    let samples = samples(&lengths, 8);
    let steps = steps(&samples, 8, 4);
    let spread = |step: &Vec<(u64, u64)>| {
        let lengths = step.iter().map(|&(_, sample)| lengths[sample as usize]);
        lengths.clone().max().unwrap() - lengths.min().unwrap()
    };
    // The last step, and those that span two epochs, take what is left over.
    let whole = steps.iter().rev().skip(1).filter(|step| step.iter().all(|row| row.0 == step[0].0));
    let spreads: Vec<usize> = whole.map(spread).collect();
    assert!(spreads.len() >= 4 * (203 / 8 - 1));
    assert!(spreads.iter().all(|&spread| spread <= 3), "{spreads:?}");
    let order =
        |seed, epoch| (0..203).map(|i| samples.sample_at(seed, epoch, i)).collect::<Vec<_>>();
    assert_ne!(order(1, 0), order(1, 1));
    assert_ne!(order(1, 0), order(2, 0));
    assert_eq!(order(1, 0), order(1, 0));
    assert_eq!(samples.class_counts(3), [68, 68, 67]);
}
