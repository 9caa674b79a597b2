//! With a real tokenizer: shards of text, and the bytes behind the labels.

use idiolect_dataset::{
    CausalConfig, CausalSamples, Document, Error, IGNORE_LABEL, MaskVocab, MaskedConfig,
    MaskedSamples, Samples, Tokens, write_shards,
};
use idiolect_tokenizer::{TrainConfig, train};
use std::ops::ControlFlow;
use std::sync::Arc;

const TEXTS: [&str; 4] = [
    "the cat sat on the mat",
    "<|endoftext|> is only text here [MASK]",
    "naïve 🐈 café\n",
    "the end",
];

fn documents() -> impl Iterator<Item = Result<Document, Error>> {
    TEXTS.into_iter().map(|text| Ok(Document::new(text)))
}

#[test]
fn byte_level_label_bytes_are_those_of_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = train(TEXTS.iter(), &TrainConfig::bpe(300), &mut |_| {}).unwrap();
    let end = tokenizer.eos_id().unwrap();
    let out = folder.path().join("shards");
    let go_on = &mut |_| ControlFlow::Continue(());
    let shards = write_shards(documents(), &tokenizer, Some(end), &out, go_on).unwrap();
    assert_eq!((shards.document_count(), shards.end_of_document()), (4, Some(end)));
    let total: usize = TEXTS.iter().map(|text| text.len()).sum();
    assert_eq!(shards.byte_count(), total as u64);
    let table = shards.token_bytes().expect("byte-level ids add up").to_vec();
    let first = u64::from(table[shards.ids(0..1)[0] as usize]);
    for document in 0..4 {
        let start = if document == 0 { 0 } else { shards.document_end(document - 1) };
        let ids = shards.ids(start..shards.document_end(document) - 1);
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), TEXTS[document as usize]);
    }
    let config = CausalConfig::new(7).for_validation();
    let samples = CausalSamples::new(Arc::new(shards), config).unwrap();
    let all: Vec<u64> = (0..samples.len()).collect();
    assert_eq!(samples.batch(0, &all).unwrap().label_bytes, total as u64 - first);
}

#[test]
fn word_pieces_are_masked_between_cls_and_sep() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = train(TEXTS.iter(), &TrainConfig::wordpiece(80), &mut |_| {}).unwrap();
    let out = folder.path().join("shards");
    let go_on = &mut |_| ControlFlow::Continue(());
    let shards = write_shards(documents(), &tokenizer, tokenizer.sep_id(), &out, go_on).unwrap();
    assert!(shards.token_bytes().is_none(), "word pieces drop spaces and case");
    let bytes = shards.byte_count();
    let vocab = MaskVocab::new(&tokenizer).unwrap();
    let config = MaskedConfig { whole_words: true, ..MaskedConfig::new(12).for_validation() };
    let samples = MaskedSamples::new(Arc::new(shards), vocab.clone(), config).unwrap();
    let all: Vec<u64> = (0..samples.len()).collect();
    let batch = samples.batch(0, &all).unwrap();
    assert_eq!(batch.label_bytes, bytes);
    for (row, labels) in batch.ids.chunks(12).zip(batch.labels.chunks(12)) {
        assert_eq!((row[0], labels[0]), (vocab.cls, IGNORE_LABEL));
        let special = |label: &&i64| **label != IGNORE_LABEL && vocab.special[**label as usize];
        assert_eq!(labels.iter().find(special), None);
        // The last row may hold no more than the end of the last document.
        let maskable = row.iter().any(|&id| id == vocab.mask || !vocab.special[id as usize]);
        assert_eq!(labels.iter().any(|&label| label != IGNORE_LABEL), maskable);
    }
}

#[test]
fn a_stop_and_a_failing_document_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = train(TEXTS.iter(), &TrainConfig::bpe(300), &mut |_| {}).unwrap();
    let out = folder.path().join("shards");
    let stop = &mut |_| ControlFlow::Break(());
    let error = write_shards(documents(), &tokenizer, None, &out, stop).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
    let go_on = &mut |_| ControlFlow::Continue(());
    let error = write_shards([], &tokenizer, None, &out, go_on).unwrap_err();
    assert!(matches!(error, Error::TooFewTokens { .. }), "{error}");
    let failing = [Err(Error::Stopped)];
    assert!(write_shards(failing, &tokenizer, None, &out, go_on).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
