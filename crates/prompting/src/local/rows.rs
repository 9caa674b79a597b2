//! Texts to rows of ids that need no padding: those of one length go through the model together.

use std::collections::BTreeMap;

use idiolect_model::tch::Tensor;
use idiolect_model::{Inputs, Model};
use idiolect_tokenizer::{Special, Tokenizer};

use crate::{Error, Result};

/// How many ids go through the model at once.
const IDS: usize = 4096;

/// Texts as ids, cut to what the model takes.
pub(super) struct Rows {
    ids: Vec<Vec<u32>>,
    /// How many texts were too long and lost their end.
    pub(super) cut: usize,
}

impl Rows {
    /// Encodes with the special tokens that the tokenizer adds. A text that is too long loses its end, but not
    /// the token that closes it.
    pub(super) fn new(tokenizer: &Tokenizer, texts: &[&str], most: usize) -> Result<Self> {
        let mut rows = Self { ids: tokenizer.encode_batch(texts, Special::Add), cut: 0 };
        for ids in &mut rows.ids {
            let Some(&last) = ids.last() else {
                let what = "is empty, and the tokenizer adds no token to it".to_owned();
                return Err(Error::Request { field: "text", what });
            };
            if ids.len() > most {
                ids.truncate(most);
                rows.cut += 1;
                if let Some(end) = ids.last_mut().filter(|_| tokenizer.is_special(last)) {
                    *end = last;
                }
            }
        }
        Ok(rows)
    }

    /// Runs `f` on all rows, several at once, and gives each row's vector of numbers, in order.
    pub(super) fn map(
        &self,
        model: &Model,
        f: impl Fn(&Inputs) -> Result<Tensor>,
    ) -> Result<Vec<Vec<f32>>> {
        let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, ids) in self.ids.iter().enumerate() {
            by_length.entry(ids.len()).or_default().push(index);
        }
        let mut out = vec![Vec::new(); self.ids.len()];
        for (length, indices) in by_length {
            for batch in indices.chunks((IDS / length).max(1)) {
                let ids: Vec<i64> =
                    batch.iter().flat_map(|&row| &self.ids[row]).map(|&id| i64::from(id)).collect();
                let ids =
                    Tensor::f_from_slice(&ids)?.f_view([batch.len() as i64, length as i64])?;
                let rows = f(&Inputs::new(ids.f_to(model.device())?))?; // [B, N]
                let width = rows.size().get(1).copied().unwrap_or(0).max(1) as usize;
                let flat = Vec::<f32>::try_from(rows.f_reshape([-1])?)?;
                for (&row, numbers) in batch.iter().zip(flat.chunks(width)) {
                    out[row] = numbers.to_vec();
                }
            }
        }
        Ok(out)
    }
}
