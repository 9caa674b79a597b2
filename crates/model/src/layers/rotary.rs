//! Rotary positions: halves of each head are rotated by an angle that grows with the position (Su et al. 2021, section 3.2).

use tch::{Device, Kind, Tensor};

/// The tables of cosines and sines, made once for a model.
#[derive(Debug)]
pub(crate) struct Rotary {
    /// `[context, d]`, the half repeated.
    cos: Tensor,
    /// `[context, d]`, the first half negated: a rotation is `x * cos + roll(x) * sin`.
    sin: Tensor,
    width: i64,
}

/// The rows of the tables for one forward pass, `[T, 1, d]` or `[B, T, 1, d]`.
#[derive(Debug)]
pub(crate) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

/// Which way a head turns: NanoChat turns against all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Forward,
    Backward,
}

impl Rotary {
    pub(crate) fn new(context: i64, width: i64, theta: f64, turn: Turn, device: Device) -> Self {
        let options = (Kind::Float, Device::Cpu);
        // As Transformers computes them, in f32, so that logits agree.
        let powers = Tensor::arange_start_step(0, width, 2, options) / width as f64;
        let frequencies = Tensor::from(theta as f32).pow(&powers).reciprocal();
        let angles = Tensor::arange(context, options).outer(&frequencies); // [context, d/2]
        let (cos, sin) = (angles.cos(), angles.sin());
        let sines = match turn {
            Turn::Forward => [-&sin, sin],
            Turn::Backward => [sin.shallow_clone(), -&sin],
        };
        Self {
            cos: Tensor::cat(&[&cos, &cos], -1).to_device(device),
            sin: Tensor::cat(&sines, -1).to_device(device),
            width,
        }
    }

    /// The angles of `length` positions from `start` on.
    pub(crate) fn range(&self, start: i64, length: i64) -> Angles {
        let rows = |table: &Tensor| table.narrow(0, start, length).unsqueeze(1);
        Angles { cos: rows(&self.cos), sin: rows(&self.sin) }
    }

    /// The angles of these positions, `[B, T]`.
    pub(crate) fn at(&self, position_ids: &Tensor) -> Angles {
        let rows = |table: &Tensor| {
            let flat = table.index_select(0, &position_ids.flatten(0, -1));
            let size = position_ids.size();
            flat.view([size[0], size[1], 1, self.width])
        };
        Angles { cos: rows(&self.cos), sin: rows(&self.sin) }
    }
}

impl Angles {
    /// Cosines and signed sines.
    pub(crate) fn tables(&self) -> [&Tensor; 2] {
        [&self.cos, &self.sin]
    }
}
