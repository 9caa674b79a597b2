//! Scoring: rows of ids and a model in, the log-probability of every id after the first out.

use idiolect_model::tch::{Kind, Tensor};
use idiolect_model::{Error as ModelError, Inputs, Model};

use crate::Result;

/// How many logits may exist at once: 256 MiB of them in f32.
const LOGITS: usize = 1 << 26;

/// Scores each row. Neighbours of one length go through the model together.
pub(super) fn score_rows(model: &Model, rows: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
    let vocab_size = model.config().vocab_size();
    let mut scores = Vec::with_capacity(rows.len());
    for alike in rows.chunk_by(|a, b| a.len() == b.len()) {
        let length = alike[0].len();
        if length < 2 {
            scores.extend(alike.iter().map(|_| Vec::new()));
            continue;
        }
        let at_once = (LOGITS / (length * vocab_size.max(1))).max(1);
        for batch in alike.chunks(at_once) {
            scores.extend(score_batch(model, batch, length, vocab_size)?);
        }
    }
    Ok(scores)
}

// B rows, T ids but the last, V vocabulary
fn score_batch(
    model: &Model,
    rows: &[Vec<u32>],
    length: usize,
    vocab_size: usize,
) -> Result<Vec<Vec<f32>>> {
    let ids: Vec<i64> = rows.iter().flatten().map(|&id| i64::from(id)).collect();
    // The model checks what it reads; the last id of a row it only predicts.
    if let Some(&id) = ids.iter().find(|&&id| id >= vocab_size as i64) {
        return Err(ModelError::IdOutOfRange { id, vocab_size }.into());
    }
    let (rows, read) = (rows.len() as i64, length as i64 - 1);
    let ids = Tensor::f_from_slice(&ids)?.f_view([rows, read + 1])?.f_to(model.device())?;
    let inputs = Inputs::new(ids.f_narrow(1, 0, read)?.f_contiguous()?);
    let next = ids.f_narrow(1, 1, read)?.f_unsqueeze(2)?; // [B, T, 1]
    let chosen = model.logits(&inputs)?.f_log_softmax(2, Kind::Float)?.f_gather(2, &next, false)?;
    let flat = Vec::<f32>::try_from(chosen.f_reshape([-1])?)?;
    Ok(flat.chunks(length - 1).map(<[f32]>::to_vec).collect())
}
