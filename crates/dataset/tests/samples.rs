//! Laws of samples: what an epoch covers, what is masked, who sees whom.

use idiolect_dataset::{
    Batch, CausalConfig, CausalSamples, IGNORE_LABEL, MaskVocab, MaskedConfig, MaskedSamples,
    Order, Samples, TokenStore, Tokens,
};
use proptest::prelude::*;
use std::sync::Arc;

/// Ids 0 to 3 are [PAD], [CLS], [SEP] and [MASK]; every third id from 100 on continues a word.
fn vocab() -> MaskVocab {
    MaskVocab {
        pad: 0,
        cls: 1,
        sep: 2,
        mask: 3,
        special: (0..200).map(|id| id < 4).collect(),
        continues_word: (0..200).map(|id| id >= 100 && id % 3 == 0).collect(),
    }
}

fn store(documents: &[Vec<u32>]) -> Arc<TokenStore> {
    let mut store = TokenStore::default();
    for ids in documents {
        store.push(ids, ids.len() as u64 * 5 + 1);
    }
    Arc::new(store)
}

fn causal(store: &Arc<TokenStore>, config: CausalConfig) -> CausalSamples {
    CausalSamples::new(store.clone(), config).unwrap()
}

fn all(samples: &dyn Samples, epoch: u64) -> Batch {
    samples.batch(epoch, &(0..samples.len()).collect::<Vec<_>>()).unwrap()
}

