//! One Rust file in, the house's rules that it breaks out. Reads lines, not syntax: enough for these rules.

/// The words that leave work undone or a test unrun.
const UNFINISHED: [&str; 3] = ["todo!(", "unimplemented!(", "#[ignore"];

/// What prints, which libraries leave to their callers.
const PRINTS: [&str; 5] = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("];

/// The rules that a file breaks, a line each.
pub fn check(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.trim_start().starts_with("//!") {
        wrong.push(format!("{file}: does not open with a `//!` sentence"));
    }
    let mut tests = false;
    for (number, line) in (1..).zip(text.lines()) {
        tests |= line.trim_start().starts_with("#[cfg(test)]");
        let code = code_of(line);
        let mut say = |what: &str| wrong.push(format!("{file}:{number}: {what}"));
        if has_word(&code, "unsafe") && !may_be_unsafe(file) {
            say("`unsafe` stands in crates/torch, and in crates/files for memory maps, only");
        }
        if let Some(word) = UNFINISHED.iter().find(|word| code.contains(**word)) {
            say(&format!("`{word}` leaves something undone"));
        }
        if is_library(file) && !tests && PRINTS.iter().any(|word| calls(&code, word)) {
            say("a library prints; it gives its caller an event instead");
        }
    }
    wrong
}

/// Where memory is touched by hand, with the reason beside it.
fn may_be_unsafe(file: &str) -> bool {
    let map = file.starts_with("crates/files/src/") && file.ends_with("map.rs");
    file.starts_with("crates/torch/") || map
}

fn is_library(file: &str) -> bool {
    let source = file.starts_with("crates/") && file.contains("/src/");
    source
        && !file.starts_with("crates/cli/")
        && !file.contains("/src/bin/")
        && !file.ends_with("/src/tests.rs")
}

/// A line without its comment and the insides of its strings.
fn code_of(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    let mut inside = false;
    while let Some(c) = characters.next() {
        match c {
            '\\' if inside => drop(characters.next()),
            '"' => {
                inside = !inside;
                code.push(c);
            }
            '\'' if !inside && characters.peek() == Some(&'"') => drop(characters.next()),
            '/' if !inside && characters.peek() == Some(&'/') => break,
            _ if inside => {}
            _ => code.push(c),
        }
    }
    code
}

/// Whether a macro is called, and not one whose name only ends the same.
fn calls(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| !code[..at].ends_with(is_name))
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_name) && !code[at + word.len()..].starts_with(is_name)
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(file: &str, line: &str, expected: usize) {
        let found = check(file, &format!("//! Opens.\n{line}\n"));
        assert_eq!(found.len(), expected, "{line}: {found:?}");
    }

    #[test]
    fn each_rule_finds_its_breach() {
        assert_eq!(check("crates/files/src/lib.rs", "use std;\n").len(), 1);
        check_line("crates/model/src/gpt.rs", "let x = unsafe { y };", 1);
        check_line("crates/torch/src/ffi.rs", "let x = unsafe { y };", 0);
        check_line("crates/files/src/map.rs", "let x = unsafe { y };", 0);
        check_line("crates/files/src/lib.rs", "#![deny(unsafe_code)] // no unsafe", 0);
        check_line("crates/files/src/lib.rs", concat!("to", "do!()"), 1);
        check_line("crates/files/tests/laws.rs", concat!("#[ig", "nore]"), 1);
        check_line("crates/files/src/lib.rs", "let text = \"unsafe\"; // println!(x)", 0);
        check_line("crates/files/src/lib.rs", "println!(\"x\");", 1);
        check_line("crates/files/src/lib.rs", "if c == '\"' { eprintln!(); }", 1);
        check_line("crates/cli/src/output.rs", "println!(\"x\");", 0);
        check_line("crates/files/src/lib.rs", "#[cfg(test)]\nmod t { fn f() { println!(); } }", 0);
    }
}
