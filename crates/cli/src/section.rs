//! A section of a run file: TOML in; a typed value out, or an error that names file, line and key.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::output::usage;

/// A TOML file and what the command line changed in it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it came from.
    pub path: PathBuf,
    text: String,
    table: Table,
    /// The keys that the command line changed, such as `trainer.steps`.
    changed: Vec<String>,
}

impl Source {
    /// Reads a file and applies `key=value` changes.
    pub fn read(path: &Path, changes: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the run file {}", path.display()))?;
        Self::parse(path, text, changes)
    }

    /// The same, of a text that was read already.
    pub fn parse(path: &Path, text: String, changes: &[String]) -> Result<Self> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_at(&text, span.start));
            usage(format!("{}:{line}: {}", path.display(), error.message()))
        })?;
        for change in changes {
            set(&mut table, change)?;
        }
        let key = |change: &String| change.split('=').next().unwrap_or_default().trim().to_owned();
        let changed = changes.iter().map(key).collect();
        Ok(Self { path: path.to_owned(), text, table, changed })
    }

    /// The folder of the run whose own record this is, unless the command line names another.
    pub fn run_of_record(&self) -> Option<PathBuf> {
        let is_record = self.path.ends_with("run.toml") && idiolect_trainer::is_record(&self.text);
        let folder =
            self.path.parent().filter(|_| is_record && !self.changed.contains(&"run".into()));
        match folder {
            // A folder with a name, for the report's sake.
            Some(here) if here.as_os_str().is_empty() => std::env::current_dir().ok(),
            other => other.map(Path::to_owned),
        }
    }

    /// Refuses a section, or a key outside of all, that is not among `known`.
    pub fn expect_keys(&self, known: &[&str]) -> Result<()> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(self.unknown(None, key, known.iter().copied())),
        }
    }

    /// The section `name` as a `T`, if it is there.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.table.get(name).map(|value| self.read_section(name, value.clone())).transpose()
    }

    /// The section `name` as a `T`, with `defaults` for what it leaves out; also where it is not there.
    pub fn section_or<T: DeserializeOwned>(&self, name: &str, defaults: Table) -> Result<T> {
        let mut table = defaults;
        match self.table.get(name) {
            Some(Value::Table(given)) => table.extend(given.clone()),
            Some(_) => return Err(self.refuse(name, None, "must be a section")),
            None => {}
        }
        self.read_section(name, Value::Table(table))
    }

    fn read_section<T: DeserializeOwned>(&self, name: &str, value: Value) -> Result<T> {
        let read = |value: Value| value.try_into::<T>();
        let error = match read(value.clone()) {
            Ok(section) => return Ok(section),
            Err(error) => error,
        };
        let message = error.message();
        if let Some(key) = quoted(message.strip_prefix("unknown field ").unwrap_or_default()).next()
        {
            let known = message.split_once("expected ").map_or("", |(_, known)| known);
            return Err(self.unknown(Some(name), key, quoted(known)));
        }
        let culprit = value.as_table().and_then(|table| culprit(table, message, read));
        Err(self.refuse(name, culprit.as_deref(), message))
    }

    /// An error about a key of a section: file, line, key, what is wrong.
    pub fn refuse(&self, section: &str, key: Option<&str>, what: &str) -> anyhow::Error {
        let name = key.map_or(format!("[{section}]"), |key| format!("`{section}.{key}`"));
        usage(format!("{}: {name}: {what}", self.place(Some(section), key)))
    }

    /// Whether there is a section of this name.
    pub fn has_section(&self, section: &str) -> bool {
        self.table.contains_key(section)
    }

    /// Whether a section gives a key.
    pub fn has(&self, section: &str, key: &str) -> bool {
        self.table.get(section).and_then(|section| section.get(key)).is_some()
    }

    /// A path of the file, which is relative to the file's folder, as seen from the current folder.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or(path.to_owned(), |folder| folder.join(path))
    }

    fn unknown<'a>(
        &self,
        section: Option<&str>,
        key: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> anyhow::Error {
        let known: Vec<&str> = known.collect();
        let place = self.place(section, Some(key));
        let of = section.map_or("a run file".to_owned(), |section| format!("[{section}]"));
        let hint = match nearest(key, &known) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if known.is_empty() => "it takes no keys".to_owned(),
            None => format!("it takes {}", known.join(", ")),
        };
        usage(format!("{place}: unknown key `{key}` of {of}; {hint}"))
    }

    /// `file:line` of a key, or `file (--set)` where the file has it not.
    fn place(&self, section: Option<&str>, key: Option<&str>) -> String {
        let path = self.path.display();
        match find_line(&self.text, section, key) {
            Some(line) => format!("{path}:{line}"),
            None if key.is_some() => format!("{path} (with --set)"),
            None => path.to_string(),
        }
    }
}

