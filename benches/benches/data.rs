//! How fast text becomes ids, ids become text, and ids become batches.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use idiolect_dataset::{
    CausalConfig, CausalSamples, MaskVocab, MaskedConfig, MaskedSamples, Order, Samples, TokenStore,
};
use idiolect_tokenizer::{TrainConfig, train};
use std::hint::black_box;
use std::sync::Arc;

/// Distinct words enough that the vocabulary has merges to do.
fn text() -> String {
    let word = |n: usize| format!("{}{}", ["thou", "art", "king", "of", "night"][n % 5], n % 977);
    (0..200_000usize).map(|n| word(n * 31) + if n % 12 == 11 { ".\n" } else { " " }).collect()
}

fn tokens(c: &mut Criterion) {
    let text = text();
    let tokenizer =
        train(text.lines(), &TrainConfig::bpe(4096), &mut |_| {}).expect("the text trains");
    let ids = tokenizer.encode_ordinary(&text);
    let mut group = c.benchmark_group("tokens");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("encode", |b| b.iter(|| tokenizer.encode_ordinary(black_box(&text))));
    group.bench_function("decode", |b| b.iter(|| tokenizer.decode(black_box(&ids), false)));
    group.finish();
}

fn batches(c: &mut Criterion) {
    const VOCAB: u32 = 4096;
    let store = Arc::new(TokenStore::new((0..1_000_000).map(|n| n % (VOCAB - 4) + 4).collect()));
    let causal = CausalSamples::new(store.clone(), CausalConfig::new(256)).expect("windows");
    batch(c, "causal 16x256", &causal);
    // Ids 0 to 3 are [PAD], [CLS], [SEP] and [MASK].
    let special = (0..VOCAB).map(|id| id < 4).collect();
    let continues_word = vec![false; VOCAB as usize];
    let vocab = MaskVocab { pad: 0, cls: 1, sep: 2, mask: 3, special, continues_word };
    let masked = MaskedSamples::new(store, vocab, MaskedConfig::new(256)).expect("windows");
    batch(c, "masked 16x256", &masked);
}

fn batch(c: &mut Criterion, name: &str, samples: &dyn Samples) {
    let order = Order::new(0, 0, samples.len());
    let mut cursor = 0;
    let mut group = c.benchmark_group("batches");
    group.throughput(Throughput::Elements(16 * 256));
    group.bench_function(name, |b| {
        b.iter(|| {
            let rows: Vec<u64> =
                (0..16).map(|row| order.at((cursor + row) % samples.len())).collect();
            cursor += 16;
            samples.batch(0, &rows)
        });
    });
    group.finish();
}

criterion_group!(parts, tokens, batches);
criterion_main!(parts);
