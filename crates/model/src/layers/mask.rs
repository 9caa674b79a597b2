//! Who may see whom: causal order, isolated documents and padding, as one mask made once a forward pass.

use tch::{Kind, Tensor};

/// What attention is told.
#[derive(Debug)]
pub(crate) enum Mask {
    /// Everything sees everything.
    Open,
    /// Each position sees itself and those before it.
    Causal,
    /// Added to the scores, `[B, 1, T, S]`: 0 where seen, minus infinity elsewhere.
    Additive(Tensor),
}

/// The mask of a batch; a tensor only where documents are isolated or something is padded.
/// `document_ids` and `attention_mask` are `[B, T]`. Every position sees itself, padding too:
/// a row without any key would be NaN.
pub(crate) fn attention_mask(
    causal: bool,
    document_ids: Option<&Tensor>,
    attention_mask: Option<&Tensor>,
    kind: Kind,
) -> Mask {
    let Some(some) = document_ids.or(attention_mask) else {
        return if causal { Mask::Causal } else { Mask::Open };
    };
    let (length, device) = (some.size()[1], some.device());
    let mut seen = Tensor::ones([1, length, length], (Kind::Bool, device));
    if causal {
        seen = seen.tril(0);
    }
    if let Some(documents) = document_ids {
        seen = seen.logical_and(&documents.unsqueeze(2).eq_tensor(&documents.unsqueeze(1)));
    }
    if let Some(real) = attention_mask {
        seen = seen.logical_and(&real.ne(0).unsqueeze(1));
        seen = seen.logical_or(&Tensor::eye(length, (Kind::Bool, device)));
    }
    let closed = seen.logical_not().unsqueeze(1);
    let open = Tensor::zeros(closed.size(), (kind, device));
    Mask::Additive(open.masked_fill(&closed, f64::NEG_INFINITY))
}
