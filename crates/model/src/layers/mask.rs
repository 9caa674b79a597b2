//! Who may see whom: causal order, windows, isolated documents and padding, as one mask made once a forward pass.

use tch::{Device, Kind, Tensor};

/// What attention is told.
#[derive(Debug)]
pub(crate) enum Mask {
    /// Everything sees everything.
    Open,
    /// Each position sees itself and those before it.
    Causal,
    /// Added to the scores, `[B, 1, T, S]`: 0 where seen, minus infinity elsewhere.
    Additive(Tensor),
    /// Sequences of these lengths lie side by side in one row, each with a mask of its own.
    Each(Vec<(i64, Mask)>),
}

/// What a mask follows from. T positions from `start` on look at all up to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// Positions see none after them.
    pub(crate) causal: bool,
    /// How far they see, to each side: position `t` sees `s` where `|t - s|` is less.
    pub(crate) window: Option<i64>,
    pub(crate) start: i64,
    pub(crate) length: i64,
    /// `[B, T]`; only where `start` is 0.
    pub(crate) document_ids: Option<&'a Tensor>,
    /// `[B, T]`; only where `start` is 0.
    pub(crate) attention_mask: Option<&'a Tensor>,
    pub(crate) kind: Kind,
    pub(crate) device: Device,
}

impl View<'_> {
    /// The mask; a tensor only where one is needed. Every position sees itself, padding too: a row
    /// without any key would be NaN.
    pub(crate) fn mask(self) -> Mask {
        let Self { causal, start, length, .. } = self;
        let keys = start + length;
        let window = self.window.filter(|&window| window < keys);
        // libtorch's own causal order has the first position see the first key alone.
        let plain = !causal || start == 0 || length == 1;
        if self.document_ids.or(self.attention_mask).is_none() && window.is_none() && plain {
            return if causal { Mask::Causal } else { Mask::Open };
        }
        let bools = (Kind::Bool, self.device);
        let mut seen = Tensor::ones([1, length, keys], bools);
        if causal {
            seen = seen.tril(start);
        }
        if let Some(window) = window {
            seen = seen.triu(start - window + 1);
            if !causal {
                seen = seen.tril(start + window - 1);
            }
        }
        if let Some(documents) = self.document_ids {
            seen = seen.logical_and(&documents.unsqueeze(2).eq_tensor(&documents.unsqueeze(1)));
        }
        if let Some(real) = self.attention_mask {
            seen = seen.logical_and(&real.ne(0).unsqueeze(1));
            seen = seen.logical_or(&Tensor::eye(length, bools));
        }
        let closed = seen.logical_not().unsqueeze(1);
        let open = Tensor::zeros(closed.size(), (self.kind, self.device));
        Mask::Additive(open.masked_fill(&closed, f64::NEG_INFINITY))
    }
}
