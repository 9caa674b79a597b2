//! `idiolect tokenizer`: documents to a tokenizer; text to ids and back.

use anyhow::{Context, Result};
use idiolect_tokenizer::{Special, Tokenizer};
use serde::Serialize;

use super::{DONE, stages};
use crate::arguments::{Common, TokenizerCommand};
use crate::machine;
use crate::output::{Output, texts, usage};
use crate::run_file::RunFile;

/// Runs one of the tokenizer's commands.
pub fn run(command: TokenizerCommand, common: &Common, output: Output) -> Result<u8> {
    machine::set_threads(common)?;
    match command {
        TokenizerCommand::Train(run) => {
            let run = RunFile::read(&run, common)?;
            let prepared = stages::documents(&run)?;
            let (tokenizer, folder) = stages::tokenizer(&run, &prepared)?;
            let trained = Trained {
                tokenizer: folder.display().to_string(),
                vocab_size: tokenizer.vocab_size(),
                hash: tokenizer.hash(),
            };
            output.result(&trained, |it| format!("{} ids in {}", it.vocab_size, it.tokenizer))?;
        }
        TokenizerCommand::Encode { dir, text } => {
            let tokenizer = load(&dir)?;
            for text in texts(text) {
                encode(&tokenizer, text?, output)?;
            }
        }
        TokenizerCommand::Decode { dir, ids, skip_special } => {
            let tokenizer = load(&dir)?;
            let argument = (!ids.is_empty()).then(|| ids.join(" "));
            for ids in texts(argument) {
                decode(&tokenizer, parse_ids(&ids?)?, skip_special, output)?;
            }
        }
    }
    Ok(DONE)
}

fn load(dir: &std::path::Path) -> Result<Tokenizer> {
    let in_run = dir.join("tokenizer");
    let has_one = dir.join("tokenizer.json").is_file() || !in_run.join("tokenizer.json").is_file();
    let folder = if has_one { dir } else { &in_run };
    Tokenizer::open(folder)
        .with_context(|| format!("cannot load the tokenizer in {}", folder.display()))
}

#[derive(Serialize)]
struct Trained {
    tokenizer: String,
    vocab_size: usize,
    hash: String,
}

#[derive(Serialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
    tokens: Vec<String>,
    /// Where each token stands in the text: first byte and the one after the last.
    offsets: Vec<[usize; 2]>,
}

fn encode(tokenizer: &Tokenizer, text: String, output: Output) -> Result<()> {
    let encoding = tokenizer.encode_with_offsets(&text, Special::Add);
    let offsets = encoding.offsets.iter().map(|range| [range.start, range.end]).collect();
    let encoded = Encoded { text, ids: encoding.ids, tokens: encoding.tokens, offsets };
    output.result(&encoded, |encoded| {
        encoded.ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    })
}

#[derive(Serialize)]
struct Decoded {
    ids: Vec<u32>,
    text: String,
}

fn decode(tokenizer: &Tokenizer, ids: Vec<u32>, skip_special: bool, output: Output) -> Result<()> {
    let text = tokenizer.decode(&ids, skip_special)?;
    output.result(&Decoded { ids, text }, |decoded| decoded.text.clone())
}

/// Ids as people write them: "1 2 3", "1,2,3" or "[1, 2, 3]".
fn parse_ids(text: &str) -> Result<Vec<u32>> {
    let is_between = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']');
    text.split(is_between)
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map_err(|_| usage(format!("`{word}` is no id"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_people_write_them() {
        let check = |text: &str, expected: Option<&[u32]>| {
            assert_eq!(parse_ids(text).ok().as_deref(), expected, "{text}");
        };
        check("1 2  3", Some(&[1, 2, 3]));
        check("[1, 2,3]\n", Some(&[1, 2, 3]));
        check("", Some(&[]));
        check("1 -2", None);
        check("1 x", None);
        check("4294967296", None);
    }
}
