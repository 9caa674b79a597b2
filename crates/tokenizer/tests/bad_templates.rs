//! Templates from strangers: whatever they hold, a typed error (or a text) comes soon, and never a panic.
#![cfg(feature = "chat")]

use std::time::{Duration, Instant};

use idiolect_tokenizer::Error;
use idiolect_tokenizer::chat::{ChatTemplate, Jinja, Message, Options};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Renders `source`, and sees that neither way takes long.
fn render(source: &str) -> Result<String, String> {
    let started = Instant::now();
    let text =
        Jinja::new(source, "bad.jinja").and_then(|template| template.render(&json!({"x": [1]})));
    let shown: String = source.chars().take(100).collect();
    // A second where nothing else runs; tests run side by side.
    assert!(started.elapsed() < Duration::from_secs(4), "{shown}: {:?}", started.elapsed());
    match text {
        Ok(text) => Ok(text),
        Err(error @ Error::Template { .. }) => Err(error.to_string()),
        Err(error) => panic!("{shown}: {error}"),
    }
}

fn check(source: &str, expected: &str) {
    let shown: String = source.chars().take(100).collect();
    let error = render(source).expect_err(&shown);
    assert!(error.contains(expected), "{shown}: {error}");
}

#[test]
fn what_never_ends_is_ended() {
    let tired = "runs for too long";
    check("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", tired);
    check("{{ range(10 ** 9) }}", "too many elements");
    check("{% for i in range(99999) %}{{ range(99999) | sort | length }}{% endfor %}", tired);
    check("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion limit");
    check("{% macro f(n) %}{{ f(n+1) }}{{ f(n+1) }}{% endmacro %}{{ f(0) }}", "recursion limit");
    check("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "recursion limit");
    check("{% block a %}{{ self.a() }}{% endblock %}", "recursion limit");
    for word in ["include 'bad.jinja'", "extends 'bad.jinja'", "import 'bad.jinja' as x"] {
        check(&format!("{{% {word} %}}"), "bad.jinja");
    }
}

#[test]
fn what_fills_the_memory_is_refused() {
    let tired = "runs for too long";
    check("{{ 'a' * 10 ** 9 }}", tired);
    check("{{ ('a' * 90000000) * 9 }}", tired);
    check("{{ 'a' | indent(1000000000) }}", tired);
    check("{{ '%1000000000d' | format(1) }}", tired);
    check("{{ '{:>1000000000}'.format('a') }}", "width");
    check("{{ [1, [2]] | tojson(indent=1000000000) }}", "64");
    check("{{ ('a' * 1000000).replace('', 'b' * 1000000) }}", tired);
    check("{{ ('b' * 1000000) | join('a' * 1000000) }}", tired);
    check("{{ ('a,' * 10000000).split(',') | length }}", tired);
    check("{{ [1] * 10 ** 9 }}", "cannot be repeated");
    check("{% set y = ['a' * 1000000] %}{{ y * 100000 ~ '' }}", "cannot be repeated");
    check("{{ 100000 * (['a' * 1000000] | list) ~ '' }}", "cannot be repeated");
    let doubled = "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}";
    check(doubled, tired);
}

#[test]
fn small_values_that_print_large_are_refused() {
    let large = "200000 entries";
    for sink in [
        "{{ n.x }}",
        "{{ n.x ~ '' }}",
        "{{ n.x == [n.x] }}",
        "{{ n.x | tojson }}",
        "{{ ''.join(n.x) }}",
    ] {
        for grow in [
            "[n.x, n.x]",
            "n.x, n.x",
            "{'a': n.x, 'b': n.x}",
            "n.x | zip(n.x) | list",
            "dict(a=n.x, b=n.x)",
        ] {
            let grow = format!("{{% for i in range(99) %}}{{% set n.x = {grow} %}}{{% endfor %}}");
            check(&format!("{{% set n = namespace(x=[1]) %}}{grow}{sink}"), large);
        }
    }
    check(&format!("{}{{{{ y ~ '' }}}}", "{% set y = [y or x, y or x] %}".repeat(40)), large);
    check(
        "{% macro f(y, n) %}{% if n %}{{ f([y, y], n - 1) }}{% endif %}{{ y ~ '' }}{% endmacro %}{{ f(x, 29) }}",
        large,
    );
}

#[test]
fn what_nests_without_end_is_refused() {
    let deep = "deeper than 100";
    let loops = |grow: &str| {
        format!(
            "{{% set n = namespace(x=x) %}}{{% for i in range(9999) %}}{{% set n.x = {grow} %}}{{% endfor %}}"
        )
    };
    check(&loops("[n.x]"), deep);
    check(&loops("{'a': n.x}"), deep);
    check("{% set n = namespace() %}{% set n.x = n %}{{ n }}", "namespace cannot lie");
    check("{% set n = namespace() %}{% set n.x = [n] %}{{ n }}", "namespace cannot lie");
    for lazy in ["n.x[0:]", "n.x | map('string')", "n.x | reverse", "n.x | chain([])", "n.x + []"] {
        assert_eq!(render(&(loops(lazy) + "{{ n.x | length }}")).as_deref(), Ok("1"), "{lazy}");
    }
    let fill = |before: &str, piece: &str| before.to_owned() + &piece.repeat(120_000 / piece.len());
    for (before, piece) in [
        ("{{ ", "("),
        ("{{ ", "["),
        ("{{ ", "{'a':"),
        ("", "{% if x %}"),
        ("{{ ", "-"),
        ("{{ ", "not "),
        ("{{ 1", "+1"),
        ("{{ x", ".a"),
        ("{{ x", "|trim"),
        ("{{ 'a'", "~x"),
        ("{{ 1", " if 1 else 1"),
        ("{{ 1", "**1"),
        ("{{ 1", " and 1"),
        ("{% if 0 %}", "{% elif 0 %}"),
        ("", "{% generation %}"),
    ] {
        render(&fill(before, piece)).unwrap_err();
    }
    check(&"x".repeat(200_000), "at most");
    let mut nested = json!("x");
    for _ in 0..120 {
        nested = json!([nested]);
    }
    let mut message = Message::new("user", "hi");
    message.other.insert("deep".to_owned(), nested);
    let template = ChatTemplate::from_str("{{ messages }}").unwrap();
    let error = template.render(&[message], &Options::default()).unwrap_err().to_string();
    assert!(error.contains(deep), "{error}");
}

#[test]
fn errors_name_the_line_of_the_template_as_written() {
    check("a\n\n{{ nothing + 1 }}", "bad.jinja, line 3: ");
    check("{% set y = [\n1, 2] %}\n{{ y.z.w }}", "bad.jinja, line 3: ");
    check(
        "{% generation %}\n{% endgeneration %}\n{{ raise_exception('not so') }}",
        "line 3: not so",
    );
    check("\n{{ 'a'.nothing() }}", "line 2: ");
    check("\n\n{% for %}", "line 3: ");
    check("{{ 'a' | nothing }}", "nothing");
}

fn pieces() -> impl Strategy<Value = String> {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/chats.json")).unwrap();
    let templates = fixture["templates"].as_object().unwrap().values();
    let templates: Vec<String> = templates.map(|one| one.as_str().unwrap().to_owned()).collect();
    let words = [
        "{%",
        "%}",
        "{{",
        "}}",
        "{#",
        "#}",
        "-",
        "set x = ",
        "[",
        "]",
        "(",
        ")",
        "*",
        "for i in x",
        "endfor",
        "\"",
        "generation",
        "endgeneration",
        "namespace()",
        ".a",
        "|",
        "\u{10ff00}",
        "é",
    ];
    (
        prop::sample::select(templates),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    )
        .prop_map(move |(template, changes)| {
            let mut characters: Vec<char> = template.chars().collect();
            for (place, change) in changes {
                let at = place.index(characters.len());
                match usize::from(change) {
                    change if change < 100 => drop(characters.remove(at)),
                    change => {
                        let word = words[change % words.len()].chars();
                        characters.splice(at..at, word);
                    }
                }
            }
            characters.into_iter().collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_templates_never_panic(source in pieces()) {
        let messages = [Message::new("user", "a"), Message::new("assistant", "b")];
        if let Ok(template) = ChatTemplate::from_str(&source) {
            let _ = template.render(&messages, &Options::default());
        }
    }

    #[test]
    fn random_text_never_panics(source in "(\\{\\{|\\{%|%\\}|\\}\\}|set|for|in|[-+*~.|,()\\[\\]{}:'\"=a1]|\\PC){0,60}") {
        let _ = render(&source);
    }
}
