//! What Transformers adds to Jinja, and where its Jinja differs from the engine's: filters, tests and functions in an environment.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, filters};

use super::json::{self, Style};
use super::limits::{self, guard, guard_field, inspect, is_container};
use super::{Date, rewrite};

/// The variable that holds the two marks around what the assistant writes.
pub(super) const MARKS: &str = "__marks__";
/// The variable that holds the date, where one is given.
pub(super) const DATE: &str = "__date__";

/// Adds all of it.
pub(super) fn add(environment: &mut Environment) {
    environment.set_formatter(write);
    environment.add_function(rewrite::GUARD, |state: &State, value: Value| guard(state, value));
    environment.add_function(rewrite::GUARD_FIELD, |state: &State, value: Value| {
        guard_field(state, value)
    });
    environment.add_function(rewrite::SCALAR, limits::scalar);
    environment.add_function(rewrite::GENERATION, generation);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    let builtin = environment.globals().find(|(name, _)| *name == "namespace").map(|found| found.1);
    environment.add_function(
        "namespace",
        move |state: &mut State, defaults: Option<Value>, named: Kwargs| {
            let mut pairs = pairs(state, defaults, &named)?;
            pairs.push((Value::from(limits::NAMESPACE), Value::from(true)));
            builtin.clone().unwrap_or_default().call(state, &[Value::from_pairs(pairs)])
        },
    );
    environment.add_function("dict", dict);
    environment.add_filter("tojson", tojson);
    // Jinja's defaults for what is no number.
    environment.add_filter(
        "int",
        |state: &State, value: &Value, default: Option<Value>, base: Option<u32>, named: Kwargs| {
            let default = default.or_else(|| (!named.has("default")).then(|| Value::from(0)));
            filters::int(state, value, default, base, named)
        },
    );
    environment.add_filter(
        "float",
        |state: &State, value: &Value, default: Option<Value>, named: Kwargs| {
            let default = default.or_else(|| (!named.has("default")).then(|| Value::from(0.0)));
            filters::float(state, value, default, named)
        },
    );
    environment.add_filter("zip", |state: &State, value: Value, others: Rest<Value>| {
        guard(state, filters::zip(state, value, others)?)
    });
    environment.add_filter("chain", |state: &State, value: Value, others: Rest<Value>| {
        // Chains around chains would go as deep as there are.
        limits::collect(state, &filters::chain(state, value, others)?)
    });
    environment.add_filter("string", |state: &State, value: Value| {
        inspect(state, &value)?;
        Ok::<_, Error>(Value::from(text(&value)))
    });
    environment.add_filter("join", join);
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
    });
    environment.add_test("callable", |value: &Value| {
        value.kind() == ValueKind::Plain && value.as_object().is_some()
    });
}

/// A value as Python's `str` shows it.
fn text(value: &Value) -> String {
    json::float(value).map_or_else(|| value.to_string(), json::float_repr)
}

/// What `{{ value }}` writes. Nothing is escaped: a prompt is no HTML.
fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if is_container(value) {
        inspect(state, value)?;
    }
    if value.is_undefined() {
        return Ok(());
    }
    out.write_str(&text(value)).map_err(|_| Error::from(ErrorKind::OutOfFuel))
}

/// What stands in a `generation` block, between the marks.
fn generation(state: &mut State, arguments: Kwargs) -> Result<Value, Error> {
    let body: Value = arguments.get("caller")?;
    let body = body.call(state, &[])?;
    let marks = state.lookup(MARKS).unwrap_or_default();
    let mut marks = marks.as_str().unwrap_or_default().chars();
    Ok(Value::from(match (marks.next(), marks.next()) {
        (Some(start), Some(end)) => format!("{start}{body}{end}"),
        _ => body.to_string(),
    }))
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    let given = state.lookup(DATE).and_then(|date| Date::parse(date.as_str()?).ok());
    let date = given.unwrap_or_else(Date::now);
    if format.len() > 1000 {
        return Err(Error::new(ErrorKind::InvalidOperation, "a date format of over 1000 bytes"));
    }
    date.format(format).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, format!("{format:?} is not a date format"))
    })
}

fn dict(state: &State, value: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    Ok(Value::from_pairs(pairs(state, value, &named)?))
}

/// The pairs of a map, or of a list of pairs, and of named arguments.
fn pairs(
    state: &State,
    value: Option<Value>,
    named: &Kwargs,
) -> Result<Vec<(Value, Value)>, Error> {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    let mut insert = |key: Value, value: Value| {
        state.consume_fuel(1)?;
        match pairs.iter_mut().find(|pair| pair.0 == key) {
            Some(pair) => pair.1 = value,
            None => pairs.push((key, value)),
        }
        Ok::<_, Error>(())
    };
    if let Some(value) = value.filter(|value| !value.is_undefined()) {
        for item in value.try_iter()? {
            match value.kind() {
                ValueKind::Map => {
                    insert(item.clone(), guard_field(state, value.get_item(&item)?)?)?
                }
                _ => insert(
                    item.get_item_by_index(0)?,
                    guard_field(state, item.get_item_by_index(1)?)?,
                )?,
            }
        }
    }
    for name in named.args() {
        insert(Value::from(name), guard_field(state, named.get(name)?)?)?;
    }
    Ok(pairs)
}

fn tojson(state: &State, value: Value, kwargs: Kwargs) -> Result<Value, Error> {
    inspect(state, &value)?;
    Style::from_kwargs(&kwargs)?.write(state, &value).map(Value::from)
}

fn join(
    state: &State,
    value: Value,
    separator: Option<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let separator = match separator {
        Some(separator) => separator,
        None => kwargs.get::<Option<String>>("d")?.unwrap_or_default(),
    };
    let attribute: Option<String> = kwargs.get("attribute")?;
    kwargs.assert_all_used()?;
    inspect(state, &value)?;
    let mut joined = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        let item = match &attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        let item = text(&item);
        state.consume_fuel(1 + (separator.len() + item.len()) as u64 / 64)?;
        joined.push_str(if index > 0 { &separator } else { "" });
        joined.push_str(&item);
    }
    Ok(Value::from(joined))
}
