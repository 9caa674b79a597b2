//! A `[trainer]` section and a size of samples come in; the numbers that run, or the key that is wrong, go out.

use crate::config::DEFAULT_GLOBAL_BATCH_SIZE;
use crate::schedule::{Schedule, ScheduleKind};
use crate::{Error, OptimizerConfig, Result, Spike, TrainerConfig};

/// The most ids of one step, since all of them are in memory at once, with their labels: 8 GiB.
const MAX_IDS: usize = 1 << 29;

/// What runs: the numbers a [`TrainerConfig`] comes to for a set of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Optimizer steps in all.
    pub steps: u64,
    /// Rows of one optimizer step.
    pub rows: usize,
    /// Rows of one forward and backward pass.
    pub micro_rows: usize,
    /// Step to share of the peak rate.
    pub schedule: Schedule,
}

impl TrainerConfig {
    /// Checks every key and works out what runs over `samples` training samples of `columns` positions.
    pub fn plan(&self, samples: u64, columns: usize) -> Result<Plan> {
        if samples == 0 || columns == 0 {
            return Err(Error::NoSamples);
        }
        self.check_numbers()?;
        let rows = self.global_rows(columns)?;
        self.check_step(rows, columns)?;
        let micro_rows = self.micro_batch_size.unwrap_or(rows);
        if micro_rows > rows {
            let problem = format!("{micro_rows} rows are more than the {rows} of a step");
            return invalid("micro_batch_size", problem);
        }
        let steps = self.total_steps(samples, rows)?;
        Ok(Plan { steps, rows, micro_rows, schedule: self.schedule(steps)? })
    }

    fn global_rows(&self, columns: usize) -> Result<usize> {
        match (self.global_batch_size, self.global_batch_tokens) {
            (Some(_), Some(_)) => {
                invalid("global_batch_tokens", "cannot be given beside global_batch_size")
            }
            (Some(rows), None) => Ok(rows),
            (None, None) => Ok(self.micro_batch_size.unwrap_or(DEFAULT_GLOBAL_BATCH_SIZE)),
            (None, Some(tokens)) if tokens % columns == 0 => Ok(tokens / columns),
            (None, Some(tokens)) => invalid(
                "global_batch_tokens",
                format!("{tokens} is not a multiple of the {columns} tokens of a row"),
            ),
        }
    }

    fn check_step(&self, rows: usize, columns: usize) -> Result<()> {
        let key = match (self.global_batch_tokens, self.global_batch_size) {
            (Some(_), _) => "global_batch_tokens",
            (None, Some(_)) => "global_batch_size",
            (None, None) => "micro_batch_size",
        };
        match rows.checked_mul(columns) {
            Some(ids) if ids <= MAX_IDS => Ok(()),
            _ => invalid(
                key,
                format!("makes a step of {rows} rows of {columns} ids, at most {MAX_IDS} fit"),
            ),
        }
    }

    fn total_steps(&self, samples: u64, rows: usize) -> Result<u64> {
        match (self.steps, self.epochs) {
            (Some(_), Some(_)) => invalid("epochs", "cannot be given beside steps"),
            (None, None) => invalid("steps", "is missing: give steps or epochs"),
            (Some(steps), None) => Ok(steps),
            (None, Some(epochs)) => Ok((epochs * samples as f64 / rows as f64).ceil() as u64),
        }
    }

    fn schedule(&self, steps: u64) -> Result<Schedule> {
        if self.warmup_steps >= steps {
            return invalid(
                "warmup_steps",
                format!("{} leaves nothing of the {steps} steps", self.warmup_steps),
            );
        }
        let after_warmup = steps - self.warmup_steps;
        let decay_steps = match (self.schedule, self.decay_steps) {
            (ScheduleKind::Wsd, Some(decay)) if decay > after_warmup => {
                return invalid(
                    "decay_steps",
                    format!("{decay} is more than the {after_warmup} steps after the warmup"),
                );
            }
            (ScheduleKind::Wsd, decay) => decay.unwrap_or((steps / 5).clamp(1, after_warmup)),
            (_, Some(_)) => return invalid("decay_steps", "needs schedule = \"wsd\""),
            (_, None) => after_warmup,
        };
        Ok(Schedule {
            kind: self.schedule,
            warmup_steps: self.warmup_steps,
            decay_steps,
            steps,
            floor: self.min_learning_rate / self.learning_rate,
        })
    }

