//! Ctrl-C and SIGTERM: signals in; a flag to poll and an exit status out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Hears Ctrl-C and SIGTERM. They end the process at once, until [`Stop::gracefully`] is called: from then on the first
/// one only asks, and the second ends it.
#[derive(Debug, Clone)]
pub struct Stop {
    at_once: Arc<AtomicBool>,
    /// The exit status of the signal that came, 0 before.
    status: Arc<AtomicUsize>,
}

impl Stop {
    /// Listens from now on.
    pub fn listen() -> Result<Self> {
        let stop = Self { at_once: Arc::new(AtomicBool::new(true)), status: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            stop.hear(signal).context("cannot listen for Ctrl-C")?;
        }
        Ok(stop)
    }

    fn hear(&self, signal: i32) -> std::io::Result<()> {
        let status = exit_status(signal);
        // The order matters: a first signal must find the flag as it was, and set it only then.
        flag::register_conditional_shutdown(signal, status.into(), Arc::clone(&self.at_once))?;
        flag::register(signal, Arc::clone(&self.at_once))?;
        flag::register_usize(signal, Arc::clone(&self.status), usize::from(status))?;
        Ok(())
    }

    /// From now on someone polls [`Stop::asked`].
    pub fn gracefully(&self) {
        self.at_once.store(false, Ordering::Relaxed);
    }

    /// From now on nobody does.
    pub fn immediately(&self) {
        self.at_once.store(true, Ordering::Relaxed);
    }

    /// As if none had come.
    pub fn forget(&self) {
        self.status.store(0, Ordering::Relaxed);
    }

    /// Whether a signal has come.
    pub fn asked(&self) -> bool {
        self.status.load(Ordering::Relaxed) != 0
    }

    /// The exit status for the signal that came: 130 for Ctrl-C, 143 for SIGTERM.
    pub fn status(&self) -> u8 {
        self.status.load(Ordering::Relaxed) as u8
    }
}

/// What a shell says of a process that a signal ended.
fn exit_status(signal: i32) -> u8 {
    if signal == SIGTERM { 143 } else { 130 }
}
