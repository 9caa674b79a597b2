//! Generation in all its forms: side by side as alone, with guesses as without, and searches as their definitions say.

mod common;

use common::*;
use idiolect_model::tch::{Kind, Tensor};
use idiolect_model::{
    BeamConfig, ContrastiveConfig, Draft, FinishReason, Generated, GenerationConfig, GptConfig,
    Model, ModelConfig, Overflow, Prompt,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::ops::ControlFlow;
use std::path::Path;

fn gpts() -> Vec<Model> {
    small_gpts().into_iter().map(|config| random(ModelConfig::Gpt(config))).collect()
}

fn prompt(ids: &[u32]) -> Prompt<'_> {
    Prompt { ids, ..Prompt::default() }
}

fn alone(model: &Model, ids: &[u32], config: &GenerationConfig) -> Generated {
    model.generate(ids, config, None, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn prompts() -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(0u32..23, 1..9), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn side_by_side_is_as_alone(prompts in prompts(), seed in 0u64..50, hot: bool, stop in 0u32..23) {
        let temperature = if hot { 1.0 } else { 0.0 };
        let stop_ids = vec![stop];
        let config = GenerationConfig { max_new_tokens: 9, temperature, seed, stop_ids, ..Default::default() };
        for model in gpts() {
            let expected: Vec<_> = prompts.iter().map(|ids| alone(&model, ids, &config)).collect();
            let together = prompts.iter().map(|ids| prompt(ids)).collect();
            let mut told = vec![Vec::new(); prompts.len()];
            let got = model.generate_batch(together, &config, &mut |index, token| {
                told[index].push(token.id);
                ControlFlow::Continue(())
            }).unwrap();
            for ((got, expected), told) in got.iter().zip(&expected).zip(&told) {
                prop_assert_eq!(&got.ids, &expected.ids);
                prop_assert_eq!(got.finish_reason, expected.finish_reason);
                prop_assert_eq!(told, &got.ids);
            }
        }
    }

    #[test]
    fn guesses_change_nothing(ids in prop::collection::vec(0u32..5, 2..9), seed in 0u64..50, hot: bool, most in 1usize..5) {
        let temperature = if hot { 0.7 } else { 0.0 };
        let config = GenerationConfig { max_new_tokens: 12, temperature, seed, ..Default::default() };
        let models = gpts();
        for (model, other) in models.iter().zip(models.iter().rev()) {
            let expected = alone(model, &ids, &config);
            let drafts = [
                Draft::Lookup { ngram: 1, ids: most },
                Draft::Model { model, ids: most },
                Draft::Model { model: other, ids: most },
            ];
            for draft in drafts {
                let got = model.generate_with_draft(prompt(&ids), &config, draft, &mut |_| ControlFlow::Continue(())).unwrap();
                prop_assert_eq!(&got.ids, &expected.ids, "{:?}", draft);
                prop_assert_eq!(got.finish_reason, expected.finish_reason);
            }
        }
    }

    #[test]
    fn no_n_gram_comes_twice(ids in prop::collection::vec(0u32..23, 2..5)) {
        let config = GenerationConfig { max_new_tokens: 11, no_repeat_ngram: Some(2), ..Default::default() };
        for model in gpts() {
            let whole = [&ids[..], &alone(&model, &ids, &config).ids].concat();
            let new = ids.len() - 1..whole.len() - 1;
            for at in new {
                prop_assert!(!whole[..at + 1].windows(2).any(|pair| pair == &whole[at..at + 2]), "{:?}", whole);
            }
        }
    }
}

#[test]
fn draws_of_another_number_differ() {
    let model = &gpts()[1];
    let config = GenerationConfig { max_new_tokens: 12, temperature: 1.0, ..Default::default() };
    let numbered = |number| Prompt { ids: &[1, 2], number, ..Prompt::default() };
    let got = model
        .generate_batch(vec![numbered(0), numbered(1), numbered(0)], &config, &mut |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_ne!(got[0].ids, got[1].ids);
    assert_eq!(got[0].ids, got[2].ids);
}

#[test]
fn a_context_that_slides_goes_on() {
    let slide = GenerationConfig {
        max_new_tokens: 40,
        overflow: Overflow::Slide { sinks: 2 },
        ..Default::default()
    };
    for model in gpts() {
        let got = alone(&model, &[3, 1, 4], &slide);
        assert_eq!((got.ids.len(), got.finish_reason), (40, FinishReason::Length));
        // 16 fit; the 17th leaves 2 and the newest 6, and so does each 9th after it: at 17, 26, 35.
        assert_eq!(got.cut, 27);
        let whole = [&[3, 1, 4], &got.ids[..]].concat();
        let kept = [&whole[..2], &whole[11..17]].concat();
        let after = alone(&model, &kept, &GenerationConfig { max_new_tokens: 8, ..slide.clone() });
        assert_eq!(after.ids, whole[17..25]);
        let draft = Draft::Lookup { ngram: 1, ids: 3 };
        let go = &mut |_| ControlFlow::Continue(());
        let drafted = model.generate_with_draft(prompt(&[3, 1, 4]), &slide, draft, go).unwrap();
        assert_eq!(drafted.ids, got.ids);
    }
    let long: Vec<u32> = (0..20).collect();
    let got = alone(&gpts()[0], &long, &GenerationConfig { max_new_tokens: 1, ..slide });
    assert_eq!(got.cut, 12);
}

/// A case that Transformers was asked for.
#[derive(Deserialize)]
struct Case {
    prompt: Vec<u32>,
    beams: usize,
    length_penalty: f64,
    early_stopping: bool,
    max_new_tokens: usize,
    stop_ids: Vec<u32>,
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    score: Option<f64>,
}

#[test]
fn beams_are_those_of_transformers() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let model = Model::load(&fixtures.join("llama"), device(), None).unwrap();
    let text = std::fs::read_to_string(fixtures.join("beams.json")).unwrap();
    for case in serde_json::from_str::<Vec<Case>>(&text).unwrap() {
        let config = BeamConfig {
            beams: case.beams,
            length_penalty: case.length_penalty,
            early_stopping: case.early_stopping,
            max_new_tokens: case.max_new_tokens,
            stop_ids: case.stop_ids,
            ..BeamConfig::default()
        };
        let got = model.beam_search(&case.prompt, &config).unwrap();
        let ids: Vec<_> = got.iter().map(|beam| &beam.ids).collect();
        assert_eq!(ids, case.expected.iter().map(|one| &one.ids).collect::<Vec<_>>(), "{config:?}");
        for (beam, expected) in got.iter().zip(&case.expected) {
            assert!(expected.score.is_none_or(|score| (score - beam.score).abs() < 1e-4));
        }
    }
}

#[test]
fn groups_shun_each_other() {
    let model = &gpts()[1];
    let config = BeamConfig {
        beams: 4,
        groups: 4,
        diversity_penalty: 100.0,
        max_new_tokens: 3,
        ..BeamConfig::default()
    };
    let got = model.beam_search(&[1, 2], &config).unwrap();
    for step in 0..3 {
        let mut ids: Vec<u32> = got.iter().map(|beam| beam.ids[step]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4, "{got:?}");
    }
}

#[test]
fn a_search_over_all_beams_finds_the_likeliest() {
    let config = GptConfig { vocab_size: 5, ..small_gpts().remove(1) };
    let model = random(ModelConfig::Gpt(config));
    let search = BeamConfig { beams: 25, max_new_tokens: 3, ..BeamConfig::default() };
    let best = &model.beam_search(&[1, 2], &search).unwrap()[0];
    let rows: Vec<Vec<u32>> = (0..125).map(|n| vec![1, 2, n / 25, n / 5 % 5, n % 5]).collect();
    let sums = model.score(&rows).unwrap().into_iter().map(|row| row[1..].iter().sum::<f32>());
    let (at, sum) = sums.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!(best.ids, rows[at][2..]);
    assert!((best.log_probability - f64::from(sum)).abs() < 1e-4);
}

/// Contrastive search as it is defined, without a cache.
fn contrastive(model: &Model, prompt: &[u32], config: &ContrastiveConfig) -> Vec<u32> {
    let _guard = idiolect_torch::NoGrad::new();
    let long = |ids: &[u32]| ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
    let mut ids = prompt.to_vec();
    while ids.len() < prompt.len() + config.max_new_tokens {
        let logits = model.logits(&inputs(&long(&ids))).unwrap().select(1, -1).squeeze_dim(0);
        let (shares, likeliest) =
            logits.softmax(-1, Kind::Float).topk(config.top_k as i64, -1, true, true);
        let value = |at: i64| {
            let id = likeliest.int64_value(&[at]) as u32;
            let hidden = model.hidden_states(&inputs(&long(&[&ids[..], &[id]].concat()))).unwrap();
            let hidden = hidden.squeeze_dim(0);
            let count = ids.len() as i64;
            let last = hidden.narrow(0, count, 1);
            let likeness = Tensor::cosine_similarity(&hidden.narrow(0, 0, count), &last, 1, 1e-8);
            let alpha = config.penalty_alpha;
            let value = (1.0 - alpha) * shares.double_value(&[at])
                - alpha * likeness.max().double_value(&[]);
            (value, id)
        };
        let values = (0..config.top_k as i64).map(value);
        ids.push(values.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1);
    }
    ids[prompt.len()..].to_vec()
}

#[test]
fn contrastive_search_is_as_defined() {
    for model in gpts() {
        for (top_k, penalty_alpha) in [(1, 0.5), (4, 0.0), (4, 0.6), (5, 1.0)] {
            let config = ContrastiveConfig {
                top_k,
                penalty_alpha,
                max_new_tokens: 8,
                ..ContrastiveConfig::default()
            };
            let go = &mut |_| ControlFlow::Continue(());
            let got = model.contrastive_search(&[1, 2, 3], &config, go).unwrap();
            assert_eq!(got.ids, contrastive(&model, &[1, 2, 3], &config), "{config:?}");
        }
    }
}
