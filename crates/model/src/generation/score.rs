//! Scores ids that are given: rows of ids in, the log-probability of every id after the first out.

use crate::gpt::Gpt;
use crate::model::NO_GPT_HEAD;
use crate::{Error, Inputs, Model, Result};
use idiolect_torch::{NoGrad, TorchError};
use tch::{Kind, Tensor};

/// How many logits exist at once: 128 MiB of them in f32.
const LOGITS: i64 = 1 << 25;

impl Model {
    /// For each row, the natural log-probabilities of `row[1..]`, each given all before it. Neighbours
    /// of one length go through the model together. A GPT only; a row may have one id more than the
    /// context, since the last is only predicted.
    pub fn score(&self, rows: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let gpt = self.decoder("score")?;
        let _guard = NoGrad::new();
        let mut scores = Vec::with_capacity(rows.len());
        for alike in rows.chunk_by(|a, b| a.len() == b.len()) {
            let length = alike[0].len();
            if length < 2 {
                scores.extend(alike.iter().map(|_| Vec::new()));
                continue;
            }
            let rows_at_once = (LOGITS as usize / (length * gpt.config().vocab_size)).max(1);
            for batch in alike.chunks(rows_at_once) {
                let flat = idiolect_torch::catch(|| self.score_batch(gpt, batch))??;
                scores.extend(flat.chunks(length - 1).map(<[f32]>::to_vec));
            }
        }
        Ok(scores)
    }

    /// Rows of one length, `[B, T + 1]`, to scores, `B * T` of them.
    fn score_batch(&self, gpt: &Gpt, rows: &[Vec<u32>]) -> Result<Vec<f32>> {
        let vocab_size = gpt.config().vocab_size;
        let ids: Vec<i64> = rows.iter().flatten().map(|&id| i64::from(id)).collect();
        // The inputs are checked below; the last id of a row is no input.
        if let Some(&id) = ids.iter().find(|&&id| id >= vocab_size as i64) {
            return Err(Error::IdOutOfRange { id, vocab_size });
        }
        let length = rows[0].len() as i64 - 1;
        let ids = Tensor::from_slice(&ids).view([-1, length + 1]).to_device(self.device());
        let inputs = Inputs::new(ids.narrow(1, 0, length).contiguous());
        inputs.check(&self.config())?;
        let next = ids.narrow(1, 1, length).reshape([-1, 1]);
        let hidden = gpt.hidden_states(&inputs)?.flatten(0, 1); // [B T, D]
        let (positions, at_once) = (hidden.size()[0], (LOGITS / vocab_size as i64).max(1));
        let mut scores = Vec::with_capacity(positions as usize);
        for start in (0..positions).step_by(at_once as usize) {
            let count = at_once.min(positions - start);
            let logits = gpt.head(&hidden.narrow(0, start, count)).unwrap_or(Err(NO_GPT_HEAD))?;
            let chosen =
                logits.log_softmax(-1, Kind::Float).gather(1, &next.narrow(0, start, count), false);
            scores.extend(Vec::<f32>::try_from(chosen.squeeze_dim(1)).map_err(TorchError::from)?);
        }
        Ok(scores)
    }
}
