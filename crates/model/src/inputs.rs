//! What a model reads: ids and what belongs to them, as tensors, with the checks of the public functions.

use crate::{Error, ModelConfig, Result};
use tch::{Kind, Tensor};

/// A batch of ids. All tensors are `[B, T]`, i64, on the device of the model.
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

    /// Checks shapes, kinds, lengths and ranges against a model.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<()> {
        let size = self.ids.size();
        if size.len() != 2 || size.contains(&0) {
            return Err(refuse("ids", format!("is of shape {size:?}, must be [B, T]")));
        }
        let (got, max) = (size[1] as usize, config.context_length());
        if got > max {
            return Err(Error::TooLong { got, max });
        }
        let extras = [
            ("document_ids", &self.document_ids),
            ("position_ids", &self.position_ids),
            ("attention_mask", &self.attention_mask),
            ("token_type_ids", &self.token_type_ids),
        ];
        let some = extras.iter().filter_map(|(name, it)| it.as_ref().map(|it| (*name, it)));
        for (name, tensor) in std::iter::once(("ids", &self.ids)).chain(some) {
            if tensor.kind() != Kind::Int64 || tensor.size() != size {
                let (kind, shape) = (tensor.kind(), tensor.size());
                return Err(refuse(name, format!("is {kind:?} {shape:?}, must be Int64 {size:?}")));
            }
        }
        check_range("ids", &self.ids, config.vocab_size())?;
        if let Some(position_ids) = &self.position_ids {
            check_range("position_ids", position_ids, max)?;
        }
        match (&self.token_type_ids, config) {
            (None, _) => Ok(()),
            (Some(_), ModelConfig::Bert(bert)) if bert.token_types == 0 => {
                Err(refuse("token_type_ids", "has no place: this model has no segments"))
            }
            (Some(types), ModelConfig::Bert(bert)) => {
                check_range("token_type_ids", types, bert.token_types)
            }
            (Some(_), ModelConfig::Gpt(_)) => {
                Err(refuse("token_type_ids", "belongs to BERT; a GPT has no segments"))
            }
        }
    }
}

fn refuse(name: &'static str, problem: impl Into<String>) -> Error {
    Error::Input { name, problem: problem.into() }
}

/// Checks that all numbers are at least 0 and below `end`: one pass, one number read back.
pub(crate) fn check_range(name: &'static str, tensor: &Tensor, end: usize) -> Result<()> {
    let (low, high) = (tensor.min().int64_value(&[]), tensor.max().int64_value(&[]));
    let wrong = if low < 0 { low } else { high };
    match (0..end as i64).contains(&wrong) {
        true => Ok(()),
        false if name == "ids" => Err(Error::IdOutOfRange { id: wrong, vocab_size: end }),
        false => Err(refuse(name, format!("has {wrong}, must be at least 0 and below {end}"))),
    }
}
