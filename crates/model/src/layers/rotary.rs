//! Rotary positions: halves of each head are rotated by an angle that grows with the position (Su et al. 2021, section 3.2).

use crate::config::{RopeScaling, Yarn};
use std::cell::RefCell;
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// Rows that the tables have from the start; they grow when a longer sequence comes.
const FIRST_ROWS: i64 = 4096;

/// The frequencies, and tables of cosines and sines as long as was needed so far.
#[derive(Debug)]
pub(crate) struct Rotary {
    config: RotaryConfig,
    device: Device,
    tables: RefCell<Tables>,
}

/// What the angles follow from.
#[derive(Clone, Debug)]
pub(crate) struct RotaryConfig {
    /// Positions.
    pub(crate) context: i64,
    /// How many numbers of a head are rotated.
    pub(crate) width: i64,
    pub(crate) theta: f64,
    pub(crate) scaling: Option<RopeScaling>,
    pub(crate) turn: Turn,
}

/// Cosines and sines of the first positions.
#[derive(Debug)]
struct Tables {
    /// `[rows, d]`, the half repeated.
    cos: Tensor,
    /// `[rows, d]`, the first half negated: a rotation is `x * cos + roll(x) * sin`.
    sin: Tensor,
    /// The length that dynamic frequencies are for.
    length: i64,
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
    pub(crate) fn new(config: RotaryConfig, device: Device) -> Self {
        let rows = config.context.min(FIRST_ROWS);
        let tables = RefCell::new(Tables::new(&config, rows, rows, device));
        Self { config, device, tables }
    }

    /// The angles of `length` positions from `start` on.
    pub(crate) fn range(&self, start: i64, length: i64) -> Angles {
        self.grow(start + length);
        let tables = self.tables.borrow();
        let rows = |table: &Tensor| table.narrow(0, start, length).unsqueeze(1);
        Angles { cos: rows(&tables.cos), sin: rows(&tables.sin) }
    }

    /// The angles of these positions, `[B, T]`.
    pub(crate) fn at(&self, position_ids: &Tensor) -> Angles {
        // Reading the largest position back costs a wait on a GPU: only where it may matter.
        let dynamic = matches!(self.config.scaling, Some(RopeScaling::Dynamic { .. }));
        if dynamic || self.config.context > FIRST_ROWS {
            self.grow(position_ids.max().int64_value(&[]) + 1);
        }
        let tables = self.tables.borrow();
        let rows = |table: &Tensor| {
            let flat = table.index_select(0, &position_ids.flatten(0, -1));
            let size = position_ids.size();
            flat.view([size[0], size[1], 1, self.config.width])
        };
        Angles { cos: rows(&tables.cos), sin: rows(&tables.sin) }
    }

    /// Makes the tables long enough for `length` positions, and dynamic frequencies those of that length.
    fn grow(&self, length: i64) {
        let mut tables = self.tables.borrow_mut();
        let rows = tables.cos.size()[0];
        let stale = match &self.config.scaling {
            Some(RopeScaling::Dynamic { original_max_position_embeddings: original, .. }) => {
                let original = *original as i64;
                length.max(original) != tables.length.max(original)
            }
            _ => false,
        };
        if length > rows || stale {
            let wanted = (length as u64).next_power_of_two() as i64;
            let rows = rows.max(wanted.min(self.config.context)).max(length);
            *tables = Tables::new(&self.config, rows, length, self.device);
        }
    }
}

impl Tables {
    /// As Transformers computes them, in f32, so that logits agree.
    fn new(config: &RotaryConfig, rows: i64, length: i64, device: Device) -> Self {
        let options = (Kind::Float, Device::Cpu);
        let (frequencies, factor) = frequencies(config, length);
        let angles = Tensor::arange(rows, options).outer(&frequencies); // [rows, d/2]
        let (mut cos, mut sin) = (angles.cos(), angles.sin());
        if factor != 1.0 {
            (cos, sin) = (cos * factor, sin * factor);
        }
        let sines = match config.turn {
            Turn::Forward => [-&sin, sin],
            Turn::Backward => [sin.shallow_clone(), -&sin],
        };
        let cos = Tensor::cat(&[&cos, &cos], -1).to_device(device);
        Self { cos, sin: Tensor::cat(&sines, -1).to_device(device), length }
    }
}

