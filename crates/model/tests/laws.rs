//! Laws of every layout: causality, isolation, cache, saving, the same start everywhere.

mod common;

use common::{distance, inputs, random, row, small_bert, small_berts, small_gpts};
use idiolect_model::tch::{Device, Kind, Tensor};
use idiolect_model::{
    Allowed, FinishReason, GenerationConfig, Inputs, Model, ModelConfig, TokenMask,
};
use proptest::prelude::*;
use std::ops::ControlFlow;

fn gpts() -> Vec<Model> {
    small_gpts().into_iter().map(|config| random(ModelConfig::Gpt(config))).collect()
}

fn all() -> Vec<Model> {
    let mut models = gpts();
    models.extend(berts());
    models
}

fn berts() -> Vec<Model> {
    small_berts().into_iter().map(|config| random(ModelConfig::Bert(config))).collect()
}

fn logits(model: &Model, inputs: &Inputs) -> Tensor {
    let _guard = idiolect_torch::NoGrad::new();
    model.logits(inputs).unwrap()
}

fn ids() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(0i64..23, 2..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn future_ids_do_not_change_past_logits(ids in ids(), other in 0i64..23, at in any::<prop::sample::Index>()) {
        let at = at.index(ids.len());
        let mut changed = ids.clone();
        changed[at] = other;
        for model in gpts() {
            let (a, b) = (logits(&model, &inputs(&ids)), logits(&model, &inputs(&changed)));
            let past = |logits: &Tensor| logits.narrow(1, 0, at as i64);
            if at > 0 {
                prop_assert!(distance(&past(&a), &past(&b)) < 1e-5);
            }
        }
    }

    #[test]
    fn isolated_documents_do_not_see_each_other(a in ids(), b in ids()) {
        let (a, b) = (&a[..a.len().min(8)], &b[..b.len().min(8)]);
        let numbers = |value, count| std::iter::repeat_n(value, count);
        let positions = (0..a.len() as i64).chain(0..b.len() as i64).collect::<Vec<_>>();
        let documents = numbers(7, a.len()).chain(numbers(2, b.len())).collect::<Vec<i64>>();
        let both = Inputs {
            document_ids: Some(row(&documents)),
            position_ids: Some(row(&positions)),
            ..inputs(&[a, b].concat())
        };
        for model in all() {
            let together = logits(&model, &both);
            let alone = Tensor::cat(&[logits(&model, &inputs(a)), logits(&model, &inputs(b))], 1);
            prop_assert!(distance(&together, &alone) < 1e-5);
        }
    }

    #[test]
    fn padding_changes_nothing(ids in ids(), pad in 1usize..4) {
        let ids = &ids[..ids.len().min(12)];
        let padded = [ids, &vec![0; pad]].concat();
        let mask: Vec<i64> = (0..padded.len()).map(|at| i64::from(at < ids.len())).collect();
        for model in all() {
            let long = Inputs { attention_mask: Some(row(&mask)), ..inputs(&padded) };
            let long = logits(&model, &long);
            prop_assert!(!bool::try_from(long.isnan().any()).unwrap());
            let kept = long.narrow(1, 0, ids.len() as i64);
            prop_assert!(distance(&kept, &logits(&model, &inputs(ids))) < 1e-5);
        }
    }

    #[test]
    fn a_padded_batch_is_its_sequences(a in ids(), b in ids(), fill in 0i64..23) {
        let length = a.len().max(b.len());
        let rows = [&a, &b].map(|ids| {
            let mask = row(&(0..length).map(|at| i64::from(at < ids.len())).collect::<Vec<_>>());
            let padding = std::iter::repeat_n(fill, length - ids.len());
            (row(&ids.iter().copied().chain(padding).collect::<Vec<_>>()), mask)
        });
        let both = |pick: fn(&(Tensor, Tensor)) -> &Tensor| Tensor::cat(&rows.each_ref().map(pick), 0);
        let batch = Inputs { attention_mask: Some(both(|row| &row.1)), ..Inputs::new(both(|row| &row.0)) };
        for model in all() {
            let together = logits(&model, &batch);
            for (at, ids) in [&a, &b].into_iter().enumerate() {
                let alone = logits(&model, &inputs(ids)).squeeze_dim(0);
                let kept = together.get(at as i64).narrow(0, 0, ids.len() as i64);
                prop_assert!(distance(&kept, &alone) < 1e-5);
            }
        }
    }

    #[test]
    fn the_cache_changes_nothing(ids in ids(), seed in 0u64..100) {
        let prompt: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
        let config = GenerationConfig { max_new_tokens: 20, temperature: 1.0, seed, ..Default::default() };
        for model in gpts() {
            let made = model.generate(&prompt, &config, None, &mut |_| ControlFlow::Continue(())).unwrap();
            prop_assert_eq!(made.finish_reason, FinishReason::Length);
            prop_assert_eq!(prompt.len() + made.ids.len(), 16 + 1);
            let whole = [&prompt[..], &made.ids].concat();
            // The last id needs no position: it is only predicted.
            let scores = model.score(&[whole]).unwrap().remove(0);
            prop_assert_eq!(scores.len(), 16);
            for (a, b) in scores[prompt.len() - 1..].iter().zip(&made.log_probabilities) {
                prop_assert!((a - b).abs() < 1e-4, "{} {}", a, b);
            }
        }
    }
}

