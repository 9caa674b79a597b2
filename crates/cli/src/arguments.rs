//! The command line as the user types it: words in, [`Arguments`] out.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::sampling::Sampling;

/// From raw text to a working language model, and from a language model to answers.
#[derive(Debug, Parser)]
#[command(name = "idiolect", version, max_term_width = 100, after_help = AFTER)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
}

const AFTER: &str = "Results go to standard output, messages to standard error.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C, 143 by SIGTERM.";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Print one JSON object a line on standard output, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Where all randomness comes from [default: the run file's, or 0]
    #[arg(long, global = true, value_name = "N")]
    pub seed: Option<u64>,
    /// Where tensors live: cpu, cuda, cuda:N or mps
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    /// The precision of the arithmetic [default: the run file's, or the weights']
    #[arg(long, global = true, value_name = "DTYPE")]
    pub dtype: Option<Dtype>,
    /// How many processor threads to use [default: one a core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// How many bits a weight of a decoder gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Quantization {
    /// 8.5 bits a weight: blocks of 32 with a scale
    Int8,
    /// 5 bits a weight (the table of tokens 8.5): blocks of 32 with a scale and a minimum
    Int4,
}

/// A precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 32-bit floats
    F32,
    /// bfloat16: as wide a range in 16 bits
    Bf16,
    /// IEEE 16-bit floats
    F16,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read, clean, deduplicate and split text
    #[command(subcommand)]
    Data(Data),
    /// Train a tokenizer, or turn text into ids and back
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Train what a run file says; goes on from the newest checkpoint
    Train(Train),
    /// Score a model
    Evaluate(Evaluate),
    /// Continue a text
    Generate(Generate),
    /// Talk with a model
    Chat(Chat),
    /// Fill in the masks of a text
    FillMask(FillMask),
    /// A vector for each text
    Embed(Embed),
    /// The label of each text, by a model with a classification head
    Predict(Predict),
    /// A GGUF file or a Hugging Face folder becomes a model folder that Transformers opens
    Import(Import),
    /// A model folder becomes a GGUF file that llama.cpp runs, or a folder that Transformers opens
    Export(Export),
    /// Parameters, memory, FLOPs, time, energy and cost of a run, before anything is spent
    Estimate(Estimate),
    /// What this machine has, and what to do about what it lacks
    Doctor,
}

/// A run file and what to change in it.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// The run file (TOML)
    #[arg(value_name = "RUN.toml")]
    pub run_file: PathBuf,
    /// Change a key of the run file, like trainer.steps=200; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `idiolect data ...`
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Read, clean, deduplicate and split; a report of what was dropped and why
    Prepare(RunArguments),
    /// Show the report again
    Report {
        /// A folder that `data prepare` wrote, or the run's folder
        dir: PathBuf,
    },
}

/// `idiolect tokenizer ...`
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train the tokenizer of a run file
    Train(RunArguments),
    /// Text to ids
    Encode {
        /// A folder with tokenizer.json
        dir: PathBuf,
        /// The text; without it, a line each from standard input
        text: Option<String>,
    },
    /// Ids to text
    Decode {
        /// A folder with tokenizer.json
        dir: PathBuf,
        /// The ids, with commas or blanks between; without them, a line each from standard input
        #[arg(num_args = 0..)]
        ids: Vec<String>,
        /// Leave special tokens out of the text
        #[arg(long)]
        skip_special: bool,
    },
}

/// `idiolect train ...`
#[derive(Debug, Args)]
pub struct Train {
    /// What to train.
    #[command(flatten)]
    pub run: RunArguments,
    /// Begin anew: move what an earlier run left to previous-N first
    #[arg(long)]
    pub restart: bool,
}

/// `idiolect evaluate ...`
#[derive(Debug, Args)]
pub struct Evaluate {
    /// A run file with a section [evaluate]; its own model unless --model is given
    #[arg(value_name = "RUN.toml", required_unless_present = "model")]
    pub run_file: Option<PathBuf>,
    /// Change a key of the run file, like evaluate.stride=32; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "run_file")]
    pub set: Vec<String>,
    /// The model's folder, its run's, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// What to score; may be repeated
    #[arg(long = "task", value_name = "NAME", required_unless_present = "run_file")]
    pub tasks: Vec<Task>,
    /// The file to score on: plain text, or JSONL with a field `text` (.jsonl, .gz or .zst or neither)
    #[arg(long, value_name = "FILE", required_unless_present = "run_file")]
    pub data: Option<PathBuf>,
    /// Tokens that a window predicts from at most [default: all that the model takes]
    #[arg(long, value_name = "N")]
    pub context_length: Option<usize>,
    /// Tokens from one window to the next [default: the context length, so that none overlap]
    #[arg(long, value_name = "N")]
    pub stride: Option<usize>,
    /// Weights in fewer bits, on the CPU
    #[arg(long, value_name = "BITS")]
    pub quantize: Option<Quantization>,
}

/// What can be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Nats a token, perplexity and bits per byte of a text
    Perplexity,
}

