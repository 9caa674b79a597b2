//! Standard output and input: results out, as text or one JSON object a line; texts in.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result};
use serde::Serialize;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON lines, or text for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON lines.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: `object` as a line of JSON, or what `text` makes of it for people.
    pub fn result<T: Serialize>(self, object: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        match self.json {
            true => self.json(object),
            false => self.text(&(text(object) + "\n")),
        }
    }

    /// Prints `object` as a line of JSON.
    pub fn json(self, object: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(object).context("cannot write the result as JSON")?;
        line.push('\n');
        self.text(&line)
    }

    /// Prints text as it is, at once.
    pub fn text(self, text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|source| anyhow::Error::new(source).context("cannot write to standard output"))
    }
}

/// A message for people, on standard error.
pub fn message(text: impl fmt::Display) {
    // Nobody to tell that telling failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A mistake in how the program was called: exit status 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Short for an error that means wrong usage.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(text.into()))
}

/// The texts to work on: the argument or, without one, each line of standard input as it comes.
pub fn texts(argument: Option<String>) -> Box<dyn Iterator<Item = Result<String>>> {
    if let Some(text) = argument {
        return Box::new(std::iter::once(Ok(text)));
    }
    if io::stdin().is_terminal() {
        message("reading texts from standard input, a line each (Ctrl-D ends)");
    }
    let mut number = 0;
    Box::new(std::iter::from_fn(move || {
        number += 1;
        line(&mut io::stdin().lock(), number).transpose()
    }))
}

/// Hands texts on, several at once; one at a time to somebody who types them.
pub fn in_chunks(
    texts: impl Iterator<Item = Result<String>>,
    most: usize,
    mut work: impl FnMut(&[String]) -> Result<()>,
) -> Result<()> {
    let most = if io::stdin().is_terminal() { 1 } else { most };
    let mut chunk = Vec::new();
    for text in texts {
        chunk.push(text?);
        if chunk.len() == most {
            work(&chunk)?;
            chunk.clear();
        }
    }
    if chunk.is_empty() { Ok(()) } else { work(&chunk) }
}

/// The next line without its end, if there is one.
fn line(input: &mut impl BufRead, number: usize) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = input.read_until(b'\n', &mut bytes).context("cannot read standard input")?;
    if read == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let text = String::from_utf8(bytes)
        .with_context(|| format!("standard input, line {number}, is not UTF-8"))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let mut input: &[u8] = b" a \n\nb\r\n\xff\nc";
        let mut next = || line(&mut input, 1).map_err(|error| error.to_string());
        assert_eq!(next(), Ok(Some(" a ".to_owned())));
        assert_eq!(next(), Ok(Some(String::new())));
        assert_eq!(next(), Ok(Some("b".to_owned())));
        assert!(next().is_err_and(|error| error.contains("not UTF-8")));
        assert_eq!(next(), Ok(Some("c".to_owned())));
        assert_eq!(next(), Ok(None));
    }
}
