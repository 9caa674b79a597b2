//! JSON as Python's `json.dumps` writes it: a template's value in, text out.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// The arguments of the filter `tojson` in Transformers.
pub(super) struct Style {
    ensure_ascii: bool,
    sort_keys: bool,
    /// What one level is indented by; without it all is one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
}

/// The widest indent; Python has no limit, and a hostile template would use it.
const WIDEST: usize = 64;

impl Style {
    /// Reads `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
    pub(super) fn from_kwargs(kwargs: &Kwargs) -> Result<Self, Error> {
        let invalid = |what: &str| Error::new(ErrorKind::InvalidOperation, what.to_owned());
        let indent = match kwargs.get::<Option<Value>>("indent")? {
            Some(value) if value.as_str().is_some() => value.as_str().map(str::to_owned),
            Some(value) if !value.is_none() => {
                let width = i64::try_from(value)?.max(0) as usize;
                if width > WIDEST {
                    return Err(invalid("tojson indents by at most 64"));
                }
                Some(" ".repeat(width))
            }
            _ => None,
        };
        if indent.as_ref().is_some_and(|indent| indent.len() > WIDEST) {
            return Err(invalid("tojson indents by at most 64"));
        }
        let separators = kwargs.get::<Option<Vec<String>>>("separators")?;
        let (item_separator, key_separator) = match separators.as_deref() {
            Some([item, key]) => (item.clone(), key.clone()),
            Some(_) => return Err(invalid("separators are two texts")),
            None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
            None => (", ".to_owned(), ": ".to_owned()),
        };
        let style = Self {
            ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
            sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
            indent,
            item_separator,
            key_separator,
        };
        kwargs.assert_all_used()?;
        Ok(style)
    }

    /// Writes `value`, at most [`super::limits::DEEPEST`] levels of it (checked before).
    pub(super) fn write(&self, state: &State, value: &Value) -> Result<String, Error> {
        let mut text = String::new();
        self.value(state, value, 0, &mut text)?;
        Ok(text)
    }

    fn value(
        &self,
        state: &State,
        value: &Value,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.map(|item| (None, item));
                self.container(state, ['[', ']'], items.collect(), depth, out)?;
            }
            ValueKind::Map => {
                let mut items = Vec::new();
                for key in value.try_iter()? {
                    let item = value.get_item(&key)?;
                    items.push((Some(key_text(&key)?), item));
                }
                if self.sort_keys {
                    items.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.container(state, ['{', '}'], items, depth, out)?;
            }
            kind => {
                let what = format!("a value of type {kind} is not JSON");
                return Err(Error::new(ErrorKind::InvalidOperation, what));
            }
        }
        Ok(())
    }

    fn container(
        &self,
        state: &State,
        [open, close]: [char; 2],
        items: Vec<(Option<String>, Value)>,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Error> {
        out.push(open);
        let empty = items.is_empty();
        let before = out.len();
        for (index, (key, item)) in items.into_iter().enumerate() {
            out.push_str(if index > 0 { &self.item_separator } else { "" });
            self.break_line(depth + 1, out);
            if let Some(key) = key {
                self.string(&key, out);
                out.push_str(&self.key_separator);
            }
            self.value(state, &item, depth + 1, out)?;
        }
        // Every level pays for what it holds, which bounds the whole.
        state.consume_fuel(1 + (out.len() - before) as u64 / 64)?;
        if !empty {
            self.break_line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn break_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.ensure_ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a String cannot fail.
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number(key)),
        kind => {
            let what = format!("a key of type {kind} is not JSON");
            Err(Error::new(ErrorKind::InvalidOperation, what))
        }
    }
}

fn number(value: &Value) -> String {
    match float(value) {
        Some(number) if number.is_nan() => "NaN".to_owned(),
        Some(number) if number.is_infinite() => {
            if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
        }
        Some(number) => float_repr(number),
        None => value.to_string(),
    }
}

/// The number, if `value` is one that is not an integer.
pub(super) fn float(value: &Value) -> Option<f64> {
    let is_float = value.kind() == ValueKind::Number && !value.is_integer();
    is_float.then(|| f64::try_from(value.clone()).ok()).flatten()
}

/// A float as Python's `repr` writes it: the shortest digits, an exponent below -4 or from 16 on.
pub(super) fn float_repr(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() { "nan".to_owned() } else { format!("{number}") };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
