//! A verb in, the work done out: what someone with the source does with the tree. Links no libtorch, so it builds in seconds.
#![allow(clippy::print_stdout, reason = "a program talks to people")]

use clap::{Parser, Subcommand};

mod bench;
mod bundle;
mod changelog;
mod compare;
mod doctor;
mod fuzz;
mod libtorch;
mod map;
mod peers;
mod pip;
mod process;
mod release;
mod run;
mod setup;
mod source;
mod test;
mod tidy;

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
    /// Run a recipe to its end, setting up first if needed
    Run(run::Arguments),
    /// Every check that CI runs, setting up first if needed
    Test(test::Arguments),
    /// What this machine has and lacks for building, and what to type
    Doctor(doctor::Arguments),
    /// Measure: Criterion for the parts, alternating runs against peers
    Bench(bench::Arguments),
    /// Make a release ready: version, changelog, verified packages, archive; publishes nothing
    Release(release::Arguments),
    /// A small folder that runs beside any Python with a given PyTorch
    Bundle(bundle::Arguments),
    /// Paths that documents name, the map of crates, the house's rules
    Tidy,
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
        Verb::Run(arguments) => run::run(&root, &arguments),
        Verb::Test(arguments) => test::test(&root, &arguments),
        Verb::Doctor(arguments) => doctor::doctor(&root, &arguments),
        Verb::Bench(arguments) => bench::bench(&root, &arguments),
        Verb::Release(arguments) => release::release(&root, &arguments),
        Verb::Bundle(arguments) => bundle::bundle(&root, &arguments),
        Verb::Tidy => tidy::tidy(&root),
    }
}
