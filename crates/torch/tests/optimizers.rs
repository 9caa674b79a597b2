//! AdamW and Muon against PyTorch's trajectories and plain formulas; state that resumes to the bit.

use idiolect_torch::tch::{Device, Kind, Tensor};
use idiolect_torch::{
    AdamW, AdamWConfig, Muon, MuonConfig, NoGrad, Optimizer, clip_grad_norm, grad_norm,
};

/// As `fill` of fixtures/make_optimizers.py.
fn fill(shape: &[i64], salt: f64) -> Tensor {
    let n: i64 = shape.iter().product();
    let value = |i: i64| {
        let place = (i + 1) as f64 * 0.6180339887498949 + salt * 0.7548776662466927;
        (place.fract() - 0.5) as f32
    };
    Tensor::from_slice(&(0..n).map(value).collect::<Vec<_>>()).reshape(shape)
}

fn parameter(shape: &[i64], salt: f64) -> Tensor {
    fill(shape, salt).set_requires_grad(true)
}

fn set_gradient(parameter: &Tensor, gradient: &Tensor) {
    (parameter * gradient).sum(Kind::Float).backward();
}

fn same(a: &Tensor, b: &Tensor, tolerance: f64) {
    let difference = (a - b).abs().max().double_value(&[]);
    assert!(difference <= tolerance, "largest difference {difference}");
}

fn fixture(name: &str) -> Vec<Tensor> {
    let text = include_str!("fixtures/optimizers.json");
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let lists: Vec<Vec<f32>> = serde_json::from_value(value[name].clone()).unwrap();
    lists.iter().map(|list| Tensor::from_slice(list)).collect()
}

/// Runs `steps` with gradients of the fixtures and compares the parameters.
fn check(
    name: &str,
    parameters: &[Tensor],
    optimizer: &mut dyn Optimizer,
    rate: f64,
    gradient: impl Fn(usize, usize, &[i64]) -> Tensor,
    steps: usize,
) {
    for step in 0..steps {
        for (i, parameter) in parameters.iter().enumerate() {
            set_gradient(parameter, &gradient(step, i, &parameter.size()));
        }
        optimizer.step(rate).unwrap();
        optimizer.zero_grad();
    }
    for (parameter, expected) in parameters.iter().zip(fixture(name)) {
        same(&parameter.detach().flatten(0, -1), &expected, 2e-6);
    }
}

fn copies(parameters: &[Tensor]) -> Vec<Tensor> {
    parameters.iter().map(Tensor::shallow_clone).collect()
}

/// No parameter is cut.
fn whole(parameters: &[Tensor]) -> Vec<Vec<i64>> {
    parameters.iter().map(|parameter| vec![parameter.size()[0]]).collect()
}

#[test]
fn adamw_follows_pytorch() {
    let parameters = [parameter(&[3, 4], 1.0), parameter(&[5], 2.0)];
    let mut optimizer = AdamW::new(copies(&parameters), AdamWConfig::default()).unwrap();
    let gradient = |step: usize, i: usize, shape: &[i64]| {
        fill(shape, (10 * step + i) as f64) * (step + 1) as f64
    };
    check("adamw", &parameters, &mut optimizer, 0.01, gradient, 6);
}

#[test]
fn muon_follows_its_author() {
    let shapes: [&[i64]; 4] = [&[4, 6], &[6, 4], &[4, 6], &[5, 5]];
    let parameters: Vec<_> =
        shapes.iter().enumerate().map(|(i, shape)| parameter(shape, i as f64)).collect();
    let config = MuonConfig { weight_decay: 0.1, ..MuonConfig::default() };
    let mut optimizer = Muon::new(copies(&parameters), whole(&parameters), config).unwrap();
    let gradient = |step: usize, i: usize, shape: &[i64]| fill(shape, (10 * step + i) as f64);
    check("muon", &parameters, &mut optimizer, 0.02, gradient, 4);
}

