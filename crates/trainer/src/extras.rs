//! What the loop calls beside its five lines: reading and judging a step, reports, checkpoints, evaluations, the end.

use crate::checkpoint::{self, Score};
use crate::run::Run;
use crate::spike::Verdict;
use crate::{Callbacks, Error, Event, Outcome, Result, StepMetrics, report, validation};
use idiolect_model::Model;
use std::path::PathBuf;
use std::time::Duration;
use tch::{Device, Tensor};

/// A step's loss in nats per label and the norm of its gradient.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub loss: f64,
    pub grad_norm: f64,
}

impl Run<'_> {
    /// Reads a step's figures if somebody needs them. On a GPU each reading waits for all that was asked of it, so that without the
    /// spike guard only the steps that are reported or saved are read (and only those can be skipped).
    pub fn read(&self, loss: &Tensor, grad_norm: &Tensor) -> Result<Option<Reading>> {
        let step = self.progress.step + 1;
        let is_needed = self.guard.is_on() || self.is_report(step) || self.is_checkpoint(step);
        if !is_needed && loss.device() != Device::Cpu {
            return Ok(None);
        }
        let (loss, grad_norm) = (loss.f_double_value(&[])?, grad_norm.f_double_value(&[])?);
        Ok(Some(Reading { loss, grad_norm }))
    }

    /// Whether the optimizer may take the step. Too many in a row that are not finite are an error.
    pub fn accepts(
        &mut self,
        reading: Option<Reading>,
        callbacks: &mut dyn Callbacks,
    ) -> Result<bool> {
        let Some(Reading { loss, grad_norm }) = reading else { return Ok(true) };
        let step = self.progress.step + 1;
        match self.guard.judge(loss, grad_norm) {
            Verdict::Take => return Ok(true),
            Verdict::NonFinite(count) if count >= self.setup.config.max_non_finite => {
                return Err(Error::NonFinite { step, loss, grad_norm, count });
            }
            Verdict::Spike | Verdict::NonFinite(_) => {}
        }
        self.progress.skipped += 1;
        callbacks.on_event(Event::Skipped { step, loss, grad_norm });
        Ok(false)
    }

    /// Counts a step that was taken or skipped.
    pub fn advance(&mut self, took: Duration, positions: usize) {
        self.progress.step += 1;
        self.progress.cursor += self.plan.rows as u64;
        self.progress.tokens += positions as u64;
        self.progress.seconds += took.as_secs_f64();
    }

    /// Every `log_every` steps, at the first and at the last: a line, points and an event.
    pub fn report(
        &mut self,
        reading: Option<Reading>,
        callbacks: &mut dyn Callbacks,
    ) -> Result<()> {
        let (now, before) = (self.progress, self.reported);
        let Some(Reading { loss, grad_norm }) = reading else { return Ok(()) };
        if !self.is_report(now.step) {
            return Ok(());
        }
        let factor = self.plan.schedule.factor(now.step - 1);
        let metrics = StepMetrics {
            step: now.step,
            loss,
            learning_rate: self.setup.config.learning_rate * factor,
            grad_norm,
            tokens: now.tokens,
            skipped: now.skipped,
            tokens_per_second: (now.tokens - before.tokens) as f64 / (now.seconds - before.seconds),
            seconds: now.seconds,
        };
        self.journal.step(&metrics)?;
        let seconds_a_step = (now.seconds - before.seconds) / (now.step - before.step) as f64;
        let eta_seconds = seconds_a_step * (self.plan.steps - now.step) as f64;
        self.reported = now;
        callbacks.on_event(Event::Step { metrics, steps: self.plan.steps, eta_seconds });
        Ok(())
    }

    /// A checkpoint every `checkpoint_every` steps and after the last, before the evaluation.
    pub fn save_if_due(&mut self, model: &Model, callbacks: &mut dyn Callbacks) -> Result<()> {
        if self.is_checkpoint(self.progress.step) {
            self.save(model, callbacks)?;
        }
        Ok(())
    }

    /// An evaluation every `validate_every` steps and after the last, unless this step has had its own.
    pub fn evaluate_if_due(
        &mut self,
        model: &mut Model,
        callbacks: &mut dyn Callbacks,
    ) -> Result<()> {
        let step = self.progress.step;
        let Some(samples) = self.setup.validation else { return Ok(()) };
        let is_done = self.scores.last().is_some_and(|score| score.step == step);
        if step == 0 || is_done || !self.is_due(self.setup.config.validate_every, step) {
            return Ok(());
        }
        model.train(false);
        let (micro_rows, dtype) = (self.plan.micro_rows, self.setup.config.dtype);
        let metrics = validation::evaluate(
            model,
            &self.objective,
            samples,
            &self.chosen,
            micro_rows,
            (dtype, step),
        )?;
        self.journal.validation(&metrics)?;
        // JSON has neither infinity nor NaN, and a score that cannot be read back would spoil the next checkpoint.
        let loss = Some(metrics.validation_loss).filter(|loss| loss.is_finite());
        let (accuracy, macro_f1) = (metrics.accuracy, metrics.macro_f1);
        self.scores.push(Score { step, loss: loss.unwrap_or(f64::MAX), accuracy, macro_f1 });
        callbacks.on_event(Event::Validated(metrics));
        callbacks.on_validation(step, model).map_err(Error::Callback)?;
        model.train(true);
        let is_best = self.best().is_some_and(|best| best.step == step);
        if is_best && !checkpoint::is_there(&self.checkpoints(), step) {
            self.save(model, callbacks)?;
        }
        self.prune()
    }

    /// The evaluation whose checkpoint becomes the model, where the configuration asks for the best: of those that have one, as a
    /// run that asked for it only later may lack some.
    pub fn best(&self) -> Option<&Score> {
        let now = self.progress.step;
        let kept = |score: &&Score| {
            score.step == now || checkpoint::is_there(&self.checkpoints(), score.step)
        };
        self.setup.config.best_by?.best(self.scores.iter().filter(kept))
    }

    /// Whether too many evaluations in a row were no better.
    pub fn is_out_of_patience(&self) -> bool {
        let config = self.setup.config;
        let by = config.best_by.unwrap_or_default();
        config.patience.is_some_and(|patience| by.is_out_of_patience(&self.scores, patience))
    }

    /// Saves everything and ends; the micro-batches of the step that was begun are computed again on resume.
    pub fn stop(&mut self, model: &Model, callbacks: &mut dyn Callbacks) -> Result<Outcome> {
        let checkpoint = self.save(model, callbacks)?;
        Ok(Outcome::Stopped { step: self.progress.step, checkpoint })
    }

    /// Writes `model/` and `report.md` of a run whose steps are all done, or whose patience is.
    pub fn finish(&mut self, model: &mut Model, callbacks: &mut dyn Callbacks) -> Result<Outcome> {
        model.train(false);
        if self.was_finished {
            return Ok(Outcome::Finished(Box::new(report::read(self, model)?)));
        }
        let step = self.progress.step;
        if step < self.plan.steps && !checkpoint::is_there(&self.checkpoints(), step) {
            self.save(model, callbacks)?;
        }
        if let Some(best) = self.best().filter(|best| best.step != step) {
            checkpoint::restore(&self.checkpoints(), best.step, model)?;
        }
        self.journal.position()?;
        Ok(Outcome::Finished(Box::new(report::write(self, model, callbacks)?)))
    }

    fn save(&mut self, model: &Model, callbacks: &mut dyn Callbacks) -> Result<PathBuf> {
        let state = self.state()?;
        let path = checkpoint::save(&self.checkpoints(), model, &self.optimizers, &state)?;
        let step = self.progress.step;
        callbacks.on_event(Event::Saved { step, path: path.clone() });
        self.prune()?;
        Ok(path)
    }

    fn prune(&self) -> Result<()> {
        let (last, best) = (self.setup.config.keep_last, self.setup.config.keep_best);
        let best = (best, self.setup.config.best_by.unwrap_or_default());
        checkpoint::prune(&self.checkpoints(), &self.scores, last, best)
    }

    fn is_report(&self, step: u64) -> bool {
        step == 1 || self.is_due(Some(self.setup.config.log_every), step)
    }

    fn is_checkpoint(&self, step: u64) -> bool {
        self.is_due(self.setup.config.checkpoint_every, step)
    }

    fn is_due(&self, every: Option<u64>, step: u64) -> bool {
        step == self.plan.steps || every.is_some_and(|every| step.is_multiple_of(every))
    }
}