impl Angles {
    /// Cosines and signed sines.
    pub(crate) fn tables(&self) -> [&Tensor; 2] {
        [&self.cos, &self.sin]
    }

    /// How many numbers of a head are rotated.
    pub(crate) fn width(&self) -> i64 {
        self.cos.size().last().copied().unwrap_or(0)
    }

    /// Rotates the first numbers of each head of `[B, T, H, d]`.
    pub(crate) fn rotate_part(&self, heads: &Tensor) -> Tensor {
        let (width, whole) = (self.width(), heads.size()[3]);
        let (turning, rest) = (heads.narrow(3, 0, width), heads.narrow(3, width, whole - width));
        let (cos, sin) = (self.cos.to_kind(heads.kind()), self.sin.to_kind(heads.kind()));
        let turned = &turning * cos + turning.roll([width / 2], [-1]) * sin;
        Tensor::cat(&[turned, rest], 3)
    }
}

/// The frequencies of a sequence of `length`, `[d/2]`, and what cosines and sines are multiplied by.
fn frequencies(config: &RotaryConfig, length: i64) -> (Tensor, f64) {
    let width = config.width as f64;
    let powers = Tensor::arange_start_step(0, config.width, 2, (Kind::Float, Device::Cpu)) / width;
    let of_base = |base: f64| Tensor::from(base as f32).pow(&powers).reciprocal();
    match &config.scaling {
        None => (of_base(config.theta), 1.0),
        Some(RopeScaling::Linear { factor }) => (of_base(config.theta) / *factor, 1.0),
        Some(RopeScaling::Dynamic { factor, original_max_position_embeddings: original }) => {
            let original = *original as f64;
            let stretch = factor * (length as f64).max(original) / original - (factor - 1.0);
            (of_base(config.theta * stretch.powf(width / (width - 2.0))), 1.0)
        }
        Some(RopeScaling::Yarn(yarn)) => yarned(of_base(config.theta), config, yarn),
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: original,
        }) => {
            let original = *original as f64;
            let plain = of_base(config.theta);
            let waves = TAU * plain.reciprocal();
            let slow = &plain / *factor;
            let smooth = (original * waves.reciprocal() - *low) / (high - low);
            let between = (1.0 - &smooth) * &slow + &smooth * &plain;
            let scaled = slow.where_self(&waves.gt(original / low), &between);
            (plain.where_self(&waves.lt(original / high), &scaled), 1.0)
        }
    }
}

/// Peng et al. 2023, section 3.4, as Transformers reads it.
fn yarned(plain: Tensor, config: &RotaryConfig, yarn: &Yarn) -> (Tensor, f64) {
    let (width, original) = (config.width as f64, yarn.original_max_position_embeddings as f64);
    let dimension =
        |turns: f64| width * (original / (turns * TAU)).ln() / (2.0 * config.theta.ln());
    let (mut low, mut high) = (dimension(yarn.beta_fast), dimension(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(width - 1.0));
    if low == high {
        high += 0.001;
    }
    let steps = Tensor::arange(config.width / 2, (Kind::Float, Device::Cpu));
    let ramp = ((steps - low) / (high - low)).clamp(0.0, 1.0);
    let kept = 1.0 - &ramp;
    let scaled = &plain / yarn.factor * (1.0 - &kept) + &plain * &kept;
    let scale = |weight: f64| match yarn.factor > 1.0 {
        true => 0.1 * weight * yarn.factor.ln() + 1.0,
        false => 1.0,
    };
    let usual = match (yarn.mscale, yarn.mscale_all_dim) {
        (Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
        _ => scale(1.0),
    };
    (scaled, yarn.attention_factor.unwrap_or(usual))
}
