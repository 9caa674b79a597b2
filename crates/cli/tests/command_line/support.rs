//! A folder with a text and a run file, and the binary to call in it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder that is gone after the test.
pub struct Place {
    folder: TempDir,
}

/// What a call gave.
pub struct Said {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A folder with `run.toml`, one of `tests/run_files`, and a text that is easy to learn.
    pub fn new(run_file: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let source =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/run_files").join(run_file);
        let text = std::fs::read_to_string(source).expect("the run file is there");
        place.write("run.toml", text.as_bytes());
        place.write("text.txt", song().as_bytes());
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("the folder can be written");
    }

    /// The binary with arguments, in this folder, on one thread.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idiolect"));
        command.current_dir(self.folder.path()).args(line).args(["--threads", "1"]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn call(&self, line: &[&str]) -> Said {
        said(self.command(line).output().expect("the binary starts"))
    }

    /// Runs it to its end, which must be a good one.
    pub fn done(&self, line: &[&str]) -> String {
        let said = self.call(line);
        assert_eq!(said.status, Some(0), "{line:?}: {}", said.stderr);
        said.stdout
    }

    /// Runs it with `--json`, and reads every line.
    pub fn json(&self, line: &[&str]) -> Vec<Value> {
        let line: Vec<&str> = line.iter().copied().chain(["--json"]).collect();
        lines(&self.done(&line))
    }
}

/// Every line as JSON.
pub fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

pub fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn song() -> String {
    (0..240).map(|n| format!("{} green bottles hanging on the wall, and so on\n", n % 60)).collect()
}
