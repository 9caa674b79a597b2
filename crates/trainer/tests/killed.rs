//! A training process is killed, or meets a full disk; another goes on as if nothing had been. The test binary runs itself as the child.

mod common;

use common::*;
use idiolect_trainer::TrainerConfig;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "IDIOLECT_TEST_RUN";

fn child_config() -> TrainerConfig {
    TrainerConfig { checkpoint_every: Some(2), ..config(40) }
}

// Does nothing unless the tests below start it in a process of its own.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    if let Err(error) = run(&gpt_config(0.1), &child_config(), Path::new(&folder), &mut ()) {
        panic!("{error}: {:?}", std::error::Error::source(&error));
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

// SIGKILL, once `is_time` holds of the checkpoints' folder.
fn kill_when(child: &mut Child, folder: &Path, is_time: impl Fn(&[String]) -> bool) {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && !is_time(&names_in(folder)) {
        assert!(began.elapsed() < Duration::from_secs(60), "the child does not get there");
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_while_training_and_while_saving() {
    let expected = tempfile::tempdir().unwrap();
    assert!(command(expected.path()).status().unwrap().success());

    let folder = tempfile::tempdir().unwrap();
    let is_temporary = |name: &String| name.ends_with(".idiolect-tmp");
    let holds =
        |names: &[String], step: u64| names.iter().any(|name| *name == format!("step-{step}"));
    let mut child = command(folder.path()).spawn().unwrap();
    kill_when(&mut child, folder.path(), |names| holds(names, 4));
    let mut killed_while_saving = 0;
    for step in [6, 10, 14] {
        let mut child = command(folder.path()).spawn().unwrap();
        kill_when(&mut child, folder.path(), |names| {
            holds(names, step) && names.iter().any(is_temporary)
        });
        killed_while_saving += names_in(folder.path()).iter().filter(|n| is_temporary(n)).count();
    }
    assert!(killed_while_saving > 0);
    assert!(command(folder.path()).status().unwrap().success());
    assert_same(expected.path(), folder.path());
}

// A limit on the size of files is what a test can make of a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_checkpoint_whole() {
    let folder = tempfile::tempdir().unwrap();
    run(&gpt_config(0.1), &child_config(), folder.path(), &mut Caller::stopping_at(9)).unwrap();
    let before = names_in(folder.path());
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec {:?} --exact child --nocapture",
        std::env::current_exe().unwrap()
    );
    let output =
        Command::new("sh").args(["-c", &script]).env(CHILD, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("File too large"), "{text}");
    assert_eq!(names_in(folder.path()), before);
    let mut caller = Caller::default();
    run(&gpt_config(0.1), &child_config(), folder.path(), &mut caller).unwrap();
    assert_eq!(caller.warnings(), Vec::<&str>::new());
}

// The names in the checkpoints' folder, none before there is one.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("checkpoints")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