fn bits(model: &Model) -> Vec<(String, Vec<u8>)> {
    let of = |tensor: &Tensor| {
        let count = tensor.numel();
        let mut bytes = vec![0; count * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, count);
        bytes
    };
    model.parameters().iter().map(|one| (one.name.clone(), of(&one.tensor))).collect()
}

#[test]
fn a_saved_model_loads_to_the_same_bits() {
    for model in all() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            model.save(one.path()).unwrap();
            let first = Model::load(one.path(), Device::Cpu, Some(kind)).unwrap();
            first.save(two.path()).unwrap();
            let second = Model::load(two.path(), Device::Cpu, None).unwrap();
            assert_eq!(second.kind(), kind);
            assert_eq!(bits(&first), bits(&second));
            if kind == Kind::Float {
                assert_eq!(bits(&first), bits(&model));
            }
            assert_eq!(first.config().parameter_count(), model.config().parameter_count());
        }
    }
}

#[test]
fn the_count_of_a_configuration_is_that_of_its_model() {
    for model in all() {
        let count: usize = model.parameters().iter().map(|one| one.tensor.numel()).sum();
        assert_eq!(model.config().parameter_count(), count as u64);
        for one in model.parameters() {
            assert_eq!(one.sections.iter().sum::<i64>(), one.tensor.size()[0], "{}", one.name);
        }
    }
}

#[test]
fn a_seed_gives_one_start_and_a_sensible_loss() {
    let configs = small_gpts().into_iter().map(ModelConfig::Gpt);
    for config in configs.chain(small_berts().into_iter().map(ModelConfig::Bert)) {
        let new = |seed| Model::new(&config, seed, Device::Cpu).unwrap();
        let (model, ids) = (new(1), row(&[1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(bits(&model), bits(&new(1)));
        assert_ne!(bits(&model), bits(&new(2)));
        let labels = row(&[9, 10, 11, 12, 13, 14, 15, 16]);
        let loss = model.loss(&Inputs::new(ids), &labels).unwrap().double_value(&[]);
        assert!((loss / 8.0 - 23f64.ln()).abs() < 0.2, "{config:?}: {loss}");
    }
}

struct Alternate;

impl TokenMask for Alternate {
    fn allowed(&mut self, generated: &[u32]) -> Allowed {
        match generated.len() {
            0 => Allowed::All,
            4 => Allowed::End,
            n => Allowed::Only(vec![n as u32]),
        }
    }
}

#[test]
fn generation_stops_as_asked() {
    let model = &gpts()[3];
    let greedy = GenerationConfig { max_new_tokens: 6, ..GenerationConfig::default() };
    let run = |config: &GenerationConfig, limit: usize| {
        let mut seen = 0;
        let mut on_token = |_| {
            seen += 1;
            if seen == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        model.generate(&[1, 2, 3], config, None, &mut on_token).unwrap()
    };
    let free = run(&greedy, 0);
    assert_eq!((free.ids.len(), free.finish_reason), (6, FinishReason::Length));
    let broken = run(&greedy, 2);
    assert_eq!((broken.ids.len(), broken.finish_reason), (2, FinishReason::Cancelled));
    let stopping = GenerationConfig { stop_ids: vec![free.ids[0]], ..greedy.clone() };
    let stopped = run(&stopping, 0);
    assert_eq!((stopped.ids.len(), stopped.finish_reason), (1, FinishReason::Stop));
    let none = run(&GenerationConfig { max_new_tokens: 0, ..greedy.clone() }, 0);
    assert_eq!((none.ids.len(), none.finish_reason), (0, FinishReason::Length));
    let ignore = &mut |_| ControlFlow::Continue(());
    let masked = model.generate(&[1, 2, 3], &greedy, Some(&mut Alternate), ignore).unwrap();
    assert_eq!((&masked.ids[1..], masked.finish_reason), (&[1, 2, 3][..], FinishReason::Stop));
}

#[test]
fn masks_are_filled_with_the_likeliest_ids() {
    let model = random(ModelConfig::Bert(small_bert()));
    let filled = model.fill_mask(&[1, 2, 3, 4], &[3, 1], 3).unwrap();
    let shares = logits(&model, &inputs(&[1, 2, 3, 4])).softmax(-1, Kind::Float);
    for (position, predictions) in [3i64, 1].into_iter().zip(filled) {
        assert_eq!(predictions.len(), 3);
        for pair in predictions.windows(2) {
            assert!(pair[0].probability >= pair[1].probability);
        }
        for one in predictions {
            let share = shares.double_value(&[0, position, i64::from(one.id)]);
            assert!((share - f64::from(one.probability)).abs() < 1e-5);
        }
    }
}
