//! The chunked head and the layers against plain operators, gradients included.

use idiolect_torch::tch::{Device, Kind, Reduction, Tensor};
use idiolect_torch::{
    Autocast, NoGrad, catch, embedding, gelu, linear, linear_cross_entropy, product,
};
use proptest::prelude::*;

fn randn(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

fn labels(n: i64, vocabulary: i64) -> Tensor {
    let labels = Tensor::randint(vocabulary, [n], (Kind::Int64, Device::Cpu));
    let ignored = Tensor::rand([n], (Kind::Float, Device::Cpu)).lt(0.2);
    labels.masked_fill(&ignored, -100)
}

fn near(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(a.size(), b.size(), "{what}");
    let scale = b.abs().max().double_value(&[]).max(1e-3);
    let difference =
        (a.to_kind(Kind::Float) - b.to_kind(Kind::Float)).abs().max().double_value(&[]);
    assert!(difference <= tolerance * scale, "{what}: {difference} at scale {scale}");
}

fn plain(hidden: &Tensor, weight: &Tensor, labels: &Tensor, softcap: Option<f64>) -> Tensor {
    let mut logits = hidden.matmul(&weight.tr()).to_kind(Kind::Float);
    if let Some(cap) = softcap {
        logits = (logits / cap).tanh() * cap;
    }
    logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Sum, -100, 0.0)
}

/// Loss and both gradients, of ours and of plain operators, with a factor between loss and backward.
fn check(n: i64, width: i64, vocabulary: i64, softcap: Option<f64>, factor: f64) {
    let (hidden, weight, labels) =
        (randn(&[n, width]), randn(&[vocabulary, width]) * 0.3, labels(n, vocabulary));
    let sides = [true, false].map(|ours| {
        let (hidden, weight) = (leaf(&hidden), leaf(&weight));
        let loss = if ours {
            linear_cross_entropy(&hidden, &weight, &labels, softcap).unwrap()
        } else {
            plain(&hidden, &weight, &labels, softcap)
        };
        (&loss * factor).backward();
        (loss.detach(), hidden.grad(), weight.grad())
    });
    let [(loss, of_hidden, of_weight), (plain_loss, plain_hidden, plain_weight)] = sides;
    near(&loss, &plain_loss, 2e-6, "loss");
    near(&of_hidden, &plain_hidden, 2e-5, "gradient of hidden");
    near(&of_weight, &plain_weight, 2e-5, "gradient of weight");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_head_equals_plain_operators(
        n in 1i64..40, width in 1i64..20, vocabulary in 2i64..70, cap in prop::option::of(1.0..30.0f64), factor in 0.01..2.0f64,
    ) {
        check(n, width, vocabulary, cap, factor);
    }
}

/// More than one chunk (2^24 logits), and more than one block of the vocabulary.
#[test]
fn the_head_in_chunks() {
    check(600, 16, 40_000, None, 1.0);
    check(500, 8, 40_001, Some(15.0), 0.1);
}

#[test]
fn extreme_logits_stay_finite() {
    let hidden = leaf(&(randn(&[4, 8]) * 100.0));
    let weight = leaf(&(randn(&[33, 8]) * 10.0));
    let labels = labels(4, 33);
    let loss = linear_cross_entropy(&hidden, &weight, &labels, None).unwrap();
    loss.backward();
    near(&loss.detach(), &plain(&hidden, &weight, &labels, None).detach(), 1e-5, "loss");
    assert!(weight.grad().isfinite().all().int64_value(&[]) == 1);
}

#[test]
fn the_head_under_autocast() {
    let (hidden, weight, labels) = (randn(&[50, 32]), randn(&[300, 32]), labels(50, 300));
    let sides = [true, false].map(|ours| {
        let (hidden, weight) = (leaf(&hidden), leaf(&weight));
        let _autocast = Autocast::new(Device::Cpu, Kind::BFloat16).unwrap();
        let loss = if ours {
            linear_cross_entropy(&hidden, &weight, &labels, None).unwrap()
        } else {
            plain(&hidden, &weight, &labels, None)
        };
        loss.backward();
        assert_eq!(loss.kind(), Kind::Float);
        (loss.detach(), hidden.grad(), weight.grad())
    });
    near(&sides[0].0, &sides[1].0, 1e-3, "loss");
    near(&sides[0].1, &sides[1].1, 2e-2, "gradient of hidden");
    near(&sides[0].2, &sides[1].2, 2e-2, "gradient of weight");
}

#[test]
fn without_gradients_only_the_loss() {
    let (hidden, weight, labels) = (randn(&[9, 4]), leaf(&randn(&[11, 4])), labels(9, 11));
    let _guard = NoGrad::new();
    let loss = linear_cross_entropy(&hidden, &weight, &labels, None).unwrap();
    assert!(!loss.requires_grad());
    near(&loss, &plain(&hidden, &weight, &labels, None), 2e-6, "loss");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (hidden, weight) = (randn(&[2, 4]), randn(&[5, 4]));
    let call = |labels: &Tensor| linear_cross_entropy(&hidden, &weight, labels, None);
    let error = call(&Tensor::from_slice(&[0i64, 5])).unwrap_err().to_string();
    assert!(error.contains("label 5 is outside the vocabulary of 5"), "{error}");
    assert!(call(&Tensor::from_slice(&[0i64, -1])).is_err());
    assert!(call(&Tensor::from_slice(&[0i64])).is_err());
    assert!(call(&Tensor::from_slice(&[0.0f32, 1.0])).is_err());
    assert!(linear(&hidden, &randn(&[3, 5]), None).is_err());
    assert!(embedding(&weight, &Tensor::from_slice(&[5i64])).is_err());
}

