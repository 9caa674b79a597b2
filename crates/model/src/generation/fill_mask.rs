//! The likeliest ids at given positions of a sequence, by a BERT.

use crate::model::NO_HEAD;
use crate::{Error, Inputs, Model, Result};
use idiolect_torch::{NoGrad, TorchError};
use tch::{Kind, Tensor};

/// One candidate for a masked position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The id.
    pub id: u32,
    /// Its probability.
    pub probability: f32,
}

impl Model {
    /// The `top_k` likeliest ids at each of `positions`, likeliest first. A BERT only.
    pub fn fill_mask(
        &self,
        ids: &[u32],
        positions: &[usize],
        top_k: usize,
    ) -> Result<Vec<Vec<Prediction>>> {
        let Self::Bert(bert) = self else {
            return Err(Error::Unsupported { model: "a GPT", what: "fill in masks" });
        };
        if let Some(position) = positions.iter().find(|&&position| position >= ids.len()) {
            let problem = format!("has {position}, the sequence has {} ids", ids.len());
            return Err(Error::Input { name: "positions", problem });
        }
        let (top_k, _guard) = (top_k.min(bert.config().vocab_size) as i64, NoGrad::new());
        idiolect_torch::catch(|| {
            let hidden = bert.hidden_states(&Inputs::new(self.row(ids)?))?;
            let places: Vec<i64> = positions.iter().map(|&position| position as i64).collect();
            let places = Tensor::from_slice(&places).to_device(hidden.device());
            let rows = hidden.squeeze_dim(0).index_select(0, &places); // [positions, D]
            let logits = bert.head(&rows).unwrap_or(Err(NO_HEAD))?;
            let (shares, ids) = logits.softmax(-1, Kind::Float).topk(top_k, -1, true, true);
            (0..positions.len() as i64).map(|row| predictions(&shares, &ids, row)).collect()
        })?
    }
}

fn predictions(shares: &Tensor, ids: &Tensor, row: i64) -> Result<Vec<Prediction>> {
    let shares = Vec::<f32>::try_from(shares.get(row)).map_err(TorchError::from)?;
    let ids = Vec::<i64>::try_from(ids.get(row)).map_err(TorchError::from)?;
    let pair = |(id, probability)| Prediction { id: id as u32, probability };
    Ok(ids.into_iter().zip(shares).map(pair).collect())
}