/// `idiolect generate ...`
#[derive(Debug, Args)]
pub struct Generate {
    /// The model's folder, its run's, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The text to continue; without it, a line each from standard input
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// The most tokens to add
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_new_tokens: usize,
    /// How to choose the next token.
    #[command(flatten)]
    pub sampling: Sampling,
    /// End the text before this; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// When the context is full, go on with the first SINKS tokens and the newest ones [4]
    #[arg(long, value_name = "SINKS", num_args = 0..=1, default_missing_value = "4")]
    pub slide: Option<usize>,
    /// Weights in fewer bits, on the CPU
    #[arg(long, value_name = "BITS")]
    pub quantize: Option<Quantization>,
    /// Print the prompt too
    #[arg(long)]
    pub echo: bool,
    /// The natural log-probability of each id (with --echo, of the prompt's too)
    #[arg(long, requires = "json")]
    pub logprobs: bool,
}

/// `idiolect chat ...`
#[derive(Debug, Args)]
pub struct Chat {
    /// The model's folder, its run's, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// What the model is told to be
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// A Jinja template instead of the model's own
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// The most tokens of an answer [default: the model's own, or 1024]
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Weights in fewer bits, on the CPU
    #[arg(long, value_name = "BITS")]
    pub quantize: Option<Quantization>,
    /// When the context is full, go on with the first SINKS tokens and the newest ones [4]
    #[arg(long, value_name = "SINKS", num_args = 0..=1, default_missing_value = "4")]
    pub slide: Option<usize>,
    /// How to choose the next token.
    #[command(flatten)]
    pub sampling: Sampling,
}

/// `idiolect fill-mask ...`
#[derive(Debug, Args)]
pub struct FillMask {
    /// The model's folder, its run's, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The text with its masks, like "to be or [MASK] to be"; without it, a line each from standard input
    pub text: Option<String>,
    /// How many predictions a mask
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: u32,
}

/// `idiolect embed ...`
#[derive(Debug, Args)]
pub struct Embed {
    /// The model's folder, its run's, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The text; without it, a line each from standard input
    pub text: Option<String>,
    /// What becomes of the hidden states [default: as the model's folder says; mean, or last for a decoder]
    #[arg(long, value_name = "HOW")]
    pub pooling: Option<PoolingArgument>,
    /// Make vectors of length 1 [default: as the model's folder says]
    #[arg(long, conflicts_with = "no_normalize")]
    pub normalize: bool,
    /// Leave vectors as long as they are
    #[arg(long)]
    pub no_normalize: bool,
}

/// How hidden states become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PoolingArgument {
    /// Their mean
    Mean,
    /// The first one's
    Cls,
    /// The last one's
    Last,
}

/// `idiolect predict ...`
#[derive(Debug, Args)]
pub struct Predict {
    /// The model's folder, its run's, or a GGUF file
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The text; without it, a line each from standard input
    pub text: Option<String>,
}

/// `idiolect import ...`
#[derive(Debug, Args)]
pub struct Import {
    /// A GGUF file, or a folder as Hugging Face lays it out
    pub from: PathBuf,
    /// The folder to make
    pub to: PathBuf,
}

/// `idiolect export ...`
#[derive(Debug, Args)]
pub struct Export {
    /// The model's folder, its run's, or a GGUF file
    pub from: PathBuf,
    /// What to make: a GGUF file if it ends in .gguf, or else a folder
    pub to: PathBuf,
    /// The numbers of a GGUF file's matrices [default: F16]
    #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
    pub gguf_type: Option<GgufType>,
}

/// How a GGUF file has its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "verbatim")]
#[allow(non_camel_case_types)] // The format's own names.
pub enum GgufType {
    /// 32-bit floats
    F32,
    /// IEEE 16-bit floats
    F16,
    /// bfloat16
    #[value(name = "BF16")]
    Bf16,
    /// 8.5 bits a number
    Q8_0,
    /// 4.5 bits (the table that makes logits 8.5): a scale for each 32 numbers
    Q4_0,
    /// 4.5 bits (the table that makes logits 8.5): scales and minima searched for in blocks of 256
    Q4_K,
}

/// `idiolect estimate ...`
#[derive(Debug, Args)]
pub struct Estimate {
    /// What to estimate.
    #[command(flatten)]
    pub run: RunArguments,
    /// The machine's speed in FLOP/s, instead of measuring this one's
    #[arg(long, value_name = "FLOPS", value_parser = positive)]
    pub flops: Option<f64>,
    /// What the machine draws while it works, for the energy
    #[arg(long, value_name = "W", value_parser = positive)]
    pub watts: Option<f64>,
    /// What an hour of the machine costs, in any currency
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub price_per_hour: Option<f64>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        Ok(_) => Err("must be above 0".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn common_options_stand_before_or_after_the_command() {
        let check = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).expect(line);
            assert!(arguments.common.json && arguments.common.seed == Some(3), "{line}");
        };
        check("idiolect --json --seed 3 doctor");
        check("idiolect train run.toml --seed 3 --json");
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "idiolect",
            "idiolect chat --system x",
            "idiolect train",
            "idiolect evaluate",
            "idiolect evaluate --model m",
            "idiolect generate --prompt x",
            "idiolect generate --model m --logprobs",
            "idiolect doctor --threads 0",
            "idiolect export a b.gguf --type Q9",
            "idiolect doctor --dtype f8",
            "idiolect estimate run.toml --watts -3",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
