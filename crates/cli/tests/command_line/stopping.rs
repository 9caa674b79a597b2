//! Signals: a run that is told to stop keeps everything, and goes on from there.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::support::Place;

/// Starts a long run, and sends `signal` once it trains.
fn stop(place: &Place, signal: &str) -> (Option<i32>, String) {
    let mut child = place
        .command(&[
            "train",
            "run.toml",
            "--set",
            "trainer.steps=600",
            "--set",
            "trainer.log_every=1",
            "--json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut first).expect("a line");
    assert!(first.contains("\"step\""), "{first}");
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(kill.expect("kill is there").success());
    reader.read_to_string(&mut first).expect("the rest");
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
    (child.wait().expect("it ends").code(), stderr)
}

#[test]
fn ctrl_c_keeps_everything_and_the_run_goes_on() {
    let place = Place::new("gpt.toml");
    let (status, stderr) = stop(&place, "-INT");
    assert_eq!(status, Some(130), "{stderr}");
    assert!(stderr.contains("to go on: idiolect train run.toml"), "{stderr}");

    let (status, stderr) = stop(&place, "-TERM");
    assert_eq!(status, Some(143), "{stderr}");
    assert!(stderr.contains("going on after step"), "{stderr}");

    let said = place.call(&["train", "run.toml", "--restart", "--set", "trainer.steps=2"]);
    assert_eq!(said.status, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("from the beginning"), "{}", said.stderr);
}

#[test]
fn a_second_process_on_the_run_is_refused() {
    let place = Place::new("gpt.toml");
    let mut child = place
        .command(&[
            "train",
            "run.toml",
            "--set",
            "trainer.steps=600",
            "--set",
            "trainer.log_every=1",
            "--json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut first).expect("a line");
    let said = place.call(&["train", "run.toml"]);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("process"), "{}", said.stderr);
}
