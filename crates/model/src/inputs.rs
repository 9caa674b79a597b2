//! What a model reads: ids and what belongs to them, as tensors.

use tch::Tensor;

/// A batch of ids. All tensors are `[B, T]`, i64.
#[derive(Debug)]
pub struct Inputs {
    /// The ids.
    pub ids: Tensor,
    /// Positions see each other only where these numbers are equal.
    pub document_ids: Option<Tensor>,
    /// The position of each id; 0, 1, 2, ... when absent.
    pub position_ids: Option<Tensor>,
    /// 1 for an id, 0 for padding.
    pub attention_mask: Option<Tensor>,
    /// The segment of each id; 0 when absent (BERT only).
    pub token_type_ids: Option<Tensor>,
}

impl Inputs {
    /// Ids alone.
    pub fn new(ids: Tensor) -> Self {
        Self {
            ids,
            document_ids: None,
            position_ids: None,
            attention_mask: None,
            token_type_ids: None,
        }
    }
}
