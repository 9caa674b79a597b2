//! The commands, a file each: arguments in, an exit status out.

mod chat;
mod data;
mod doctor;
mod embed;
mod estimate;
mod evaluate;
mod export;
mod fill_mask;
mod fine_tune;
mod generate;
mod import;
mod model_folder;
mod predict;
mod stages;
mod tokenizer;
mod train;

use anyhow::Result;

pub use evaluate::EvaluateSection;

use crate::arguments::{Arguments, Command};
use crate::output::Output;
use crate::stop::Stop;

/// The status of a command that did what it was told.
const DONE: u8 = 0;

/// Runs the command that was typed.
pub fn run(arguments: Arguments) -> Result<u8> {
    let common = &arguments.common;
    let output = Output::new(common.json);
    let stop = Stop::listen()?;
    match arguments.command {
        Command::Data(command) => data::run(&command, common, output),
        Command::Tokenizer(command) => tokenizer::run(command, common, output),
        Command::Train(train) => train::run(&train, common, output, stop),
        Command::Evaluate(evaluate) => evaluate::run(&evaluate, common, output),
        Command::Generate(generate) => generate::run(&generate, common, output, &stop),
        Command::Chat(chat) => chat::run(&chat, common, output, &stop),
        Command::FillMask(fill_mask) => fill_mask::run(fill_mask, common, output),
        Command::Embed(embed) => embed::run(embed, common, output),
        Command::Predict(predict) => predict::run(predict, common, output),
        Command::Import(import) => import::run(&import, common, &stop),
        Command::Export(export) => export::run(&export, common, &stop),
        Command::Estimate(estimate) => estimate::run(&estimate, common, output),
        Command::Doctor => doctor::run(common, output),
    }
}
