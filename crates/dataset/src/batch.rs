//! What a trainer receives: sample numbers go in, plain integers with a shape come out.

use crate::error::{Error, Result};
use crate::order::Order;

/// A label at which no loss is taken.
pub const IGNORE_LABEL: i64 = -100;

/// Rows of equal length, ready to become tensors of shape `[rows, columns]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The number of samples.
    pub rows: usize,
    /// The length of each.
    pub columns: usize,
    /// What the model reads.
    pub ids: Vec<i64>,
    /// What position `t` must predict, already shifted; [`IGNORE_LABEL`] where no loss is taken.
    pub labels: Vec<i64>,
    /// Some where whole rows have a label each: the number of its class. Then `labels` is empty.
    pub classes: Option<Vec<i64>>,
    /// Some where documents are isolated: positions with equal numbers in a row may see each other.
    pub document_ids: Option<Vec<i64>>,
    /// Some where documents are isolated: the position within the document.
    pub position_ids: Option<Vec<i64>>,
    /// Some where rows are padded: 1 real, 0 padding.
    pub attention_mask: Option<Vec<i64>>,
    /// Some where the model tells segments apart.
    pub token_type_ids: Option<Vec<i64>>,
    /// Bytes of text behind the labels (of a masked row: of all its text), the divisor of bits per byte.
    pub label_bytes: u64,
}

/// A data set that gives any of its samples by number, from any thread.
pub trait Samples: Send + Sync {
    /// The number of samples an epoch.
    fn len(&self) -> u64;

    /// The length of a sample.
    fn columns(&self) -> usize;

    /// The samples of these numbers, in this order. The epoch matters where masks are drawn.
    fn batch(&self, epoch: u64, samples: &[u64]) -> Result<Batch>;

    /// The sample at a position of an epoch: every sample once, in the order of this seed.
    fn sample_at(&self, seed: u64, epoch: u64, index: u64) -> u64 {
        Order::new(seed, epoch, self.len()).at(index)
    }

    /// Whether there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Refuses numbers of samples that do not exist.
pub(crate) fn check_samples(samples: &[u64], count: u64) -> Result<()> {
    match samples.iter().find(|&&sample| sample >= count) {
        Some(&sample) => Err(Error::NoSuchSample { sample, count }),
        None => Ok(()),
    }
}