/// The gradient of a tied table: head and embedding, over two micro-batches, and as autograd.grad gives it.
#[test]
fn a_tied_table_gets_both_gradients() {
    let (table, mix) = (randn(&[30, 6]), randn(&[6, 6]));
    let ids = Tensor::from_slice(&[3i64, 3, 29, 0, 7, 3]);
    let labels = Tensor::from_slice(&[1i64, 3, -100, 0, 29, 3]);
    let loss = |table: &Tensor, ours: bool| {
        if ours {
            let hidden = embedding(table, &ids).unwrap().matmul(&mix);
            linear_cross_entropy(&hidden, table, &labels, None).unwrap() * 0.25
        } else {
            let hidden = Tensor::embedding(table, &ids, -1, false, false).matmul(&mix);
            plain(&hidden, table, &labels, None) * 0.25
        }
    };
    let [ours, expected] = [true, false].map(|ours| {
        let table = leaf(&table);
        loss(&table, ours).backward();
        let first = table.grad().copy();
        loss(&table, ours).backward();
        (first, table.grad(), Tensor::run_backward(&[loss(&table, ours)], &[&table], false, false))
    });
    near(&ours.0, &expected.0, 1e-5, "one batch");
    near(&ours.1, &expected.1, 1e-5, "two batches");
    near(&ours.2[0], &expected.2[0], 1e-5, "asked for");
    let twice = leaf(&table);
    let value = loss(&twice, true);
    let once = || Tensor::run_backward(&[&value], &[&twice], true, false);
    once();
    assert!(catch(|| drop(once())).unwrap_err().to_string().contains("a second time"));
}

#[test]
fn embedding_alone_equals_libtorch() {
    let (table, ids) = (randn(&[12, 5]), Tensor::from_slice(&[3i64, 3, 11, 0]).reshape([2, 2]));
    let [ours, plain] = [true, false].map(|ours| {
        let table = leaf(&table);
        let rows = match ours {
            true => embedding(&table, &ids).unwrap(),
            false => Tensor::embedding(&table, &ids, -1, false, false),
        };
        rows.square().sum(Kind::Float).backward();
        (rows.detach(), table.grad())
    });
    near(&ours.0, &plain.0, 0.0, "rows");
    near(&ours.1, &plain.1, 1e-6, "gradient");
}

/// Sizes on both sides of where oneDNN takes over, with and without bias, two and three dimensions.
#[test]
fn linear_equals_libtorch() {
    for (shape, out, bias) in [
        (vec![3, 4], 5, true),
        (vec![2, 70, 96], 65, true),
        (vec![128, 96], 288, false),
        (vec![1, 512], 600, true),
    ] {
        let (input, weight) = (randn(&shape), randn(&[out, shape[shape.len() - 1]]));
        let offset = bias.then(|| randn(&[out]));
        let [ours, plain] = [true, false].map(|ours| {
            let (input, weight) = (leaf(&input), leaf(&weight));
            let offset = offset.as_ref().map(leaf);
            let output = match ours {
                true => linear(&input, &weight, offset.as_ref()).unwrap(),
                false => input.linear(&weight, offset.as_ref()),
            };
            output.square().sum(Kind::Float).backward();
            (output.detach(), input.grad(), weight.grad(), offset.map(|offset| offset.grad()))
        });
        near(&ours.0, &plain.0, 1e-5, "output");
        near(&ours.1, &plain.1, 1e-5, "gradient of input");
        near(&ours.2, &plain.2, 1e-5, "gradient of weight");
        if let (Some(ours), Some(plain)) = (&ours.3, &plain.3) {
            near(ours, plain, 1e-5, "gradient of bias");
        }
    }
}

#[test]
fn gelu_equals_libtorch() {
    let values = Tensor::cat(
        &[randn(&[40_000]) * 3, Tensor::from_slice(&[-100f32, -9.0, 0.0, 9.0, 100.0])],
        0,
    );
    for x in [values.shallow_clone(), values.slice(0, 0, 40_000, 1).reshape([200, 200]).tr()] {
        let [ours, plain] = [true, false].map(|ours| {
            let x = leaf(&x);
            let y = if ours { gelu(&x).unwrap() } else { x.gelu("tanh") };
            y.square().sum(Kind::Float).backward();
            (y.detach(), x.grad())
        });
        near(&ours.0, &plain.0, 1e-6, "output");
        near(&ours.1, &plain.1, 1e-6, "gradient");
    }
    assert!(gelu(&Tensor::from_slice(&[f32::NAN])).unwrap().isnan().all().int64_value(&[]) == 1);
}

#[test]
fn the_same_bits_every_time() {
    let (hidden, weight, labels) = (randn(&[100, 64]), randn(&[500, 64]), labels(100, 500));
    let run = || {
        let (hidden, weight) = (leaf(&hidden), leaf(&weight));
        linear_cross_entropy(&hidden, &weight, &labels, None).unwrap().backward();
        (hidden.grad(), weight.grad(), product(&hidden, &weight.tr()).unwrap())
    };
    let (first, second) = (run(), run());
    assert!(first.0.equal(&second.0) && first.1.equal(&second.1) && first.2.equal(&second.2));
}
