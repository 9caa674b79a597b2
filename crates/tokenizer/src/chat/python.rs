//! Python's methods on texts, lists and maps, as templates call them: a value, a name and arguments in, a value out.
//!
//! What `minijinja-contrib` has and does as Python is taken from there.

use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::limits::inspect;

/// The widest that padding and format widths may go.
const WIDEST: usize = 10_000;

/// Calls `method`, if Python has it and templates may use it.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    for argument in arguments {
        inspect(state, argument)?;
    }
    let found = match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            // A method reads its text, and its arguments once for each piece of it at worst.
            state.consume_fuel(text.len() as u64 / 64)?;
            text_method(state, text, method, arguments)?
        }
        ValueKind::Seq => list_method(value, method, arguments)?,
        ValueKind::Map if method == "copy" => Some(value.clone()),
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => unknown_method_callback(state, value, method, arguments),
    }
}

fn text_method(
    state: &State,
    text: &str,
    method: &str,
    arguments: &[Value],
) -> Result<Option<Value>, Error> {
    let found = match method {
        "strip" | "lstrip" | "rstrip" => strip(state, text, method, arguments)?,
        "split" => split(state, text, arguments, false)?,
        "rsplit" => split(state, text, arguments, true)?,
        "splitlines" => split_lines(state, text, arguments)?,
        "partition" | "rpartition" => partition(text, method, arguments)?,
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(arguments)?;
            let at = if method == "index" { text.find(what) } else { text.rfind(what) };
            let at = at.ok_or_else(|| invalid("substring not found"))?;
            Value::from(text[..at].chars().count())
        }
        "title" => Value::from(title(text)),
        "istitle" => Value::from(text.chars().any(char::is_alphabetic) && title(text) == text),
        "swapcase" => Value::from(text.chars().map(swapped).collect::<String>()),
        "casefold" => Value::from(text.to_lowercase().replace('ß', "ss")),
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())),
        "zfill" | "ljust" | "rjust" | "center" => pad(text, method, arguments)?,
        "expandtabs" => expand_tabs(text, arguments)?,
        "format" => {
            check_widths(text)?;
            return Ok(None);
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

fn list_method(value: &Value, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "index" => {
            let (what,): (&Value,) = from_args(arguments)?;
            let at = value.try_iter()?.position(|item| item == *what);
            at.map(|at| Some(Value::from(at))).ok_or_else(|| invalid("the list does not hold it"))
        }
        "copy" => Ok(Some(value.clone())),
        _ => Ok(None),
    }
}

/// What Python's `str.isspace` says of a character.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

fn strip(state: &State, text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (set,): (Option<&str>,) = from_args(arguments)?;
    let set: Option<std::collections::HashSet<char>> = set.map(|set| set.chars().collect());
    state.consume_fuel(set.as_ref().map_or(0, |set| set.len() as u64 / 8))?;
    let goes = |character: char| match &set {
        Some(set) => set.contains(&character),
        None => is_space(character),
    };
    Ok(Value::from(match method {
        "strip" => text.trim_matches(goes),
        "lstrip" => text.trim_start_matches(goes),
        _ => text.trim_end_matches(goes),
    }))
}

