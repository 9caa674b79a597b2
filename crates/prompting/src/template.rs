//! Templates: named values in, a prompt out, with solved examples (few-shot) or without.

use crate::{Error, Result};

/// A prompt with named gaps, written `{{ name }}`.
///
/// A value goes in unchanged: braces inside it are not gaps.
///
/// ```
/// use idiolect_prompting::Template;
/// let template = Template::zero_shot("Q: {{ question }}\nA:")?;
/// assert_eq!(template.render(&[("question", "2 + 2?")])?, "Q: 2 + 2?\nA:");
/// assert!(template.render(&[("query", "2 + 2?")]).is_err());
/// # Ok::<(), idiolect_prompting::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The solved examples as text, with the blank line that ends each.
    header: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// A template that only asks.
    pub fn zero_shot(text: &str) -> Result<Self> {
        Ok(Self { header: String::new(), parts: parse(text)? })
    }

    /// A template that shows solved examples first (Brown et al. 2020, "Language Models are
    /// Few-Shot Learners", section 2): each of `examples` as `solved` renders it and a blank line,
    /// then `text`.
    pub fn few_shot(solved: &str, examples: &[&[(&str, &str)]], text: &str) -> Result<Self> {
        let solved = parse(solved)?;
        let mut header = String::new();
        for example in examples {
            render_into(&mut header, &solved, example)?;
            header.push_str("\n\n");
        }
        Ok(Self { header, parts: parse(text)? })
    }

    /// The names of the variables that [`Template::render`] needs, in order, each once.
    pub fn variables(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for part in &self.parts {
            if let Part::Variable(name) = part
                && !names.contains(&name.as_str())
            {
                names.push(name.as_str());
            }
        }
        names
    }

    /// The prompt with `values` in place of the variables. A variable without a value is an error;
    /// a value without a variable is not, since a row may have more columns than a prompt uses.
    pub fn render(&self, values: &[(&str, &str)]) -> Result<String> {
        let mut prompt = self.header.clone();
        render_into(&mut prompt, &self.parts, values)?;
        Ok(prompt)
    }
}

fn render_into(out: &mut String, parts: &[Part], values: &[(&str, &str)]) -> Result<()> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable(name) => match values.iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => return Err(unknown(name, values)),
            },
        }
    }
    Ok(())
}

fn unknown(name: &str, values: &[(&str, &str)]) -> Error {
    let names: Vec<&str> = values.iter().map(|&(known, _)| known).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Error::UnknownVariable { name: name.to_owned(), known }
}

fn parse(text: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let at = text.len() - rest.len() + open;
        let inside = &rest[open + 2..];
        let close = inside
            .find("}}")
            .ok_or(Error::Template { at, what: "`{{` is never closed by `}}`" })?;
        let name = inside[..close].trim();
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(Error::Template { at, what: "a variable is letters, digits and `_`" });
        }
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        parts.push(Part::Variable(name.to_owned()));
        rest = &inside[close + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn variables_are_filled_in_by_name() {
        let check = |text: &str, expected: std::result::Result<&str, &str>| {
            let rendered = Template::zero_shot(text)
                .and_then(|template| template.render(&[("a", "1"), ("long_name", "{{ a }}")]));
            match (rendered, expected) {
                (Ok(prompt), Ok(expected)) => assert_eq!(prompt, expected),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{error}");
                }
                (rendered, _) => panic!("{text:?} gave {rendered:?}"),
            }
        };
        check("", Ok(""));
        check("no variable", Ok("no variable"));
        check("{{a}}{{ a }}", Ok("11"));
        check("<{{ long_name }}>", Ok("<{{ a }}>"));
        check("a { b } }} c", Ok("a { b } }} c"));
        check("{{ b }}", Err("unknown variable `b` (known: a, long_name)"));
        check("x {{ a", Err("at byte 2"));
        check("{{ a.b }}", Err("letters, digits"));
        check("{{ }}", Err("letters, digits"));
    }

    #[test]
    fn an_example_without_a_value_is_refused() {
        let examples: &[&[(&str, &str)]] = &[&[("q", "1")]];
        let error = Template::few_shot("{{ q }}{{ a }}", examples, "{{ q }}").expect_err("no `a`");
        assert!(error.to_string().contains("`a`"));
    }

    #[test]
    fn variables_are_listed_once() {
        let template = Template::zero_shot("{{ b }} {{ a }} {{ b }}").expect("well formed");
        assert_eq!(template.variables(), ["b", "a"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_value_stands_in_the_prompt_unchanged(value in "\\PC*") {
            let template = Template::zero_shot("<{{ x }}>").expect("well formed");
            prop_assert_eq!(template.render(&[("x", &value)]).expect("known"), format!("<{value}>"));
        }
    }
}
