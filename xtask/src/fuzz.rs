//! The fuzz crate's manifest and files in, what does not match out: a target that is not declared is never built.

use std::collections::BTreeSet;
use std::path::Path;

/// Where targets lie, and where they are declared.
const TARGETS: &str = "fuzz/fuzz_targets/";
const MANIFEST: &str = "fuzz/Cargo.toml";

/// A line for each target that is not declared, or declared and gone.
pub fn check(root: &Path, files: &BTreeSet<String>) -> Vec<String> {
    let manifest = std::fs::read_to_string(root.join(MANIFEST)).unwrap_or_default();
    let declared: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix('"'))
        .map(|name| format!("{TARGETS}{name}"))
        .collect();
    let there: BTreeSet<String> =
        files.iter().filter(|file| file.starts_with(TARGETS)).cloned().collect();
    let missing = there.difference(&declared).map(|file| format!("{MANIFEST}: lacks {file}"));
    let gone = declared.difference(&there).map(|file| format!("{MANIFEST}: {file} is gone"));
    missing.chain(gone).collect()
}

#[test]
fn targets_and_manifest_must_match() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("fuzz")).unwrap();
    let manifest = "[[bin]]\npath = \"fuzz_targets/a.rs\"\n[[bin]]\npath = \"fuzz_targets/b.rs\"\n";
    std::fs::write(root.path().join(MANIFEST), manifest).unwrap();
    let check = |names: &[&str], expected: &[&str]| {
        let files = names.iter().map(|name| format!("{TARGETS}{name}")).collect();
        assert_eq!(check(root.path(), &files), expected);
    };
    check(&["a.rs", "b.rs"], &[]);
    check(&["a.rs"], &["fuzz/Cargo.toml: fuzz/fuzz_targets/b.rs is gone"]);
    check(&["a.rs", "b.rs", "c.rs"], &["fuzz/Cargo.toml: lacks fuzz/fuzz_targets/c.rs"]);
}