    fn check_numbers(&self) -> Result<()> {
        self.check_counts()?;
        let adamw = self.optimizer.adamw();
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let not_negative = |value: f64| value >= 0.0 && value.is_finite();
        let share = |value: f64| (0.0..1.0).contains(&value);
        require(positive(self.learning_rate), "learning_rate", "must be positive")?;
        require(
            (0.0..=self.learning_rate).contains(&self.min_learning_rate),
            "min_learning_rate",
            "must lie between 0 and learning_rate",
        )?;
        require(
            self.min_learning_rate == 0.0 || self.schedule != ScheduleKind::Constant,
            "min_learning_rate",
            "is never reached with schedule = \"constant\"",
        )?;
        let embedding = self.embedding_learning_rate.unwrap_or(1.0);
        require(positive(embedding), "embedding_learning_rate", "must be positive")?;
        let head = self.head_learning_rate.unwrap_or(1.0);
        require(positive(head), "head_learning_rate", "must be positive")?;
        require(not_negative(self.clip_norm), "clip_norm", "must be 0 or positive")?;
        require(self.epochs.is_none_or(positive), "epochs", "must be positive")?;
        require(share(adamw.beta1), "optimizer.beta1", "must lie in [0, 1)")?;
        require(share(adamw.beta2), "optimizer.beta2", "must lie in [0, 1)")?;
        require(positive(adamw.epsilon), "optimizer.epsilon", "must be positive")?;
        require(
            not_negative(adamw.weight_decay),
            "optimizer weight decay",
            "must not be negative",
        )?;
        if let OptimizerConfig::Muon(muon) = &self.optimizer {
            require(positive(muon.learning_rate), "optimizer.learning_rate", "must be positive")?;
            require(share(muon.momentum), "optimizer.momentum", "must lie in [0, 1)")?;
            require(
                not_negative(muon.weight_decay),
                "optimizer.weight_decay",
                "must not be negative",
            )?;
            let iterations = muon.newton_schulz_steps;
            require(iterations > 0, "optimizer.newton_schulz_steps", "must be at least 1")?;
        }
        if let Some(weights) = &self.class_weights {
            let sound = weights.iter().all(|weight| not_negative(*weight));
            require(sound, "class_weights", "must be 0 or positive")?;
            require(weights.iter().any(|weight| *weight > 0.0), "class_weights", "are all 0")?;
        }
        require(
            self.best_by.is_none() || self.keep_best > 0,
            "keep_best",
            "must be at least 1 with best_by",
        )?;
        if let Spike::On(spike) = &self.spike {
            require(spike.window >= 2, "spike.window", "must be at least 2")?;
            require(positive(spike.sigma), "spike.sigma", "must be positive")?;
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<()> {
        let counts = [
            ("steps", self.steps),
            ("micro_batch_size", self.micro_batch_size.map(|n| n as u64)),
            ("global_batch_size", self.global_batch_size.map(|n| n as u64)),
            ("global_batch_tokens", self.global_batch_tokens.map(|n| n as u64)),
            ("decay_steps", self.decay_steps),
            ("validate_every", self.validate_every),
            ("validation_batches", self.validation_batches),
            ("checkpoint_every", self.checkpoint_every),
            ("keep_last", Some(self.keep_last as u64)),
            ("max_non_finite", Some(self.max_non_finite)),
            ("log_every", Some(self.log_every)),
            ("patience", self.patience.map(|n| n as u64)),
            ("threads", self.threads.map(|n| n as u64)),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == Some(0)) {
            return invalid(key, "must be at least 1");
        }
        // More than any machine has; libtorch ends the process over a number that its threads do not fit.
        require(self.threads.is_none_or(|n| n <= 1024), "threads", "must be at most 1024")
    }
}

fn require(holds: bool, key: &'static str, message: &str) -> Result<()> {
    if holds { Ok(()) } else { invalid(key, message) }
}

fn invalid<T>(key: &'static str, message: impl Into<String>) -> Result<T> {
    Err(Error::Config { key: key.into(), message: message.into() })
}
