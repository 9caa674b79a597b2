//! Tells the program the commit it is built from, where there is one: the git folder in, `IDIOLECT_COMMIT` out.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=IDIOLECT_COMMIT");
    let given = std::env::var("IDIOLECT_COMMIT").ok();
    if let Some(commit) = given.or_else(commit) {
        println!("cargo::rustc-env=IDIOLECT_COMMIT={commit}");
    }
}

/// Of this workspace's own repository only: a packaged crate may lie in someone else's.
fn commit() -> Option<String> {
    // It grows with every commit, while the branch's own file may be packed away.
    const LOG: &str = "../../.git/logs/HEAD";
    if !std::path::Path::new(LOG).exists() {
        return None;
    }
    println!("cargo::rerun-if-changed={LOG}");
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(git.stdout).ok()?.trim().to_owned();
    (git.status.success() && !commit.is_empty()).then_some(commit)
}
