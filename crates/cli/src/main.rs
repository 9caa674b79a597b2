//! The binary `idiolect`: arguments in; a library's work, files, results and an exit status out.

mod arguments;
mod commands;
mod fine_tune_file;
mod machine;
mod output;
mod progress;
mod run_file;
mod samples;
mod sampling;
mod section;
mod stop;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use output::{Usage, message};

fn main() -> ExitCode {
    report_bugs();
    let arguments = arguments::Arguments::parse();
    // A panic has been reported by the hook; it must not end in status 101.
    let outcome = catch_unwind(AssertUnwindSafe(|| commands::run(arguments)));
    ExitCode::from(match outcome {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => failed(&error),
        Err(_) => 1,
    })
}

/// Tells what failed, and with which status to exit.
fn failed(error: &anyhow::Error) -> u8 {
    let nobody_reads = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(nobody_reads) {
        return 0;
    }
    message(format!("error: {error:#}"));
    if error.chain().any(|cause| cause.is::<Usage>()) { 2 } else { 1 }
}

/// A panic is a bug of ours: one short message instead of a trace.
fn report_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        message(format!(
            "internal error at {place}: {what}\nThis is a bug. Please report it with the command you ran: {}/issues",
            env!("CARGO_PKG_REPOSITORY")
        ));
    }));
}
