//! Padded batches without their padding: `[B, T, D]` to the real positions side by side, `[1, N, D]`, and back.

use crate::Inputs;
use crate::layers::{Mask, View};
use tch::{Kind, Tensor};

/// Where the real positions of a batch are. Each layer then computes nothing for padding (Portes et al. 2023,
/// section 3.1), and each sequence attends to itself alone.
#[derive(Debug)]
pub(crate) struct Unpadded {
    /// `[N]`, indices into `B * T`, in order.
    places: Tensor,
    lengths: Vec<i64>,
    /// B and T.
    size: (i64, i64),
}

impl Unpadded {
    /// Nothing where less than an eighth is padding (one call for all sequences is then faster than one for
    /// each), where some is in front or between, or where documents are to be isolated.
    pub(crate) fn of(inputs: &Inputs) -> Option<Self> {
        let mask = inputs.attention_mask.as_ref().filter(|_| inputs.document_ids.is_none())?;
        let real = mask.ne(0);
        let size = mask.size2().ok()?;
        let counts = real.sum_dim_intlist(1, true, Kind::Int64); // [B, 1]
        let usual = Tensor::arange(size.1, (Kind::Int64, mask.device())).lt_tensor(&counts);
        let lengths = Vec::<i64>::try_from(counts.squeeze_dim(1)).ok()?;
        let total: i64 = lengths.iter().sum();
        if total == 0 || 8 * total > 7 * size.0 * size.1 || !real.equal(&usual) {
            return None;
        }
        let places = real.flatten(0, 1).nonzero().squeeze_dim(1);
        Some(Self { places, lengths, size })
    }

    /// `[B, T, ..]` to `[1, N, ..]`.
    pub(crate) fn take(&self, padded: &Tensor) -> Tensor {
        padded.flatten(0, 1).index_select(0, &self.places).unsqueeze(0)
    }

    /// `[1, N, D]` to `[B, T, D]`, zeros at padding.
    pub(crate) fn restore(&self, rows: &Tensor) -> Tensor {
        let ((batch, length), width) = (self.size, rows.size()[2]);
        let empty = Tensor::zeros([batch * length, width], (rows.kind(), rows.device()));
        empty.index_copy(0, &self.places, &rows.squeeze_dim(0)).view([batch, length, width])
    }

    /// The position of each id in its sequence, or its given one, `[1, N]`.
    pub(crate) fn position_ids(&self, given: Option<&Tensor>) -> Tensor {
        match given {
            Some(given) => self.take(given),
            None => self.places.remainder(self.size.1).unsqueeze(0),
        }
    }

    /// The mask of each sequence.
    pub(crate) fn mask(&self, view: View<'_>) -> Mask {
        let of = |&length: &i64| {
            (length, View { length, attention_mask: None, document_ids: None, ..view }.mask())
        };
        Mask::Each(self.lengths.iter().filter(|&&length| length > 0).map(of).collect())
    }
}
