//! A template's source in, the same with `generation` blocks as calls and with guarded literals and assignments out.
//!
//! Tokens come from the engine's own lexer, so that what only looks like a block (in a text, a comment, `raw`) is left alone.
//! Lines stay what they were: errors name the line of the template as written.

use minijinja::Error;
use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

/// What the calls that are put in are called.
pub(super) const GUARD: &str = "__guard__";
pub(super) const GUARD_FIELD: &str = "__guard_field__";
pub(super) const GENERATION: &str = "__generation__";

/// Words after which a bracket begins a value; after any other name it is a call or a subscript.
const OPERATORS: [&str; 8] = ["in", "not", "and", "or", "if", "elif", "else", "is"];

/// A rewritten template.
pub(super) struct Rewritten {
    pub(super) source: String,
    /// Whether the template says itself what the assistant writes.
    pub(super) has_generation: bool,
}

/// Rewrites `source`; an error is the lexer's, with its line.
pub(super) fn rewrite(source: &str, syntax: &SyntaxConfig) -> Result<Rewritten, Error> {
    let tokens: Vec<(Token, Span)> =
        tokenize(source, false, syntax.clone()).collect::<Result<_, _>>()?;
    let mut edits = Edits::default();
    let mut at = 0;
    while at < tokens.len() {
        let end = block_end(&tokens, at);
        match tokens[at].0 {
            Token::BlockStart => edits.block(&tokens[at + 1..end]),
            Token::VariableStart => edits.literals(&tokens[at + 1..end]),
            // Text between blocks.
            _ => {
                at += 1;
                continue;
            }
        }
        at = end;
    }
    Ok(Rewritten { source: edits.apply(source), has_generation: edits.has_generation })
}

/// The index of the token that ends the block which begins at `start`.
fn block_end(tokens: &[(Token, Span)], start: usize) -> usize {
    let ends = |(token, _): &(Token, Span)| matches!(token, Token::BlockEnd | Token::VariableEnd);
    tokens[start..].iter().position(ends).map_or(tokens.len(), |length| start + length)
}

/// What to change: byte ranges and what comes in their place.
#[derive(Default)]
struct Edits {
    edits: Vec<(usize, usize, String)>,
    has_generation: bool,
}

impl Edits {
    fn insert(&mut self, at: u32, text: &str) {
        self.edits.push((at as usize, at as usize, text.to_owned()));
    }

    /// The tokens between `{%` and `%}`.
    fn block(&mut self, tokens: &[(Token, Span)]) {
        match tokens {
            [(Token::Ident("generation"), span)] => {
                self.has_generation = true;
                let call = format!("call {GENERATION}()");
                self.edits.push((span.start_offset as usize, span.end_offset as usize, call));
            }
            [(Token::Ident("endgeneration"), span)] => {
                let end = "endcall".to_owned();
                self.edits.push((span.start_offset as usize, span.end_offset as usize, end));
            }
            [(Token::Ident("set"), _), rest @ ..] => self.assignment(rest),
            [(Token::Ident("for"), _), rest @ ..] => {
                // What stands before `in` are names, not values.
                let is_in = |(token, _): &(Token, Span)| matches!(token, Token::Ident("in"));
                let start = rest.iter().position(is_in).unwrap_or(rest.len());
                self.literals(&rest[start..]);
            }
            _ => self.literals(tokens),
        }
    }

    /// `target = value`: the value is guarded as a whole, bare tuples too.
    fn assignment(&mut self, tokens: &[(Token, Span)]) {
        let mut depth = 0usize;
        let assign = tokens.iter().position(|(token, _)| {
            match token {
                Token::ParenOpen | Token::BracketOpen => depth += 1,
                Token::ParenClose | Token::BracketClose => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(token, Token::Assign)
        });
        let Some(assign) = assign else { return self.literals(tokens) };
        let (target, value) = (&tokens[..assign], &tokens[assign + 1..]);
        let [(_, first), ..] = value else { return };
        let last = value.last().map_or(*first, |(_, span)| *span);
        let is_field = target.iter().any(|(token, _)| matches!(token, Token::Dot));
        let guard = if is_field { GUARD_FIELD } else { GUARD };
        self.insert(first.start_offset, &format!("{guard}(("));
        self.literals(value);
        self.insert(last.end_offset, "))");
    }

    /// Guards lists, maps and tuples in an expression.
    fn literals(&mut self, tokens: &[(Token, Span)]) {
        let mut open: Vec<(usize, bool, bool)> = Vec::new(); // index, is a literal, has a comma
        for (index, (token, span)) in tokens.iter().enumerate() {
            match token {
                Token::BracketOpen | Token::BraceOpen | Token::ParenOpen => {
                    let before = index.checked_sub(1).map(|before| &tokens[before].0);
                    open.push((index, begins_value(before), false));
                }
                Token::Comma => {
                    if let Some(last) = open.last_mut() {
                        last.2 = true;
                    }
                }
                Token::BracketClose | Token::BraceClose | Token::ParenClose => {
                    let Some((start, literal, comma)) = open.pop() else { continue };
                    let (opening, start) = &tokens[start];
                    // Parentheses without a comma only group.
                    if literal && (comma || !matches!(opening, Token::ParenOpen)) {
                        self.insert(start.start_offset, &format!("{GUARD}("));
                        self.insert(span.end_offset, ")");
                    }
                }
                _ => {}
            }
        }
    }

    /// The source with all changes. Of two insertions at one place, the first one made comes first, but for
    /// openings, which are made inside out.
    fn apply(&self, source: &str) -> String {
        let mut edits: Vec<&(usize, usize, String)> = self.edits.iter().collect();
        edits.sort_by_key(|edit| edit.0);
        let (mut text, mut from) = (String::with_capacity(source.len() * 2), 0);
        for (start, end, new) in edits {
            text.push_str(source.get(from..*start).unwrap_or_default());
            text.push_str(new);
            from = *end;
        }
        text.push_str(source.get(from..).unwrap_or_default());
        text
    }
}

/// Whether a bracket after this token begins a value, rather than a call or a subscript.
fn begins_value(before: Option<&Token>) -> bool {
    match before {
        Some(Token::Ident(name)) => OPERATORS.contains(name),
        Some(Token::BracketClose | Token::ParenClose | Token::BraceClose) => false,
        Some(Token::Str(_) | Token::String(_)) => false,
        _ => true,
    }
}
