//! A verb in, the work done out: what someone with the source does with the tree. Links no libtorch, so it builds in seconds.
#![allow(clippy::print_stdout, reason = "a program talks to people")]

use clap::{Parser, Subcommand};

mod libtorch;
mod pip;
mod process;
mod setup;

/// Set up, run, test and release Idiolect from its source.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Provide libtorch under .libtorch/
    Setup(setup::Arguments),
}

fn main() {
    if let Err(error) = work() {
        eprintln!("error: {error:#}");
        std::process::exit(error.downcast_ref().map_or(1, process::Ended::code));
    }
}

fn work() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    process::note_signals()?;
    let root = process::root();
    match arguments.verb {
        Verb::Setup(arguments) => setup::setup(&root, &arguments),
    }
}