/// Large matrices take another road through the products than the fixture's.
#[test]
fn muon_makes_large_momenta_orthogonal() {
    for (shape, bf16) in [([96, 384], false), ([384, 96], false), ([128, 128], true)] {
        let weight = Tensor::zeros(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let config = MuonConfig { bf16, ..MuonConfig::default() };
        let mut optimizer =
            Muon::new(vec![weight.shallow_clone()], vec![vec![shape[0]]], config).unwrap();
        set_gradient(&weight, &Tensor::randn(shape, (Kind::Float, Device::Cpu)));
        optimizer.step(1.0).unwrap();
        let scale = (shape[0] as f64 / shape[1] as f64).max(1.0).sqrt();
        let (_, singular, _) = (weight.detach() / scale).svd(true, false);
        let (least, most) = (singular.min().double_value(&[]), singular.max().double_value(&[]));
        assert!(
            most < 1.35 && (least > 0.3 || shape == [128, 128]),
            "{shape:?}: {least} to {most}"
        );
    }
}

/// Sections of one tensor are stepped as if each were a tensor of its own.
#[test]
fn muon_steps_sections_apart() {
    let (stacked, rows) = (parameter(&[13, 4], 1.0), [4i64, 4, 5]);
    let sections = || stacked.detach().split_with_sizes(rows, 0);
    let parts: Vec<_> = sections().iter().map(|part| part.copy().set_requires_grad(true)).collect();
    let config = MuonConfig { weight_decay: 0.1, ..MuonConfig::default() };
    let one = vec![stacked.shallow_clone()];
    let mut together = Muon::new(one, vec![rows.to_vec()], config).unwrap();
    let mut apart = Muon::new(copies(&parts), whole(&parts), config).unwrap();
    for step in 0..3 {
        let gradient = fill(&[13, 4], step as f64);
        set_gradient(&stacked, &gradient);
        for (part, gradient) in parts.iter().zip(gradient.split_with_sizes(rows, 0)) {
            set_gradient(part, &gradient);
        }
        for optimizer in [&mut together, &mut apart] {
            optimizer.step(0.02).unwrap();
            optimizer.zero_grad();
        }
    }
    for (part, section) in parts.iter().zip(sections()) {
        same(&part.detach(), &section, 0.0);
    }
}

#[test]
fn optimizers_refuse_what_is_not_a_leaf() {
    let computed = || vec![parameter(&[2, 2], 0.0) * 2.0];
    let error = AdamW::new(computed(), AdamWConfig::default()).unwrap_err().to_string();
    assert!(error.contains("parameter 0 was computed"), "{error}");
    assert!(Muon::new(computed(), vec![vec![2]], MuonConfig::default()).is_err());
}

#[test]
fn muon_refuses_what_is_not_matrices() {
    let refused = |shape: &[i64], sections: Vec<Vec<i64>>| {
        Muon::new(vec![parameter(shape, 0.0)], sections, MuonConfig::default())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&[3], vec![vec![3]]).contains("matrices"));
    assert!(refused(&[4, 3], vec![vec![2, 1]]).contains("[2, 1]"));
    assert!(refused(&[4, 3], vec![vec![5, -1]]).contains("[5, -1]"));
    assert!(refused(&[4, 3], vec![]).contains("0 lists"));
}

#[test]
fn parameters_without_a_gradient_stay() {
    let parameters = [parameter(&[3], 1.0), parameter(&[3], 2.0)];
    let mut optimizer = AdamW::new(copies(&parameters), AdamWConfig::default()).unwrap();
    set_gradient(&parameters[0], &fill(&[3], 5.0));
    optimizer.step(0.1).unwrap();
    same(&parameters[1].detach(), &fill(&[3], 2.0), 0.0);
    let steps: Vec<f64> = optimizer
        .state()
        .iter()
        .filter(|state| state.name == "step")
        .map(|state| state.tensor.double_value(&[]))
        .collect();
    assert_eq!(steps, [1.0, 0.0]);
}

