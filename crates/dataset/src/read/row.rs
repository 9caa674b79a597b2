//! From the bytes of a row to its text: UTF-8 is checked, or a field is taken out of a JSON object.

use crate::report::Reason;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Why a row is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub reason: Reason,
    /// What is wrong, for a person.
    pub what: String,
    /// How many lines below the row's first it is wrong.
    pub line_offset: u64,
}

impl BadRow {
    fn new(reason: Reason, what: impl Into<String>) -> BadRow {
        BadRow { reason, what: what.into(), line_offset: 0 }
    }

    pub(crate) fn too_large(limit: u64) -> BadRow {
        let what = format!("the document is larger than max_document_bytes = {limit}");
        BadRow::new(Reason::TooLarge, what)
    }
}

/// The text of a plain row.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Cow<'_, str>, BadRow> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_text(bytes, error))?;
    refuse_nul(bytes)?;
    Ok(Cow::Borrowed(text))
}

/// The same without a copy, so that a large document is in memory once.
pub(crate) fn from_owned_bytes(bytes: Vec<u8>) -> Result<Cow<'static, str>, BadRow> {
    let text =
        String::from_utf8(bytes).map_err(|error| not_text(error.as_bytes(), error.utf8_error()))?;
    refuse_nul(text.as_bytes())?;
    Ok(Cow::Owned(text))
}

fn refuse_nul(bytes: &[u8]) -> Result<(), BadRow> {
    match memchr::memchr(0, bytes) {
        Some(at) => Err(binary(bytes, at)),
        None => Ok(()),
    }
}

fn binary(bytes: &[u8], at: usize) -> BadRow {
    BadRow {
        reason: Reason::Binary,
        what: format!("not text: a NUL byte at byte {at} of the document"),
        line_offset: lines_before(bytes, at),
    }
}

fn not_text(bytes: &[u8], error: std::str::Utf8Error) -> BadRow {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return BadRow::new(Reason::InvalidUtf8, "UTF-16, not UTF-8");
    }
    if let Some(at) = memchr::memchr(0, bytes) {
        return binary(bytes, at);
    }
    let at = error.valid_up_to();
    BadRow {
        reason: Reason::InvalidUtf8,
        what: format!("not UTF-8 at byte {at} of the document"),
        line_offset: lines_before(bytes, at),
    }
}

fn lines_before(bytes: &[u8], at: usize) -> u64 {
    memchr::memchr_iter(b'\n', &bytes[..at]).count() as u64
}

/// The text in a field of a JSON object. Without an escape in it, it is borrowed.
pub(crate) fn from_json<'a>(bytes: &'a [u8], field: &str) -> Result<Cow<'a, str>, BadRow> {
    // serde_json would report invalid UTF-8 only inside strings that it looks at.
    std::str::from_utf8(bytes).map_err(|error| not_text(bytes, error))?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let found = Field(field).deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    match found {
        Ok(Some(Value::Text(text))) => Ok(text),
        Ok(Some(Value::Other(kind))) => {
            Err(BadRow::new(Reason::NoField, format!("field `{field}` is {kind}, not a string")))
        }
        Ok(None) => Err(BadRow::new(Reason::NoField, format!("no field `{field}`"))),
        Err(error) => {
            // The error's own line is always 1, which would be taken for that of the file.
            let (text, column) = (error.to_string(), error.column());
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            let what = format!("not a JSON object: {text} at column {column}");
            Err(BadRow::new(Reason::NotJson, what))
        }
    }
}

enum Value<'a> {
    Text(Cow<'a, str>),
    Other(&'static str),
}

/// Finds a field of an object; of several with its name, the last counts, as in most readers.
struct Field<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<Value<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<Value<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_field) = map.next_key_seed(KeyIs(self.0))? {
            if is_field {
                found = Some(map.next_value_seed(AnyValue)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct KeyIs<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_string())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: &[u8], expected: Result<&str, (Reason, &str)>) {
        let found = if row.starts_with(b"{") || row.starts_with(b"[") {
            from_json(row, "text")
        } else {
            assert_eq!(from_bytes(row), from_owned_bytes(row.to_vec()));
            from_bytes(row)
        };
        let found = found.map_err(|bad| (bad.reason, bad.what));
        let found = match &found {
            Ok(text) => Ok(text.as_ref()),
            Err((reason, what)) => Err((*reason, what.as_str())),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn json() {
        use Reason::*;
        check(br#"{"text":"a","b":[1,{"text":2}]}"#, Ok("a"));
        check(br#"{"b":null, "text":"a\n\u00e9\u0000"}"#, Ok("a\né\0"));
        check(br#"{"text":"a","text":"b"}"#, Ok("b"));
        check(br#"{"b":1}"#, Err((NoField, "no field `text`")));
        check(br#"{"text":[1,[2]]}"#, Err((NoField, "field `text` is a list, not a string")));
        check(br#"{"text":{"a":1}}"#, Err((NoField, "field `text` is an object, not a string")));
        check(br#"{"text":-1}"#, Err((NoField, "field `text` is a number, not a string")));
        check(br#"{"text":null}"#, Err((NoField, "field `text` is null, not a string")));
        let end = "not a JSON object: EOF while parsing a string at column 10";
        check(br#"{"text":"a"#, Err((NotJson, end)));
        let list = "not a JSON object: invalid type: sequence, expected an object at column 0";
        check(b"[1]", Err((NotJson, list)));
        let trailing = "not a JSON object: trailing characters at column 4";
        check(b"{} {}", Err((NotJson, trailing)));
        check(b"{\"b\":\"\xff\"}", Err((InvalidUtf8, "not UTF-8 at byte 6 of the document")));
    }

    #[test]
    fn plain() {
        use Reason::*;
        check("é".as_bytes(), Ok("é"));
        check(b"a\0", Err((Binary, "not text: a NUL byte at byte 1 of the document")));
        check(b"\x89PNG\0", Err((Binary, "not text: a NUL byte at byte 4 of the document")));
        check(b"a\xff", Err((InvalidUtf8, "not UTF-8 at byte 1 of the document")));
        check(b"\xff\xfea\0", Err((InvalidUtf8, "UTF-16, not UTF-8")));
        assert_eq!(from_bytes(b"a\nb\n\xff").unwrap_err().line_offset, 2);
    }
}
