//! Atomic files and folders, locks, maps, hashes: what is there afterwards, whatever happened.

use idiolect_files::{
    AtomicFile, AtomicFolder, Error, FolderLock, Map, hash_file, remove_temporaries, write_atomic,
};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    write_atomic(&path, b"old").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(&[b'x'; 100_000]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    drop(file);
    assert_eq!(names(folder.path()), ["state.json"]);
    write_atomic(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names(folder.path()), ["state.json"]);
}

#[test]
fn a_long_name_and_a_bare_name_work() {
    let folder = tempfile::tempdir().unwrap();
    write_atomic(&folder.path().join("ä".repeat(127)), b"x").unwrap();
    assert!(matches!(write_atomic(Path::new("/"), b""), Err(Error::Refused { .. })));
}

#[test]
fn a_missing_folder_is_named() {
    let error = write_atomic(Path::new("/nowhere/at/all"), b"").unwrap_err();
    assert_eq!(error.to_string(), "cannot create a file beside /nowhere/at/all");
}

#[test]
fn a_folder_is_replaced_whole() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("step-1");
    for content in ["old", "new"] {
        let folder = AtomicFolder::create(&path).unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), content).unwrap();
        folder.commit().unwrap();
        assert_eq!(fs::read_to_string(path.join("inner/file")).unwrap(), content);
        assert_eq!(names(parent.path()), ["step-1"]);
    }
    let folder = AtomicFolder::create(&path).unwrap();
    fs::write(folder.path().join("half"), "").unwrap();
    drop(folder);
    assert_eq!(names(parent.path()), ["step-1"]);
    assert_eq!(names(&path), ["inner"]);
}

#[test]
fn what_killed_processes_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::mem::forget(AtomicFile::create(&folder.path().join("a")).unwrap());
    std::mem::forget(AtomicFolder::create(&folder.path().join("b")).unwrap());
    fs::write(folder.path().join("kept"), "").unwrap();
    assert_eq!(remove_temporaries(folder.path()).unwrap(), 2);
    assert_eq!(names(folder.path()), ["kept"]);
}

#[test]
fn maps_and_hashes_take_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for content in [&b""[..], b"some bytes"] {
        fs::write(&path, content).unwrap();
        assert_eq!(&*Map::open(&path).unwrap(), content);
        assert_eq!(hash_file(&path).unwrap(), blake3::hash(content).to_hex().to_string());
    }
    assert!(matches!(Map::open(folder.path()), Err(Error::Corrupt { .. })));
    assert!(matches!(Map::open(&folder.path().join("no")), Err(Error::Io { .. })));
}

/// What the tests below do in a process of their own, told by this variable.
const CHILD: &str = "IDIOLECT_FILES_CHILD";

fn child(task: &str, shell: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    let test = std::env::current_exe().unwrap();
    command
        .args(["-c", &format!(r#"{shell} exec "$0" --exact as_a_child --nocapture"#)])
        .arg(test)
        .env(CHILD, task)
        .current_dir(folder)
        .stdout(Stdio::piped());
    command
}

#[test]
fn as_a_child() {
    match std::env::var(CHILD).as_deref() {
        Ok("fill the disk") => {
            let error = write_atomic(Path::new("file"), &[1; 1 << 20]).unwrap_err();
            assert!(matches!(error, Error::Io { action: "write", .. }), "{error:?}");
            let folder = AtomicFolder::create(Path::new("step-1")).unwrap();
            assert!(write_atomic(&folder.path().join("weights"), &[1; 1 << 20]).is_err());
            fs::write("seen", "").unwrap();
        }
        Ok("hold the lock") => {
            let _lock = FolderLock::acquire(Path::new(".")).unwrap();
            fs::write("held", "").unwrap();
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        _ => {}
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "old").unwrap();
    // A limit on the size of files acts as a full disk does; ignored, its signal becomes an error of `write`.
    let limit = "trap '' XFSZ; ulimit -f 64;";
    let output = child("fill the disk", limit, folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "old");
    assert_eq!(names(folder.path()), ["file", "seen"]);
}

#[test]
fn a_second_process_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut holder = child("hold the lock", "", folder.path()).spawn().unwrap();
    while !folder.path().join("held").exists() {
        assert!(holder.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let error = FolderLock::acquire(folder.path()).unwrap_err();
    let pid = holder.id();
    assert_eq!(
        error.to_string(),
        format!("{} is in use by process {pid}", folder.path().display())
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    FolderLock::acquire(folder.path()).unwrap();
}
