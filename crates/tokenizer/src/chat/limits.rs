//! What fuel does not bound: a value in, the same value out if printing or comparing it could not explode.
//!
//! The engine charges for what it builds, but `{% set x = [x, x] %}` thirty times is thirty small lists that print
//! as a billion; a list in a list in a list, or a namespace inside itself, ends the stack. So every literal and
//! every assignment of a template goes through here (`rewrite.rs` puts the calls in).

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// How deep lists and maps may nest.
pub(super) const DEEPEST: usize = 100;
/// How many entries a value may have, all that it holds counted each time it holds it.
const MOST_ENTRIES: usize = 200_000;
/// How many bytes of text, counted the same way.
const MOST_BYTES: usize = 64 << 20;
/// The key that tells a namespace from a map.
pub(super) const NAMESPACE: &str = "__namespace__";

/// What is left to count.
struct Budget {
    entries: usize,
    bytes: usize,
}

/// Passes a value on if it is small enough. A lazy iterable becomes a list: a hundred thousand of them, each
/// around the one before, would end the stack.
pub(super) fn guard(state: &State, value: Value) -> Result<Value, Error> {
    if !is_container(&value) || is_namespace(&value) {
        return Ok(value);
    }
    let value = match value.kind() {
        ValueKind::Iterable => collect(state, &value)?,
        _ => value,
    };
    inspect(state, &value)?;
    Ok(value)
}

/// As [`guard`], where a namespace would make a circle: in an attribute of one.
pub(super) fn guard_field(state: &State, value: Value) -> Result<Value, Error> {
    if is_namespace(&value) { Err(namespace_inside()) } else { guard(state, value) }
}

/// Passes on what is no list: repeated lists are not taken.
pub(super) fn scalar(value: Value) -> Result<Value, Error> {
    if is_container(&value) { Err(refuse("a list cannot be repeated with `*`")) } else { Ok(value) }
}

/// Refuses a value that is too large to print.
pub(super) fn inspect(state: &State, value: &Value) -> Result<(), Error> {
    let mut budget = Budget { entries: MOST_ENTRIES, bytes: MOST_BYTES };
    walk(value, 0, &mut budget)?;
    state.consume_fuel((MOST_ENTRIES - budget.entries) as u64 / 16)
}

/// As [`inspect`], for values that come from outside: nothing runs yet that could pay.
pub(super) fn inspect_input(value: &Value) -> Result<(), Error> {
    walk(value, 0, &mut Budget { entries: usize::MAX, bytes: usize::MAX })
}

fn walk(value: &Value, depth: usize, budget: &mut Budget) -> Result<(), Error> {
    let text = value.as_str().map_or(0, str::len);
    budget.bytes = budget.bytes.checked_sub(text).ok_or_else(too_large)?;
    if !is_container(value) {
        return Ok(());
    }
    if depth > 0 && is_namespace(value) {
        return Err(namespace_inside());
    }
    if depth >= DEEPEST {
        return Err(refuse("lists and maps nest deeper than 100"));
    }
    for item in value.try_iter()? {
        budget.entries = budget.entries.checked_sub(1).ok_or_else(too_large)?;
        if value.kind() == ValueKind::Map {
            walk(&value.get_item(&item)?, depth + 1, budget)?;
        }
        walk(&item, depth + 1, budget)?;
    }
    Ok(())
}

/// The items of an iterable as a list.
pub(super) fn collect(state: &State, value: &Value) -> Result<Value, Error> {
    let mut items = Vec::new();
    for item in value.try_iter()? {
        state.consume_fuel(1)?;
        items.push(item);
    }
    Ok(Value::from(items))
}

pub(super) fn is_container(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
}

fn is_namespace(value: &Value) -> bool {
    value.kind() == ValueKind::Map && value.get_attr(NAMESPACE).is_ok_and(|mark| mark.is_true())
}

fn too_large() -> Error {
    refuse("a value holds more than 200000 entries or 64 MiB of text")
}

fn namespace_inside() -> Error {
    refuse("a namespace cannot lie inside another value")
}

fn refuse(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}
