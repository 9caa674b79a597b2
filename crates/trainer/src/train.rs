//! The training loop: batch, forward, backward, step, report; everything else is a function called every n steps.

use crate::extras::Reading;
use crate::objective::Objective;
use crate::run::{Run, Setup};
use crate::{Callbacks, Dtype, Error, Outcome, Result, RunContext, TrainerConfig, batches};
use idiolect_dataset::{Batch, Samples};
use idiolect_model::Model;
use idiolect_torch::{Autocast, grad_norm, scale_grads, seed};
use std::path::Path;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Trains `model` on `train` in the folder `run_dir`, going on from its newest whole checkpoint if there is one.
///
/// The gradient of a step is that of the mean loss over all labels of the global batch (of classes, the mean with their weights),
/// however it is cut into micro-batches.
/// Stopped by any means and called again with the same arguments, it ends with the same weights, to the bit.
pub fn train(
    model: &mut Model,
    train: &dyn Samples,
    validation: Option<&dyn Samples>,
    config: &TrainerConfig,
    run_dir: &Path,
    context: &RunContext,
    callbacks: &mut dyn Callbacks,
) -> Result<Outcome> {
    let setup = Setup { train, validation, config, run_dir, context };
    let mut run = Run::open(setup, model, callbacks)?;
    let device = model.device();
    let parameters: Vec<Tensor> =
        model.parameters().iter().map(|parameter| parameter.tensor.shallow_clone()).collect();
    // A run that ended between a checkpoint and its evaluation still owes it.
    run.evaluate_if_due(model, callbacks)?;

    while run.progress.step < run.plan.steps && !run.is_out_of_patience() {
        let clock = Instant::now();
        let step = run.progress.step;
        let batches = batches::of_step(train, &run.plan, config.seed, run.progress.cursor)?;
        let weight = weight_of_step(&run.objective, &batches, step)?;
        let mut loss = Tensor::from(0f32).to_device(device);
        run.optimizers.zero_grad();
        for (index, batch) in batches.iter().enumerate() {
            if callbacks.should_stop() {
                return run.stop(model, callbacks);
            }
            seed(device, batches::dropout_seed(config.seed, step, index, 0))?;
            let (inputs, targets) = batches::tensors(batch, device)?;
            let autocast = autocast(device, config.dtype)?;
            let share = run.objective.loss(model, &inputs, &targets)?.f_div_scalar(weight)?;
            drop(autocast);
            share.f_backward()?;
            loss = loss.f_add(&share.detach())?;
        }
        let norm = grad_norm(&parameters)?;
        let read = run.read(&loss, &norm)?;
        if run.accepts(read, callbacks)? {
            clip(&parameters, &norm, read, config.clip_norm)?;
            run.optimizers.step(run.plan.schedule.factor(step))?;
        }
        run.advance(clock.elapsed(), batches.iter().map(|batch| batch.rows * batch.columns).sum());
        run.report(read, callbacks)?;
        run.save_if_due(model, callbacks)?;
        run.evaluate_if_due(model, callbacks)?;
    }
    run.finish(model, callbacks)
}

/// Matrix products in the configured number format while this lives.
pub fn autocast(device: Device, dtype: Dtype) -> Result<Option<Autocast>> {
    match dtype {
        Dtype::F32 => Ok(None),
        Dtype::Bf16 => Ok(Some(Autocast::new(device, Kind::BFloat16)?)),
    }
}

fn weight_of_step(objective: &Objective, batches: &[Batch], step: u64) -> Result<f64> {
    match batches.iter().map(|batch| objective.weight(batch)).sum::<Result<f64>>()? {
        0.0 => Err(Error::NoLabels { step: step + 1 }),
        weight => Ok(weight),
    }
}

// As `torch.nn.utils.clip_grad_norm_` does. Where the norm was read and is short enough, a pass over all gradients is saved.
fn clip(parameters: &[Tensor], norm: &Tensor, read: Option<Reading>, longest: f64) -> Result<()> {
    if longest == 0.0 || read.is_some_and(|read| read.grad_norm <= longest) {
        return Ok(());
    }
    let factor =
        norm.f_add_scalar(1e-6)?.f_reciprocal()?.f_mul_scalar(longest)?.f_clamp_max(1.0)?;
    Ok(scale_grads(parameters, &factor)?)
}