/// The positional and the named arguments of a method that takes up to two.
fn two(arguments: &[Value], names: [&str; 2]) -> Result<(Option<Value>, Option<Value>), Error> {
    let (given, named): (Rest<Value>, Kwargs) = from_args::<(Rest<Value>, Kwargs)>(arguments)?;
    let mut found = names.map(|_| None);
    for (index, name) in names.iter().enumerate() {
        let named: Option<Value> = named.get(name)?;
        found[index] = given.get(index).cloned().or(named).filter(|value| !value.is_none());
    }
    named.assert_all_used()?;
    if given.len() > 2 {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let [first, second] = found;
    Ok((first, second))
}

fn split(state: &State, text: &str, arguments: &[Value], last: bool) -> Result<Value, Error> {
    let (separator, most) = two(arguments, ["sep", "maxsplit"])?;
    let most = match most {
        Some(most) => usize::try_from(i64::try_from(most)?).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let pieces: Vec<&str> = match separator.as_ref().map(|value| value.as_str()) {
        Some(None) => return Err(invalid("the separator is not a text")),
        Some(Some("")) => return Err(invalid("empty separator")),
        Some(Some(separator)) => {
            // Each piece costs far more than its bytes.
            state.consume_fuel(text.matches(separator).count() as u64)?;
            let pieces = most.saturating_add(1);
            if last {
                let mut pieces: Vec<&str> = text.rsplitn(pieces, separator).collect();
                pieces.reverse();
                pieces
            } else {
                text.splitn(pieces, separator).collect()
            }
        }
        None => {
            state.consume_fuel(text.len() as u64 / 2)?;
            words(text, most, last)
        }
    };
    Ok(pieces.into_iter().map(Value::from).collect())
}

/// Splits at runs of white space, `most` times at most, from the front or (`last`) the back.
fn words(text: &str, most: usize, last: bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_matches(is_space);
    while !rest.is_empty() {
        let cut = if last { rest.rfind(is_space) } else { rest.find(is_space) };
        match cut.filter(|_| pieces.len() < most) {
            None => {
                pieces.push(rest);
                break;
            }
            Some(at) if last => {
                pieces.push(rest[at..].trim_start_matches(is_space));
                rest = rest[..at].trim_end_matches(is_space);
            }
            Some(at) => {
                pieces.push(&rest[..at]);
                rest = rest[at..].trim_start_matches(is_space);
            }
        }
    }
    if last {
        pieces.reverse();
    }
    pieces
}

fn split_lines(state: &State, text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (keep, _) = two(arguments, ["keepends", ""])?;
    let keep = keep.is_some_and(|keep| keep.is_true());
    let ends = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    state.consume_fuel(text.matches(ends).count() as u64)?;
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(ends) {
        let end = match rest[at..].starts_with("\r\n") {
            true => at + 2,
            false => at + rest[at..].chars().next().map_or(1, char::len_utf8),
        };
        lines.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Ok(lines.into_iter().map(Value::from).collect())
}

fn partition(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(arguments)?;
    if separator.is_empty() {
        return Err(invalid("empty separator"));
    }
    let parts = match method {
        "partition" => {
            text.split_once(separator).map_or([text, "", ""], |(a, b)| [a, separator, b])
        }
        _ => text.rsplit_once(separator).map_or(["", "", text], |(a, b)| [a, separator, b]),
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

/// Every letter after something that is none becomes a capital, the others small.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut in_word = false;
    for character in text.chars() {
        if in_word {
            titled.extend(character.to_lowercase());
        } else {
            titled.extend(character.to_uppercase());
        }
        in_word = character.is_alphabetic();
    }
    titled
}

fn swapped(character: char) -> char {
    let other = |mut mapped: std::char::ToUppercase| mapped.next().unwrap_or(character);
    if character.is_uppercase() {
        character.to_lowercase().next().unwrap_or(character)
    } else {
        other(character.to_uppercase())
    }
}

fn pad(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (width, fill): (usize, Option<char>) = from_args(arguments)?;
    if width > WIDEST {
        return Err(invalid("the width is over 10000"));
    }
    let missing = width.saturating_sub(text.chars().count());
    let fill = fill.unwrap_or(' ');
    let run = |count: usize| fill.to_string().repeat(count);
    Ok(Value::from(match method {
        "zfill" => {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        "ljust" => format!("{text}{}", run(missing)),
        "rjust" => format!("{}{text}", run(missing)),
        _ => {
            // As CPython: of an odd rest, the left side has more where the width is odd.
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", run(left), run(missing - left))
        }
    }))
}

fn expand_tabs(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (size,): (Option<usize>,) = from_args(arguments)?;
    let size = size.unwrap_or(8);
    if size > 64 {
        return Err(invalid("tabs are at most 64 wide"));
    }
    let (mut expanded, mut column) = (String::with_capacity(text.len()), 0);
    for character in text.chars() {
        if character == '\t' {
            let missing = if size == 0 { 0 } else { size - column % size };
            expanded.push_str(&" ".repeat(missing));
            column += missing;
        } else {
            expanded.push(character);
            column = if matches!(character, '\n' | '\r') { 0 } else { column + 1 };
        }
    }
    Ok(Value::from(expanded))
}

/// Refuses a format whose width or precision would fill the memory before the engine counts it.
fn check_widths(format: &str) -> Result<(), Error> {
    let digits = format.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
    // Only inside braces digits are widths, but five digits in a row elsewhere are rare enough.
    match (digits.unwrap_or(0) > 5 && format.contains('{'), format.matches('{').count() > 1000) {
        (false, false) => Ok(()),
        _ => Err(invalid("the format's width is over 99999")),
    }
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}
