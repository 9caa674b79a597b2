//! Progress for people: counts in; a bar on a terminal, or a line now and then elsewhere, out.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::message;

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// The progress of one stage. Dropping it takes the bar away.
pub struct Progress {
    name: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    last: Instant,
}

impl Progress {
    /// Begins a stage, like "cleaning".
    pub fn new(name: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(name);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let now = Instant::now();
        Self { name, bar, started: now, last: now }
    }

    /// `done` of `total` (where known), with a few words like the loss.
    pub fn update(&mut self, done: u64, total: Option<u64>, words: &str) {
        match &self.bar {
            Some(bar) => {
                if let Some(total) = total
                    && bar.length() != Some(total)
                {
                    bar.set_length(total);
                    bar.set_style(style());
                }
                bar.set_position(done);
                bar.set_message(format!("{} {words}", self.name));
            }
            None if self.last.elapsed() >= EVERY => {
                self.last = Instant::now();
                let of = total.map_or(String::new(), |total| format!(" of {total}"));
                message(format!("{}: {done}{of} {words}", self.name));
            }
            None => {}
        }
    }

    /// Writes a line for people without spoiling the bar.
    pub fn message(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| message(text)),
            None => message(text),
        }
    }

    /// Ends the stage with a line that says what came out and how long it took.
    pub fn finish(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        message(format!(
            "{}: {outcome} ({:.1} s)",
            self.name,
            self.started.elapsed().as_secs_f64()
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:24} {pos}/{len} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
