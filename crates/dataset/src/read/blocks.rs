//! From one file to blocks of whole rows: bytes go in; about a megabyte at a time comes out, with the bounds of each row.

use super::source::Source;
use crate::config::{DataConfig, DocumentKind, Format};
use crate::error::Result;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Large enough to be worth a task, small enough that hundreds fit in memory.
const BLOCK_BYTES: usize = 1 << 20;

/// What of a file is a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    File,
    Line,
    BlankLine,
}

impl Unit {
    pub(crate) fn of(config: &DataConfig) -> Unit {
        match (config.format, config.document) {
            (Some(Format::Jsonl), _) | (_, DocumentKind::Line) => Unit::Line,
            (_, DocumentKind::File) => Unit::File,
            (_, DocumentKind::BlankLine) => Unit::BlankLine,
        }
    }
}

/// Some rows of one file.
#[derive(Debug)]
pub(crate) struct Block {
    pub path: Arc<Path>,
    pub bytes: Vec<u8>,
    pub rows: Vec<Row>,
}

/// One row of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The line of the file at which it begins, from 1.
    pub line: u64,
    /// Where it lies in the block, without its last line ending. `None` where it was too large to keep.
    pub range: Option<Range<usize>>,
}

/// Cuts a file into blocks.
pub(crate) struct BlockReader {
    source: Source,
    path: Arc<Path>,
    unit: Unit,
    limit: usize,
    line: u64,
    ended: bool,
}

impl BlockReader {
    /// Rows above `limit` bytes are passed over without being held.
    pub(crate) fn new(source: Source, unit: Unit, limit: u64) -> BlockReader {
        let path = source.path().into();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        BlockReader { source, path, unit, limit, line: 1, ended: false }
    }

    /// The next block; none at the end of the file.
    pub(crate) fn next_block(&mut self) -> Result<Option<Block>> {
        let mut block = Block { path: self.path.clone(), bytes: Vec::new(), rows: Vec::new() };
        while block.bytes.len() < BLOCK_BYTES && !self.ended {
            match self.unit {
                Unit::File => self.read_file(&mut block)?,
                Unit::Line => self.read_line(&mut block)?,
                Unit::BlankLine => self.read_paragraph(&mut block)?,
            }
        }
        Ok((!block.rows.is_empty()).then_some(block))
    }

    fn read_file(&mut self, block: &mut Block) -> Result<()> {
        let taken = self.source.take(None, self.limit, &mut block.bytes)?;
        self.ended = true;
        let range = taken.fits.then_some(0..block.bytes.len());
        block.rows.push(Row { line: 1, range });
        Ok(())
    }

    fn read_line(&mut self, block: &mut Block) -> Result<()> {
        let start = block.bytes.len();
        let (any, content) = self.take_line(&mut block.bytes)?;
        if any {
            let range = content.map(|length| start..start + length);
            block.rows.push(Row { line: self.line - 1, range });
        }
        Ok(())
    }

    /// Reads up to a blank line that follows some that are not.
    fn read_paragraph(&mut self, block: &mut Block) -> Result<()> {
        let start = block.bytes.len();
        let mut row: Option<Row> = None;
        loop {
            let line_start = block.bytes.len();
            let (any, content) = self.take_line(&mut block.bytes)?;
            let blank =
                content.is_some_and(|length| is_blank(&block.bytes[line_start..][..length]));
            if blank || !any {
                block.bytes.truncate(line_start);
            }
            if !any || (blank && row.is_some()) {
                break;
            }
            if blank {
                continue;
            }
            let row = row.get_or_insert(Row { line: self.line - 1, range: Some(start..start) });
            let end = content.map(|length| line_start + length);
            let fits = row.range.is_some() && end.is_some_and(|end| end - start <= self.limit);
            row.range = end.filter(|_| fits).map(|end| start..end);
            if !fits {
                block.bytes.truncate(start);
            }
        }
        block.rows.extend(row);
        Ok(())
    }

    /// Appends a line with its ending. Gives whether there was one, and its length without the ending if it was not too long.
    fn take_line(&mut self, bytes: &mut Vec<u8>) -> Result<(bool, Option<usize>)> {
        let start = bytes.len();
        // Two more for the line's ending.
        let taken = self.source.take(Some(b'\n'), self.limit.saturating_add(2), bytes)?;
        if !taken.any {
            self.ended = true;
            return Ok((false, None));
        }
        self.line += 1;
        let line = &bytes[start..];
        let content = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let length = content.unwrap_or(line).len();
        Ok((true, (taken.fits && length <= self.limit).then_some(length)))
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unit: Unit, limit: u64, text: &str, expected: &[(u64, Option<&str>)]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let source = Source::open(file.path(), Arc::default()).unwrap();
        let mut reader = BlockReader::new(source, unit, limit);
        let mut found = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            for row in block.rows {
                let text = row.range.map(|range| block.bytes[range].to_vec());
                found.push((row.line, text.map(|text| String::from_utf8(text).unwrap())));
            }
        }
        let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_deref())).collect();
        assert_eq!(found, expected, "{unit:?} {text:?}");
    }

    #[test]
    fn lines() {
        check(Unit::Line, 9, "", &[]);
        check(Unit::Line, 9, "a\r\n\nb", &[(1, Some("a")), (2, Some("")), (3, Some("b"))]);
        check(Unit::Line, 3, "abc\r\nabcd\nabc", &[(1, Some("abc")), (2, None), (3, Some("abc"))]);
    }

    #[test]
    fn paragraphs() {
        check(Unit::BlankLine, 9, "\n \n", &[]);
        check(Unit::BlankLine, 9, "a\nb\n\n \r\nc", &[(1, Some("a\nb")), (5, Some("c"))]);
        check(Unit::BlankLine, 9, "\n\na\r\n\r\nb\r\n", &[(3, Some("a")), (5, Some("b"))]);
        check(Unit::BlankLine, 3, "a\nbc\nd\n\ne", &[(1, None), (5, Some("e"))]);
        check(Unit::BlankLine, 3, "abcdefgh\nd\n\ne\nf", &[(1, None), (4, Some("e\nf"))]);
    }

    #[test]
    fn files() {
        check(Unit::File, 9, "", &[(1, Some(""))]);
        check(Unit::File, 9, "a\n\nb\n", &[(1, Some("a\n\nb\n"))]);
        check(Unit::File, 3, "a\n\nb\n", &[(1, None)]);
    }

    #[test]
    fn blocks_hold_whole_rows() {
        let text = "0123456789 abcdef\n".repeat(200_000);
        let expected: Vec<_> =
            (1..=200_000).map(|line| (line, Some("0123456789 abcdef"))).collect();
        check(Unit::Line, 99, &text, &expected);
    }
}
