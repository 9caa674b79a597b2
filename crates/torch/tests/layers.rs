//! The fused parts of a transformer against plain operators, gradients included.

use idiolect_torch::tch::{Device, Kind, Tensor};
use idiolect_torch::{HeadSteps, catch, rms_norm, split_heads, squared_relu};
use proptest::prelude::*;

fn randn(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn near(a: &Tensor, b: &Tensor, what: &str) {
    assert_eq!(a.size(), b.size(), "{what}");
    let scale = b.abs().max().double_value(&[]).max(1e-3);
    let difference = (a - b).abs().max().double_value(&[]);
    assert!(difference <= 1e-5 * scale, "{what}: {difference} at scale {scale}");
}

/// The outputs of `f` and the gradients of its inputs, under a loss that tells all outputs apart.
fn outcome(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Vec<Tensor>) -> Vec<Tensor> {
    let leaves: Vec<_> =
        inputs.iter().map(|input| input.detach().copy().set_requires_grad(true)).collect();
    let outputs = f(&leaves);
    let weigh = |output: &Tensor| {
        let line = Tensor::arange(output.numel() as i64, (Kind::Float, Device::Cpu)).sin();
        (output.flatten(0, -1) * line).sum(Kind::Float)
    };
    let loss: Tensor = outputs.iter().map(weigh).sum();
    loss.backward();
    let outputs = outputs.iter().map(Tensor::detach);
    outputs.chain(leaves.iter().map(Tensor::grad)).collect()
}

fn check(
    inputs: &[Tensor],
    fused: impl Fn(&[Tensor]) -> Vec<Tensor>,
    plain: impl Fn(&[Tensor]) -> Vec<Tensor>,
) {
    let (fused, plain) = (outcome(inputs, fused), outcome(inputs, plain));
    for (i, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
        near(fused, plain, &format!("output or gradient {i}"));
    }
}

/// Normalise, weigh, turn, by operators of libtorch.
fn plain_heads(
    x: &[Tensor],
    (n_queries, n_keys): (i64, i64),
    epsilon: Option<f64>,
    angles: Option<&[Tensor; 2]>,
) -> Vec<Tensor> {
    let size = x[0].size();
    let all = n_queries + 2 * n_keys;
    let width = size[2] / all;
    let heads = x[0].view([size[0], size[1], all, width]);
    let mut parts = heads.split_with_sizes([n_queries, n_keys, n_keys], 2);
    for (i, part) in parts.iter_mut().take(2).enumerate() {
        if let Some(epsilon) = epsilon {
            *part = part.rms_norm([width], x.get(1 + i), epsilon);
        }
        if let Some([cos, sin]) = angles {
            *part = &*part * cos + part.roll([width / 2], [-1]) * sin;
        }
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn rms_norm_equals_libtorch(rows in 1i64..150, width in 1i64..70, weighted: bool) {
        let mut inputs = vec![randn(&[1, rows, width])];
        inputs.extend(weighted.then(|| randn(&[width])));
        check(
            &inputs,
            |x| vec![rms_norm(&x[0], x.get(1), 1e-5).unwrap()],
            |x| vec![x[0].rms_norm([width], x.get(1), 1e-5)],
        );
    }

    #[test]
    fn heads_equal_plain_operators(
        batch in 1i64..4, length in 1i64..40, n_queries in 1i64..4, n_keys in 1i64..3, half in 1i64..20,
        norm in 0..3, turned: bool, positions_differ: bool,
    ) {
        let width = 2 * half;
        let mut inputs = vec![randn(&[batch, length, (n_queries + 2 * n_keys) * width])];
        if norm == 2 {
            inputs.extend([randn(&[width]), randn(&[width])]);
        }
        let epsilon = (norm > 0).then_some(1e-6);
        let rows = if positions_differ { vec![batch, length, 1, width] } else { vec![length, 1, width] };
        let angles = turned.then(|| [randn(&rows), randn(&rows)]);
        let fused = |x: &[Tensor]| {
            let weights = (norm == 2).then(|| [&x[1], &x[2]]);
            let angles = angles.as_ref().map(|[cos, sin]| [cos, sin]);
            let steps = HeadSteps { norm_epsilon: epsilon, weights, angles };
            split_heads(&x[0], (n_queries, n_keys), steps).unwrap().into()
        };
        check(&inputs, fused, |x| plain_heads(x, (n_queries, n_keys), epsilon, angles.as_ref()));
    }
}

/// What the fused loops do not take goes by plain operators: another number type, and memory that is not in a row.
#[test]
fn heads_of_other_kinds() {
    let x = randn(&[2, 5, 24]);
    let angles = [randn(&[5, 1, 6]), randn(&[5, 1, 6])];
    let wide = |x: &Tensor| x.to_kind(Kind::Double);
    let steps = |pair| HeadSteps { norm_epsilon: Some(1e-6), weights: None, angles: Some(pair) };
    let double = [wide(&angles[0]), wide(&angles[1])];
    let expected = split_heads(&wide(&x), (2, 1), steps([&double[0], &double[1]])).unwrap();
    let apart = x.repeat([1, 1, 2]).narrow(2, 0, 24);
    for input in [&x, &apart] {
        let parts = split_heads(input, (2, 1), steps([&angles[0], &angles[1]])).unwrap();
        for (part, expected) in parts.iter().zip(&expected) {
            near(part, &expected.to_kind(Kind::Float), "heads");
        }
    }
}

#[test]
fn squared_relu_equals_libtorch() {
    let x = Tensor::cat(&[randn(&[40_000]), Tensor::from_slice(&[-0.0f32, 0.0])], 0);
    check(&[x], |x| vec![squared_relu(&x[0]).unwrap()], |x| vec![x[0].relu().square()]);
    let x = squared_relu(&Tensor::from_slice(&[f32::NAN])).unwrap();
    assert_eq!(x.isnan().all().int64_value(&[]), 1);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = randn(&[2, 5, 24]);
    assert!(split_heads(&x, (3, 1), HeadSteps::default()).is_err());
    let (cos, weight) = (randn(&[4, 1, 6]), randn(&[6]));
    let refused = |steps| split_heads(&x, (2, 1), steps).is_err();
    assert!(refused(HeadSteps { angles: Some([&cos, &cos]), ..HeadSteps::default() }));
    assert!(refused(HeadSteps { weights: Some([&weight, &weight]), ..HeadSteps::default() }));
    assert!(rms_norm(&x, Some(&weight), 1e-5).is_err());
}

#[test]
fn a_gradient_of_the_gradient_is_refused() {
    let x = randn(&[4, 8]).set_requires_grad(true);
    let y = squared_relu(&x).unwrap().sum(Kind::Float);
    assert!(catch(|| Tensor::run_backward(&[y], &[&x], true, true)).is_err());
}