/// A path as seen from the current folder, as a file in `folder` would name it. An absolute one stays.
pub fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    let here = Path::new(".").join(path);
    let target = match (here.parent(), path.file_name()) {
        (Some(above), Some(name)) => real(above).join(name),
        _ => real(&here),
    };
    pathdiff::diff_paths(target, real(folder)).unwrap_or(path.to_owned())
}

/// Where a folder is. One that is there may be a link, from which `..` leads elsewhere; one that is not there yet (or is a
/// glob) is taken by its name.
fn real(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or(folder.to_owned());
    let found = folder.ancestors().find_map(|above| {
        let rest = folder.strip_prefix(above).ok()?;
        Some(std::fs::canonicalize(above).ok()?.join(rest))
    });
    found.unwrap_or(folder)
}

/// Applies one `a.b=value`; what is no TOML value is taken as text.
fn set(table: &mut Table, change: &str) -> Result<()> {
    let Some((path, value)) = change.split_once('=') else {
        return Err(usage(format!("--set {change}: must look like section.key=value")));
    };
    let value = match format!("value = {value}").parse::<Table>() {
        Ok(mut parsed) => parsed.remove("value").unwrap_or_else(|| Value::String(value.to_owned())),
        Err(_) => Value::String(value.to_owned()),
    };
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let (last, sections) = keys.split_last().context("a split has at least one part")?;
    if keys.iter().any(|key| key.is_empty()) {
        return Err(usage(format!("--set {change}: a key is missing")));
    }
    let mut inner = table;
    for section in sections {
        let entry = inner.entry(*section).or_insert_with(|| Value::Table(Table::new()));
        inner = entry
            .as_table_mut()
            .ok_or_else(|| usage(format!("--set {change}: `{section}` is a value, no section")))?;
    }
    inner.insert((*last).to_owned(), value);
    Ok(())
}

/// The key without which an error is another one: serde forgets it where an enum is tagged.
fn culprit<T>(
    table: &Table,
    message: &str,
    read: impl Fn(Value) -> Result<T, toml::de::Error>,
) -> Option<String> {
    table.keys().find_map(|key| {
        let mut without = table.clone();
        without.remove(key);
        let changed = match read(Value::Table(without)) {
            Ok(_) => true,
            Err(error) => error.message() != message,
        };
        changed.then(|| key.clone())
    })
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The known word that a typo most resembles, if any does.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let score = |candidate: &str| strsim::jaro_winkler(word, candidate);
    let best = known.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(best) > 0.75).then_some(best)
}

fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|&&byte| byte == b'\n').count() + 1
}

/// The line (from 1) where a key of a section stands, or the section's own without a key.
fn find_line(text: &str, section: Option<&str>, key: Option<&str>) -> Option<usize> {
    let mut current = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(header) = line.strip_prefix('[') {
            current = header.trim_matches(['[', ']', ' ']).to_owned();
            if key.is_none_or(|key| section.is_none() && current == key)
                && header_is(&current, section.or(key))
            {
                return Some(number);
            }
            continue;
        }
        if key.is_some_and(|key| inside(&current, section) && mentions(line, key)) {
            return Some(number);
        }
    }
    None
}

fn header_is(current: &str, name: Option<&str>) -> bool {
    name.is_some_and(|name| current == name)
}

fn inside(current: &str, section: Option<&str>) -> bool {
    match section {
        None => current.is_empty(),
        Some(section) => current == section || current.starts_with(&format!("{section}.")),
    }
}