prop_compose! {
    fn documents(least: usize)(
        documents in proptest::collection::vec(
            proptest::collection::vec(4u32..200, 0..30), least..12),
        end in proptest::collection::vec(4u32..200, 40),
    ) -> Vec<Vec<u32>> {
        [documents, vec![end]].concat()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_window_is_seen_once_an_epoch_by_one_rank(
        count in 20u64..400,
        context in 1usize..19,
        ranks in 1u64..5,
        seed: u64,
        epoch in 0u64..3,
        shift_windows: bool,
    ) {
        // The ids are their own positions.
        let store = Arc::new(TokenStore::new((0..count as u32).collect()));
        let config = CausalConfig { shift_windows, seed, ..CausalConfig::new(context) };
        let samples = causal(&store, config);
        let order = Order::new(seed, epoch, samples.len());
        let mut seen = vec![0; count as usize];
        for rank in 0..ranks {
            for index in (rank..samples.len()).step_by(ranks as usize) {
                let batch = samples.batch(epoch, &[order.at(index)]).unwrap();
                for (id, label) in batch.ids.iter().zip(&batch.labels) {
                    prop_assert_eq!(id + 1, *label);
                    seen[*label as usize] += 1;
                }
            }
        }
        prop_assert!(seen.iter().all(|&times| times <= 1));
        let missed = seen[1..].iter().filter(|&&times| times == 0).count() as u64;
        prop_assert_eq!(missed, samples.remainder());
        let most = context as u64 * if shift_windows { 2 } else { 1 };
        prop_assert!(samples.remainder() < most);
    }

    #[test]
    fn validation_predicts_every_id_but_the_first(documents in documents(0), context in 1usize..17) {
        let store = store(&documents);
        let samples = causal(&store, CausalConfig::new(context).for_validation());
        let batch = all(&samples, 0);
        let labels: Vec<u32> =
            batch.labels.iter().filter(|&&l| l != IGNORE_LABEL).map(|&l| l as u32).collect();
        prop_assert_eq!(&labels, &documents.concat()[1..]);
        prop_assert_eq!(samples.remainder(), 0);
    }

    #[test]
    fn isolated_documents_are_told_apart(documents in documents(1), context in 1usize..17) {
        let store = store(&documents);
        let config = CausalConfig { isolate_documents: true, ..CausalConfig::new(context) };
        let batch = all(&causal(&store, config), 0);
        let document_ids = batch.document_ids.unwrap();
        let position_ids = batch.position_ids.unwrap();
        for (cell, position) in (0..batch.ids.len()).zip(0u64..) {
            let here = store.document_at(position);
            let row_start = position - position % context as u64;
            let start = if here == 0 { 0 } else { store.document_end(here - 1) };
            prop_assert_eq!(position_ids[cell] as u64, position - start.max(row_start));
            let same = |other: u64| document_ids[other as usize] == document_ids[cell];
            for other in row_start..position {
                prop_assert_eq!(same(other), store.document_at(other) == here);
            }
            let ends = store.document_end(here) == position + 1;
            prop_assert_eq!(batch.labels[cell] == IGNORE_LABEL, ends);
        }
    }

    #[test]
    fn label_bytes_add_up(documents in documents(0), context in 1usize..17, isolate: bool) {
        let documents: Vec<_> = documents.into_iter().filter(|ids| !ids.is_empty()).collect();
        let config = CausalConfig { isolate_documents: isolate, ..CausalConfig::new(context) };
        let config = config.for_validation();
        // By the table: exactly the bytes of the labels.
        let table: Vec<u32> = (0..200).map(|id| id % 7).collect();
        let known = TokenStore::from_documents(&documents).with_token_bytes(table.clone());
        let batch = all(&causal(&Arc::new(known), config.clone()), 0);
        let sum: u64 = batch.labels.iter().filter(|&&l| l != IGNORE_LABEL).map(|&l| u64::from(table[l as usize])).sum();
        prop_assert_eq!(batch.label_bytes, sum);
        // By documents: all bytes but those of the ids that nothing predicts.
        let batch = all(&causal(&store(&documents), config), 0);
        let bytes = |ids: &Vec<u32>| ids.len() as u64 * 5 + 1;
        let first = |ids: &Vec<u32>| bytes(ids) / ids.len() as u64;
        let unpredicted: u64 = documents.iter().take(if isolate { usize::MAX } else { 1 }).map(first).sum();
        let total: u64 = documents.iter().map(bytes).sum();
        prop_assert_eq!(batch.label_bytes, total - unpredicted);
    }

    #[test]
    fn the_stated_share_is_masked_and_never_a_special_token(
        ids in proptest::collection::vec(0u32..200, 100..400),
        context in 5usize..80,
        share in 0.05f64..0.6,
        seed: u64,
        epoch in 0u64..4,
    ) {
        let store = Arc::new(TokenStore::new(ids.clone()));
        let config = MaskedConfig { share, seed, ..MaskedConfig::new(context) };
        let samples = MaskedSamples::new(store, vocab(), config).unwrap();
        let batch = all(&samples, epoch);
        prop_assert_eq!(&batch, &all(&samples, epoch));
        let text = ids.chunks_exact(context - 2);
        for ((row, labels), text) in batch.ids.chunks(context).zip(batch.labels.chunks(context)).zip(text) {
            prop_assert_eq!((row[0], row[context - 1]), (1, 2));
            prop_assert_eq!((labels[0], labels[context - 1]), (IGNORE_LABEL, IGNORE_LABEL));
            let maskable = text.iter().filter(|&&id| id >= 4).count();
            let wanted = ((maskable as f64 * share).round() as usize).clamp(1.min(maskable), maskable);
            let masked = labels.iter().filter(|&&label| label != IGNORE_LABEL).count();
            prop_assert_eq!(masked, wanted);
            for ((&id, &label), &original) in row[1..].iter().zip(&labels[1..]).zip(text) {
                if label == IGNORE_LABEL {
                    prop_assert_eq!(id, i64::from(original));
                } else {
                    prop_assert_eq!(label, i64::from(original));
                    prop_assert!(original >= 4 && id >= 3);
                }
            }
        }
    }

    #[test]
    fn whole_words_are_masked_whole(documents in documents(0), seed: u64, share in 0.1f64..0.5) {
        let config = MaskedConfig { whole_words: true, share, seed, ..MaskedConfig::new(42) };
        let samples = MaskedSamples::new(store(&documents), vocab(), config.for_validation()).unwrap();
        let batch = all(&samples, 0);
        let ids = documents.concat();
        for (labels, text) in batch.labels.chunks(42).zip(ids.chunks(40)) {
            let masked: Vec<bool> = labels[1..].iter().map(|&l| l != IGNORE_LABEL).collect();
            let continues = |at: usize| vocab().continues_word[text[at] as usize];
            for at in 1..text.len() {
                prop_assert!(!continues(at) || masked[at] == masked[at - 1]);
            }
            let longest = (0..text.len()).map(|at| 1 + (at + 1..text.len()).take_while(|&at| continues(at)).count()).max();
            let wanted = (text.len() as f64 * share).round() as usize;
            let count = masked.iter().filter(|&&masked| masked).count();
            prop_assert!(count >= 1 && count <= wanted.max(longest.unwrap_or(1)));
        }
    }

    #[test]
    fn isolated_rows_hold_one_document(documents in documents(0), context in 5usize..20) {
        let config = MaskedConfig { isolate_documents: true, ..MaskedConfig::new(context) };
        let samples = MaskedSamples::new(store(&documents), vocab(), config).unwrap();
        let batch = all(&samples, 3);
        let rows: Vec<_> = documents.iter().flat_map(|ids| ids.chunks(context - 2)).collect();
        prop_assert_eq!(rows.len(), batch.rows);
        let mask = batch.attention_mask.clone().unwrap_or(vec![1; batch.ids.len()]);
        for (row, text) in rows.into_iter().enumerate() {
            let cells = row * context..(row + 1) * context;
            let real = mask[cells.clone()].iter().filter(|&&real| real == 1).count();
            prop_assert_eq!(real, text.len() + 2);
            let ids = &batch.ids[cells.clone()];
            prop_assert_eq!((ids[0], ids[real - 1]), (1, 2));
            prop_assert!(ids[real..].iter().all(|&id| id == 0));
            for ((&id, &label), &original) in ids[1..].iter().zip(&batch.labels[cells][1..]).zip(text) {
                prop_assert_eq!(if label == IGNORE_LABEL { id } else { label }, i64::from(original));
            }
        }
        prop_assert_eq!(batch.label_bytes, documents.iter().filter(|d| !d.is_empty()).map(|d| d.len() as u64 * 5 + 1).sum::<u64>());
    }
}

#[test]
fn masks_are_fresh_each_epoch_and_fixed_in_validation() {
    let store = Arc::new(TokenStore::new(vec![50; 4000]));
    let config = MaskedConfig::new(42);
    let samples = MaskedSamples::new(store.clone(), vocab(), config.clone()).unwrap();
    assert_ne!(all(&samples, 0).labels, all(&samples, 1).labels);
    // A sample's mask does not depend on the batch it is in.
    assert_eq!(samples.batch(1, &[7]).unwrap().ids, all(&samples, 1).ids[7 * 42..8 * 42]);
    let samples = MaskedSamples::new(store, vocab(), config.for_validation()).unwrap();
    assert_eq!(all(&samples, 0), all(&samples, 1));
}

#[test]
fn of_the_masked_80_percent_are_hidden_10_random_10_kept() {
    let store = Arc::new(TokenStore::new(vec![50; 126 * 1000]));
    let config = MaskedConfig { share: 0.3, ..MaskedConfig::new(128) };
    let samples = MaskedSamples::new(store, vocab(), config).unwrap();
    let batch = all(&samples, 0);
    let mut shown = [0u32; 3];
    for (&id, _) in batch.ids.iter().zip(&batch.labels).filter(|(_, l)| **l != IGNORE_LABEL) {
        shown[match id {
            3 => 0,
            50 => 2,
            _ => 1,
        }] += 1;
    }
    let total: u32 = shown.iter().sum();
    assert_eq!(total, 38 * 1000);
    for (count, expected) in shown.into_iter().zip([0.8, 0.1, 0.1]) {
        let share = f64::from(count) / f64::from(total);
        assert!((share - expected).abs() < 0.01, "{share} instead of {expected}");
    }
}

#[test]
fn refuses_what_cannot_be() {
    let causal = |ids: usize, context| {
        CausalSamples::new(Arc::new(TokenStore::new(vec![5; ids])), CausalConfig::new(context))
    };
    let check = |error: idiolect_dataset::Error, expected: &str| {
        assert_eq!(error.to_string(), expected);
    };
    check(causal(4, 4).err().unwrap(), "4 tokens do not fill one sample, which needs 5");
    check(causal(0, 4).err().unwrap(), "0 tokens do not fill one sample, which needs 5");
    check(causal(5, 0).err().unwrap(), "`context_length`: must be at least 1");
    check(causal(5, 4).unwrap().batch(0, &[1]).unwrap_err(), "sample 1 of 1");
    let masked = |config: MaskedConfig, vocab| {
        MaskedSamples::new(Arc::new(TokenStore::new(vec![5; 9])), vocab, config).err().unwrap()
    };
    let config = MaskedConfig { share: 0.0, ..MaskedConfig::new(5) };
    check(masked(config, vocab()), "`share`: must lie above 0 and not above 1");
    let config = MaskedConfig { mask_share: 0.95, ..MaskedConfig::new(5) };
    check(masked(config, vocab()), "`mask_share`: and random_share add up to more than 1");
    let vocab = MaskVocab { special: vec![true; 200], ..vocab() };
    check(masked(MaskedConfig::new(5), vocab), "`tokenizer`: has no token that is not special");
}
