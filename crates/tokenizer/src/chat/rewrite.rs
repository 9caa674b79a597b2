//! A template's source in, the same with `generation` blocks as calls and with guarded literals and assignments out.
//!
//! Tokens come from the engine's own lexer, so that what only looks like a block (in a text, a comment, `raw`) is left alone.
//! Lines stay what they were: errors name the line of the template as written.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

/// What the calls that are put in are called.
pub(super) const GUARD: &str = "__guard__";
pub(super) const GUARD_FIELD: &str = "__guard_field__";
pub(super) const SCALAR: &str = "__scalar__";
pub(super) const GENERATION: &str = "__generation__";

/// Words after which a bracket begins a value; after any other name it is a call or a subscript.
const OPERATORS: [&str; 8] = ["in", "not", "and", "or", "if", "elif", "else", "is"];

/// How many signs may follow one another.
const MOST_SIGNS: usize = 50;
/// How many tokens a tag may have.
const MOST_TOKENS: usize = 1500;
/// How many `elif` a template may have.
const MOST_ELIFS: usize = 500;

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
    check_lengths(&tokens)?;
    let mut edits = Edits::default();
    for (at, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::BlockStart => edits.block(inside(&tokens, at)),
            Token::VariableStart => edits.literals(inside(&tokens, at)),
            _ => {}
        }
    }
    let has_generation = edits.has_generation;
    Ok(Rewritten { source: edits.apply(source), has_generation })
}

/// Refuses what would end the parser's stack: it calls itself for each operator of a long expression, each sign of
/// `- - - 1` and each `elif`.
fn check_lengths(tokens: &[(Token, Span)]) -> Result<(), Error> {
    let refuse = |what: &'static str| Err(Error::new(ErrorKind::SyntaxError, what));
    let sign = |token: &Token| matches!(token, Token::Minus | Token::Plus | Token::Ident("not"));
    let runs = tokens.chunk_by(|(a, _), (b, _)| sign(a) && sign(b));
    if runs.map(<[_]>::len).any(|length| length > MOST_SIGNS) {
        return refuse("a row of over 50 signs");
    }
    let starts = |token: &Token| matches!(token, Token::BlockStart | Token::VariableStart);
    let mut tags = tokens.chunk_by(|_, (token, _)| !starts(token));
    if tags.any(|tag| tag.len() > MOST_TOKENS) {
        return refuse("a tag of over 1500 words");
    }
    let elif = |pair: &&[(Token, Span)]| {
        matches!(pair, [(Token::BlockStart, _), (Token::Ident("elif"), _)])
    };
    if tokens.windows(2).filter(elif).count() > MOST_ELIFS {
        return refuse("over 500 times `elif`");
    }
    Ok(())
}

/// The tokens between the one that starts a tag, at `start`, and the one that ends it.
fn inside<'a, 's>(tokens: &'a [(Token<'s>, Span)], start: usize) -> &'a [(Token<'s>, Span)] {
    let ends = |(token, _): &(Token, Span)| matches!(token, Token::BlockEnd | Token::VariableEnd);
    let rest = &tokens[start + 1..];
    &rest[..rest.iter().position(ends).unwrap_or(rest.len())]
}

/// What to change.
#[derive(Default)]
struct Edits {
    /// Byte ranges and what to call with what stands there.
    wraps: Vec<(usize, usize, String)>,
    /// Byte ranges and what comes in their place.
    replacements: Vec<(usize, usize, String)>,
    has_generation: bool,
}

impl Edits {
    /// Puts what stands from `first` to `last` into a call of `function`.
    fn wrap(&mut self, first: &Span, last: &Span, function: &str) {
        let range = (first.start_offset as usize, last.end_offset as usize);
        self.wraps.push((range.0, range.1, function.to_owned()));
    }

    fn replace(&mut self, span: &Span, text: String) {
        self.replacements.push((span.start_offset as usize, span.end_offset as usize, text));
    }

    /// The tokens between `{%` and `%}`.
    fn block(&mut self, tokens: &[(Token, Span)]) {
        match tokens {
            [(Token::Ident("generation"), span)] => {
                self.has_generation = true;
                self.replace(span, format!("call {GENERATION}()"));
            }
            [(Token::Ident("endgeneration"), span)] => {
                self.replace(span, "endcall".to_owned());
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
        let ([(_, first), ..], [.., (_, last)]) = (value, value) else { return };
        let is_field = target.iter().any(|(token, _)| matches!(token, Token::Dot));
        let guard = if is_field { GUARD_FIELD } else { GUARD };
        // Parentheses of its own make a bare tuple one argument.
        self.wrap(first, last, guard);
        self.wrap(first, last, "");
        self.literals(value);
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
                        self.wrap(start, span, GUARD);
                    }
                }
                Token::Mul => self.product(tokens, index),
                _ => {}
            }
        }
    }

    /// Guards both sides of `a * b`, which for a list would repeat what it holds as often as one likes.
    fn product(&mut self, tokens: &[(Token, Span)], at: usize) {
        let (left, right) = (operand_before(tokens, at), operand_after(tokens, at));
        // Without a left side it is the star of `f(*list)`.
        if left == at {
            return;
        }
        for (start, end) in [(left, at), (at + 1, right)] {
            let operand = &tokens[start..end];
            if let ([(_, first), ..], [.., (_, last)]) = (operand, operand) {
                self.wrap(first, last, SCALAR);
            }
        }
    }

    /// The source with all changes.
    fn apply(self, source: &str) -> String {
        // The key is the place and the order there: what closes comes before what opens, and of several openings
        // the one that closes last comes first.
        let length = source.len();
        let mut edits = Vec::new();
        for (start, end, function) in self.wraps {
            edits.push(((start, 1, length - end), start, function + "("));
            edits.push(((end, 0, 0), end, ")".to_owned()));
        }
        for (start, end, text) in self.replacements {
            edits.push(((start, 2, 0), end, text));
        }
        edits.sort_by_key(|edit| edit.0);
        let (mut text, mut from) = (String::with_capacity(length * 2), 0);
        for ((start, ..), end, new) in edits {
            text.push_str(source.get(from..start).unwrap_or_default());
            text.push_str(&new);
            from = end;
        }
        text.push_str(source.get(from..).unwrap_or_default());
        text
    }
}

/// Where the operand that ends before `at` begins: a name or literal with its calls, subscripts and filters.
fn operand_before(tokens: &[(Token, Span)], at: usize) -> usize {
    let (mut start, mut depth) = (at, 0usize);
    for (index, (token, _)) in tokens[..at].iter().enumerate().rev() {
        match token {
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth += 1,
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen if depth == 0 => break,
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth -= 1,
            token if depth == 0 && !belongs(token) => break,
            _ => {}
        }
        start = index;
    }
    start
}

/// Where the operand that begins after `at` ends.
fn operand_after(tokens: &[(Token, Span)], at: usize) -> usize {
    let mut depth = 0usize;
    for (index, (token, _)) in tokens.iter().enumerate().skip(at + 1) {
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose if depth == 0 => {
                return index;
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth -= 1,
            Token::Minus if index == at + 1 => {}
            token if depth == 0 && !belongs(token) => return index,
            _ => {}
        }
    }
    tokens.len()
}

/// Whether a token outside brackets is part of an operand.
fn belongs(token: &Token) -> bool {
    match token {
        Token::Ident(name) => !OPERATORS.contains(name) && *name != "recursive",
        Token::Str(_) | Token::String(_) | Token::Dot | Token::Pipe => true,
        Token::Int(_) | Token::Int128(_) | Token::Float(_) => true,
        _ => false,
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