/// Whether a line gives `key` a value, plainly or inside an inline table.
fn mentions(line: &str, key: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(key).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        !before.is_some_and(part_of_word) && after.starts_with(['=', '.'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Plain {
        steps: u64,
        optimizer: Option<Tagged>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
    #[allow(dead_code)]
    enum Tagged {
        Muon { momentum: f64 },
    }

    fn check<T: DeserializeOwned + std::fmt::Debug>(text: &str, changes: &[&str], expected: &str) {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let error = Source::parse(Path::new("run.toml"), text.to_owned(), &changes)
            .and_then(|source| {
                source.expect_keys(&["seed", "trainer"])?;
                source.section::<T>("trainer")
            })
            .expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        check::<Plain>("seed = 1\nsteps", &[], "run.toml:2: key with no value, expected `=`");
        check::<Plain>(
            "seed = 1\n[trainer]\nsteps = 3\nstps = 2",
            &[],
            "run.toml:4: unknown key `stps` of [trainer]; did you mean `steps`?",
        );
        check::<Plain>(
            "sed = 1",
            &[],
            "run.toml:1: unknown key `sed` of a run file; did you mean `seed`?",
        );
        check::<Plain>(
            "[trainr]\nsteps = 1",
            &[],
            "run.toml:1: unknown key `trainr` of a run file; did you mean `trainer`?",
        );
        check::<Plain>(
            "[trainer]\nsteps = 'x'",
            &[],
            "run.toml:2: `trainer.steps`: invalid type: string \"x\", expected u64",
        );
        check::<Plain>("[trainer]", &[], "run.toml:1: [trainer]: missing field `steps`");
        check::<Tagged>(
            "[trainer]\ntype = 'muon'\nmomentum = true",
            &[],
            "run.toml:3: `trainer.momentum`: invalid type: boolean `true`, expected f64",
        );
        check::<Tagged>(
            "[trainer]\nmomentm = 0.5 # x\ntype = 'muon'",
            &[],
            "run.toml:2: unknown key `momentm` of [trainer]; did you mean `momentum`?",
        );
        check::<Plain>(
            "[trainer]\nsteps = 1\noptimizer = { type = 'muon', wrong_word = 1 }",
            &[],
            "run.toml:3: unknown key `wrong_word` of [trainer]; it takes momentum",
        );
    }

    #[test]
    fn a_path_is_named_as_seen_from_a_folder() {
        let check = |folder: &str, path: &str, expected: &str| {
            assert_eq!(seen_from(Path::new(folder), Path::new(path)), Path::new(expected));
        };
        check("runs/my", "recipes/a/*.txt", "../../recipes/a/*.txt");
        check("runs/my", "runs/my/x.txt", "x.txt");
        check("runs/my", "../data", "../../../data");
        check("run", "x.txt", "../x.txt");
        check("run", "..", "../..");
        check("runs/my", "/data/x.txt", "/data/x.txt");
    }

    #[test]
    #[cfg(unix)]
    fn a_path_is_named_as_seen_from_where_a_link_leads() {
        let top = tempfile::tempdir().expect("a folder");
        let top = std::fs::canonicalize(top.path()).expect("it is there");
        std::fs::create_dir_all(top.join("disk/deep/runs")).expect("folders");
        std::os::unix::fs::symlink(top.join("disk/deep/runs"), top.join("runs")).expect("a link");
        let typed = pathdiff::diff_paths(top.join("data.txt"), std::env::current_dir().unwrap());
        let seen = seen_from(&top.join("runs/my"), &typed.expect("both are absolute"));
        assert_eq!(seen, Path::new("../../../../data.txt"));
    }

    #[test]
    fn a_change_from_the_command_line_is_checked_too() {
        let text = "[trainer]\nsteps = 1";
        check::<Plain>(
            text,
            &["trainer.stps=2"],
            "run.toml (with --set): unknown key `stps` of [trainer]; did you mean `steps`?",
        );
        check::<Plain>(text, &["steps"], "--set steps: must look like section.key=value");
        check::<Plain>(text, &["trainer.=2"], "--set trainer.=2: a key is missing");
        check::<Plain>(
            text,
            &["trainer.steps.x=2"],
            "--set trainer.steps.x=2: `steps` is a value, no section",
        );
    }

    #[test]
    fn a_change_is_a_toml_value_or_text() {
        let check = |change: &str, expected: Value| {
            let mut table = Table::new();
            set(&mut table, change).expect("well formed");
            assert_eq!(table["a"]["b"], expected);
        };
        check("a.b=200", Value::Integer(200));
        check("a.b=2.5e-3", Value::Float(2.5e-3));
        check("a.b=true", Value::Boolean(true));
        check("a.b=[1, 2]", Value::Array(vec![1.into(), 2.into()]));
        check("a.b=runs/my run", Value::String("runs/my run".to_owned()));
        check("a.b='x=y'", Value::String("x=y".to_owned()));
    }
}