#[test]
fn clipping_scales_to_the_norm_and_no_further() {
    let parameters = [parameter(&[7, 3], 1.0), parameter(&[5], 2.0), parameter(&[2], 3.0)];
    for parameter in &parameters[..2] {
        set_gradient(parameter, &(fill(&parameter.size(), 4.0) * 10.0));
    }
    let before: Vec<_> = parameters[..2].iter().map(|parameter| parameter.grad().copy()).collect();
    let plain = before.iter().map(|gradient| gradient.square().sum(Kind::Double).double_value(&[]));
    let norm = plain.sum::<f64>().sqrt();
    assert!(
        (clip_grad_norm(&parameters, 1.0).unwrap().double_value(&[]) - norm).abs() < 1e-4 * norm
    );
    assert!((grad_norm(&parameters).unwrap().double_value(&[]) - 1.0).abs() < 1e-5);
    same(&parameters[0].grad(), &(&before[0] / norm), 1e-6);
    let clipped = parameters[0].grad().copy();
    let _norm = clip_grad_norm(&parameters, 100.0).unwrap();
    same(&parameters[0].grad(), &clipped, 0.0);
    assert_eq!(grad_norm(&parameters[2..]).unwrap().double_value(&[]), 0.0);
}

#[test]
fn a_clipped_step_is_clipping_and_a_step() {
    let run = |fused: bool, factor: f64| {
        let weight = parameter(&[6, 5], 1.0);
        let mut optimizer =
            AdamW::new(vec![weight.shallow_clone()], AdamWConfig::default()).unwrap();
        for step in 0..4 {
            set_gradient(&weight, &(fill(&[6, 5], step as f64) * factor));
            if fused {
                let _norm = optimizer.step_clipped(0.01, 1.0).unwrap();
            } else {
                let _norm = clip_grad_norm(&[weight.shallow_clone()], 1.0).unwrap();
                optimizer.step(0.01).unwrap();
            }
            optimizer.zero_grad();
        }
        weight.detach()
    };
    for factor in [0.01, 100.0] {
        same(&run(true, factor), &run(false, factor), 1e-6);
    }
}

fn resumed_equals_uninterrupted(new: impl Fn(Vec<Tensor>) -> Box<dyn Optimizer>) {
    let step = |weight: &Tensor, optimizer: &mut dyn Optimizer, i: usize| {
        set_gradient(weight, &fill(&[8, 8], i as f64));
        optimizer.step(0.01).unwrap();
        optimizer.zero_grad();
    };
    let weight = parameter(&[8, 8], 0.0);
    let mut optimizer = new(vec![weight.shallow_clone()]);
    (0..3).for_each(|i| step(&weight, optimizer.as_mut(), i));
    let other = weight.detach().copy().set_requires_grad(true);
    let mut resumed = new(vec![other.shallow_clone()]);
    resumed.load_state(&optimizer.state()).unwrap();
    (3..6).for_each(|i| step(&weight, optimizer.as_mut(), i));
    (3..6).for_each(|i| step(&other, resumed.as_mut(), i));
    let _guard = NoGrad::new();
    assert!(weight.equal(&other), "not the same bits");
}

#[test]
fn state_resumes_to_the_bit() {
    resumed_equals_uninterrupted(|list| {
        Box::new(AdamW::new(list, AdamWConfig::default()).unwrap())
    });
    resumed_equals_uninterrupted(|list| {
        Box::new(Muon::new(list, vec![vec![5, 3]], MuonConfig::default()).unwrap())
    });
}

#[test]
fn a_state_that_does_not_fit_is_refused_whole() {
    let mut optimizer = AdamW::new(vec![parameter(&[2], 0.0)], AdamWConfig::default()).unwrap();
    let wrong = AdamW::new(vec![parameter(&[3], 0.0)], AdamWConfig::default()).unwrap();
    let error = optimizer.load_state(&wrong.state()).unwrap_err().to_string();
    assert!(error.contains("exp_avg of parameter 0 is Float [3], expected Float [2]"), "{error}");
    let mut missing = optimizer.state();
    missing.pop();
    assert!(optimizer.load_state(&missing).is_err());
    let twice: Vec<_> = (0..3).map(|_| optimizer.state().remove(0)).collect();
    assert!(optimizer.load_state(&twice).unwrap_err().to_string().contains("twice"));
}
