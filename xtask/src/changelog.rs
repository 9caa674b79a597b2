//! Subjects of commits in, a section of the changelog out, grouped by the crate that each subject names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

const TITLE: &str = "# Changelog\n";

/// Puts the section of a new version on top of CHANGELOG.md, from the commits since the last tag; gives the section.
pub fn update(root: &Path, version: &str) -> Result<String> {
    let since = last_tag(root);
    let range = since.as_ref().map_or("HEAD".to_owned(), |tag| format!("{tag}..HEAD"));
    let log = git(root, &["log", "--no-merges", "--reverse", "--format=%h %s", &range])?;
    let day = git(root, &["log", "-1", "--format=%cs"])?;
    let section = section(version, day.trim(), &log);
    let file = root.join("CHANGELOG.md");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let before = before.strip_prefix(TITLE).unwrap_or(&before);
    fs::write(&file, format!("{TITLE}\n{section}{before}")).context("cannot write CHANGELOG.md")?;
    Ok(section)
}

/// What git prints in a folder.
pub fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    process::output(Command::new("git").current_dir(root).args(arguments))
}

fn last_tag(root: &Path) -> Option<String> {
    let tag = git(root, &["describe", "--tags", "--abbrev=0", "--match", "v*"]).ok()?;
    Some(tag.trim().to_owned())
}

/// `hash crate: what` lines as Markdown.
fn section(version: &str, day: &str, log: &str) -> String {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in log.lines() {
        let Some((hash, subject)) = line.split_once(' ') else { continue };
        let (group, what) = split(subject);
        groups.entry(group).or_default().push(format!("- {what} ({hash})\n"));
    }
    let mut text = format!("## {version}, {day}\n");
    for (group, lines) in groups {
        text.push_str(&format!("\n### {group}\n\n{}", lines.concat()));
    }
    text
}

/// `crate: what`, or what has no such word in front, under `other`.
fn split(subject: &str) -> (&str, &str) {
    let plain = |group: &str| {
        !group.is_empty()
            && group.chars().all(|c| c.is_ascii_alphanumeric() || "-_/., ".contains(c))
    };
    match subject.split_once(": ") {
        Some((group, what))
            if plain(group) && group.split(", ").all(|name| !name.contains(' ')) =>
        {
            (group, what)
        }
        _ => ("other", subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_grouped_by_crate() {
        let log = "a1 model: build the mask once\nb2 Fix a typo\nc3 model: save\nd4 files, dataset: sizes\ne5 note this: odd\n";
        let expected = "## 0.2.0, 2026-11-25\n\n### files, dataset\n\n- sizes (d4)\n\n### model\n\n- build the mask once (a1)\n- save (c3)\n\n### other\n\n- Fix a typo (b2)\n- note this: odd (e5)\n";
        assert_eq!(section("0.2.0", "2026-11-25", log), expected);
    }
}
