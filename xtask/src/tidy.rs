//! `tidy`: the tree in, what no longer matches the house's rules out: paths, the map, arrows, sizes, and where `unsafe` may stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::map::{self, Arrows, Metadata};
use crate::{fuzz, process, source};

/// Files above this do not belong in the repository.
const LARGEST: u64 = 1_000_000;

/// Fails with a line for each thing that is wrong.
pub fn tidy(root: &Path) -> Result<()> {
    let files = tracked(root)?;
    let map = fs::read_to_string(root.join(map::MAP))
        .with_context(|| format!("cannot read {}", map::MAP))?;
    let mut wrong = Arrows::read(&map).wrong(&Metadata::of(root)?.packages);
    check_readme(root, &mut wrong);
    wrong.extend(fuzz::check(root, &files));
    for file in &files {
        check_file(root, file, &files, &mut wrong)?;
    }
    if wrong.is_empty() {
        eprintln!("  {} files, all tidy", files.len());
        return Ok(());
    }
    bail!("{} not tidy:\n  {}", wrong.len(), wrong.join("\n  "))
}

/// The files of the repository, and the new ones that git does not ignore.
fn tracked(root: &Path) -> Result<BTreeSet<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = process::output(&mut git)?;
    let there = |file: &&str| !file.is_empty() && root.join(file).symlink_metadata().is_ok();
    Ok(listed.split('\0').filter(there).map(str::to_owned).collect())
}

fn check_file(
    root: &Path,
    file: &str,
    files: &BTreeSet<String>,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let path = root.join(file);
    let size = path.symlink_metadata().with_context(|| format!("cannot read {file}"))?.len();
    if size > LARGEST {
        wrong.push(format!("{file}: {size} bytes; the largest file may have {LARGEST}"));
    }
    if file.ends_with(".rs") {
        wrong.extend(source::check(file, &fs::read_to_string(&path)?));
    }
    if file == "README.md" || (file.starts_with("docs/") && file.ends_with(".md")) {
        let text = fs::read_to_string(&path)?;
        wrong.extend(missing_paths(root, file, &text, files));
    }
    Ok(())
}

/// Every crate stands in the README's drawing of the map, as `crates/name` or `name/`.
fn check_readme(root: &Path, wrong: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(root.join("README.md")) else {
        wrong.push("README.md is missing".to_owned());
        return;
    };
    for entry in fs::read_dir(root.join("crates")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let names = [format!("{name}/"), format!("crates/{name}"), format!("crates/{name}/")];
        if !words(&text).any(|word| names.iter().any(|name| name == word)) {
            wrong.push(format!("README.md: crates/{name} is not on the map"));
        }
    }
}

/// The paths a document names that are gone.
fn missing_paths(root: &Path, document: &str, text: &str, files: &BTreeSet<String>) -> Vec<String> {
    let tops: BTreeSet<&str> =
        files.iter().filter_map(|file| Some(file.split_once('/')?.0)).collect();
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut wrong = Vec::new();
    for word in words(text).filter(|word| is_path(word, &tops)) {
        // A module may be named without its ending.
        let there = root.join(word).exists() || root.join(format!("{word}.rs")).exists();
        if !there && !folder_holds(root, folder, word) {
            wrong.push(format!("{document}: {word} is gone"));
        }
    }
    for target in links(text) {
        if !folder_holds(root, folder, target) {
            wrong.push(format!("{document}: the link to {target} leads nowhere"));
        }
    }
    wrong
}

fn folder_holds(root: &Path, folder: &Path, name: &str) -> bool {
    root.join(folder).join(name).exists()
}

/// Words as prose and code separate them, without the punctuation that ends a sentence.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| c.is_whitespace() || "`'\"()[],;=|".contains(c);
    text.split(ends).map(|word| word.trim_end_matches(['.', ':', '!', '?']))
}

/// Whether a word names a path of this tree: its first part is a folder here, and no part is a placeholder.
fn is_path(word: &str, tops: &BTreeSet<&str>) -> bool {
    let placeholder = |part: &str| {
        part.contains(['*', '<', '{', '$', '…'])
            || (part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()))
    };
    let Some((top, rest)) = word.split_once('/') else { return false };
    tops.contains(top) && !rest.split('/').any(placeholder)
}

/// The targets of Markdown links that lie in this tree.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let targets = targets.map(|target| target.split('#').next().unwrap_or(""));
    targets.filter(|target| {
        !target.is_empty() && !target.contains("://") && !target.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        tidy(&process::root()).unwrap();
    }

    #[test]
    fn paths_that_are_gone_are_named() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("crates/files")).unwrap();
        fs::create_dir_all(root.path().join("docs")).unwrap();
        fs::write(root.path().join("docs/log.md"), "").unwrap();
        let files = BTreeSet::from(["crates/files/lib.rs".to_owned(), "docs/log.md".to_owned()]);
        let check = |text: &str, expected: usize| {
            let found = missing_paths(root.path(), "docs/guide.md", text, &files);
            assert_eq!(found.len(), expected, "{text}: {found:?}");
        };
        check("see `crates/files`, and crates/files/.", 0);
        check("see crates/gone.", 1);
        check("cp crates/NAME/x crates/*/src runs/x and/or", 0);
        check("the [log](log.md#day) and a [site](https://a.b/c)", 0);
        check("the [log](gone.md)", 1);
    }
}
