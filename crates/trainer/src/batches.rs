//! Samples and a cursor come in; the micro-batches of one optimizer step, and their tensors, go out.

use crate::{Plan, Result};
use idiolect_dataset::{Batch, Samples};
use idiolect_model::Inputs;
use idiolect_torch::catch;
use tch::{Device, Tensor};

/// The micro-batches of the step that begins at `cursor`, a count of rows since the first epoch began. Each epoch goes through the
/// samples in an order of its own and leaves none out: a micro-batch that would span two epochs is cut in two.
pub fn of_step(samples: &dyn Samples, plan: &Plan, seed: u64, cursor: u64) -> Result<Vec<Batch>> {
    let mut batches = Vec::with_capacity(plan.rows.div_ceil(plan.micro_rows));
    let (mut from, end) = (cursor, cursor + plan.rows as u64);
    while from < end {
        let (epoch, first) = (from / samples.len(), from % samples.len());
        let rows = (end - from).min(plan.micro_rows as u64).min(samples.len() - first);
        let rows_of_batch: Vec<u64> =
            (first..first + rows).map(|index| samples.sample_at(seed, epoch, index)).collect();
        batches.push(samples.batch(epoch, &rows_of_batch)?);
        from += rows;
    }
    Ok(batches)
}

/// The model's inputs and the labels, `[B, T]`, or the classes, `[B]`, on the device.
pub fn tensors(batch: &Batch, device: Device) -> Result<(Inputs, Tensor)> {
    let shape = [batch.rows as i64, batch.columns as i64];
    let tensor = |ids: &[i64]| catch(|| Tensor::from_slice(ids).reshape(shape).to_device(device));
    let optional = |ids: &Option<Vec<i64>>| ids.as_deref().map(tensor).transpose();
    let inputs = Inputs {
        ids: tensor(&batch.ids)?,
        document_ids: optional(&batch.document_ids)?,
        position_ids: optional(&batch.position_ids)?,
        attention_mask: optional(&batch.attention_mask)?,
        token_type_ids: optional(&batch.token_type_ids)?,
    };
    let targets = match &batch.classes {
        None => tensor(&batch.labels)?,
        Some(classes) => Tensor::f_from_slice(classes)?.f_to(device)?,
    };
    Ok((inputs, targets))
}

/// The seed of libtorch's generator, which only dropout uses, for one micro-batch of one rank.
pub fn dropout_seed(seed: u64, step: u64, micro_batch: usize, rank: u64) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"dropout");
    for number in [seed, step, micro_batch as u64, rank] {
        hasher.update(&number.to_le_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(first)
}
