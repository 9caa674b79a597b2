//! `setup`: provides libtorch under `.libtorch/`, downloaded by pip or linked to one that is there already.
//!
//! Everything is made in a folder beside it and renamed at the end, so that a killed setup leaves nothing half.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::libtorch::{self, Libtorch, Origin};
use crate::pip::{self, Pip, Request, size};
use crate::process;

/// What `setup` takes.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// libtorch for the processor (the default): about 530 MB to download, 490 MB on disk
    #[arg(long, conflicts_with_all = ["cuda", "from"])]
    cpu: bool,
    /// libtorch with CUDA and all the libraries it needs: about 2.9 GB to download, 3.9 GB on disk
    #[arg(long, conflicts_with = "from")]
    cuda: bool,
    /// Use a libtorch that is there already: its folder, or that of a Python's torch package
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Provides what the arguments ask for.
pub fn setup(root: &Path, arguments: &Arguments) -> Result<()> {
    remove_leftovers(root);
    if let Some(path) = &arguments.from {
        return link(root, path, arguments.dry_run);
    }
    let asked = arguments.cpu || arguments.cuda;
    match Libtorch::find(root) {
        Some(found) if found.origin != Origin::Tree => return accept(root, &found),
        Some(found)
            if found.check(root).is_ok() && (!asked || found.has_cuda() == arguments.cuda) =>
        {
            return accept(root, &found);
        }
        Some(found) => eprintln!("The libtorch in {} is replaced.", found.folder.display()),
        None => {}
    }
    refuse_missing_variable(root)?;
    download(root, arguments.cuda, arguments.dry_run)
}

/// A libtorch for the commands that need one: what is there, or else the download.
pub fn ensure(root: &Path) -> Result<Libtorch> {
    if Libtorch::find(root).is_none_or(|found| found.check(root).is_err()) {
        setup(root, &Arguments::default())?;
    }
    match Libtorch::find(root) {
        Some(found) => Ok(found),
        None => bail!("there is still no libtorch after setup"),
    }
}

/// Says which one is used and why, or what is wrong with it.
fn accept(root: &Path, found: &Libtorch) -> Result<()> {
    found.check(root)?;
    let version = found.version.as_deref().unwrap_or("of unknown version");
    let why = match found.origin {
        Origin::Tree => "is there; nothing to do (`--cpu`, `--cuda` or `--from PATH` change it)",
        Origin::Variable => "comes from your LIBTORCH, which wins over .libtorch/; nothing to do",
        Origin::Python => {
            "comes from python3, since LIBTORCH_USE_PYTORCH is set (to any value), which wins over LIBTORCH and .libtorch/"
        }
    };
    eprintln!("libtorch {version} in {} {why}.", found.folder.display());
    Ok(())
}

/// A LIBTORCH that names nothing would win over what setup makes.
fn refuse_missing_variable(root: &Path) -> Result<()> {
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        bail!(
            "LIBTORCH_USE_PYTORCH is set, but python3 has no PyTorch: unset it, or install PyTorch there"
        );
    }
    match std::env::var_os("LIBTORCH") {
        Some(theirs)
            if !theirs.is_empty() && Path::new(&theirs) != root.join(".libtorch/torch") =>
        {
            bail!(
                "LIBTORCH is set to {}, which is not there: unset it, or correct it",
                Path::new(&theirs).display()
            )
        }
        _ => Ok(()),
    }
}

/// Makes `.libtorch/torch` a link to a folder that is there already.
fn link(root: &Path, path: &Path, dry_run: bool) -> Result<()> {
    let path = fs::canonicalize(path).with_context(|| format!("cannot use {}", path.display()))?;
    let folder = [path.clone(), path.join("torch"), path.join("libtorch")];
    let Some(folder) = folder.into_iter().find(|folder| folder.join("lib").is_dir()) else {
        bail!(
            "{} holds no lib/: give a libtorch folder, or a Python's torch folder (python3 -c 'import torch; print(torch.__path__[0])')",
            path.display()
        );
    };
    let found = Libtorch::at(folder, Origin::Tree);
    found.check(root)?;
    let version = found.version.as_deref().unwrap_or("of unknown version");
    eprintln!("libtorch {version}: .libtorch/torch becomes a link to {}.", found.folder.display());
    if dry_run {
        return Ok(());
    }
    let part = Part::new(root)?;
    std::os::unix::fs::symlink(&found.folder, part.folder().join("torch"))?;
    part.commit(root)
}

/// The wheels that make a libtorch, and the room they take while it is made.
fn wanted(version: &str, cuda: bool) -> (Request, u64) {
    let mut packages = vec![format!("torch=={version}")];
    if cuda {
        return (Request { packages, dependencies: true, bytes: 2_900_000_000 }, 12_000_000_000);
    }
    if cfg!(target_os = "macos") {
        return (Request { packages, dependencies: false, bytes: 90_000_000 }, 1_000_000_000);
    }
    // libtorch_cpu.so asks for two small files of theirs when it is loaded.
    packages.extend([
        "nvidia-cuda-runtime==13.0.96".to_owned(),
        "nvidia-cuda-cupti==13.0.85".to_owned(),
    ]);
    (Request { packages, dependencies: false, bytes: 540_000_000 }, 2_500_000_000)
}

fn download(root: &Path, cuda: bool, dry_run: bool) -> Result<()> {
    check_platform(cuda)?;
    let version = libtorch::expected_version(root);
    if version != "2.13.0" {
        bail!(
            "this tree is locked to the `tch` for libtorch {version}, which setup does not download: use --from PATH"
        );
    }
    let Some(pip) = Pip::find() else { bail!("{}. Type: {}", pip::MISSING, pip::REMEDY) };
    let (request, room) = wanted(version, cuda);
    let kind = if cuda { "CUDA" } else { "CPU" };
    eprintln!("Getting libtorch {version} ({kind}) with pip: about {}.", size(request.bytes));
    if dry_run {
        eprintln!("  {}", process::shown(&pip.download(&request, Path::new("WHEELS"))));
        eprintln!(
            "  then unpacking its libraries, headers and licences into .libtorch/; nothing was done."
        );
        return Ok(());
    }
    check_room(root, room)?;
    let started = Instant::now();
    let part = Part::new(root)?;
    pip::fetch(&pip, &request, &part.0)?;
    eprintln!("  downloaded in {:.0} s; unpacking", started.elapsed().as_secs_f64());
    let bytes = unpack_wheels(&part.0.join("wheels"), &part.folder(), cuda)?;
    Libtorch::at(part.folder().join("torch"), Origin::Tree)
        .check(root)
        .context("the wheel is not as expected")?;
    part.commit(root)?;
    eprintln!(
        "libtorch {version} is in .libtorch/ ({}, {:.0} s).",
        size(bytes),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn check_platform(cuda: bool) -> Result<()> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok(()),
        ("macos", "aarch64") if !cuda => {
            eprintln!("macOS on Apple silicon: meant to work, but untested.");
            Ok(())
        }
        ("macos", "aarch64") => bail!("there is no CUDA on macOS: type `cargo xtask setup`"),
        (os, arch) => bail!(
            "setup knows libtorch for Linux on x86-64 and for macOS on Apple silicon, not for {os} on {arch}: \
             if you have one, type `cargo xtask setup --from PATH`"
        ),
    }
}

fn check_room(root: &Path, needed: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(root)?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < needed {
        bail!(
            "the disk has {} free; making libtorch takes about {} (most of it for a moment only)",
            size(free),
            size(needed)
        );
    }
    Ok(())
}

/// Unpacks what a build and a run need of every wheel in a folder; gives the bytes written.
pub fn unpack_wheels(wheels: &Path, into: &Path, cuda: bool) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(wheels)? {
        let wheel = entry?.path();
        bytes += unpack(&wheel, into, &|name| is_wanted(name, cuda))?;
        // Their room is needed for what comes out of the next one.
        fs::remove_file(&wheel)?;
    }
    Ok(bytes)
}

/// Whether a member of a wheel is kept.
fn is_wanted(name: &str, cuda: bool) -> bool {
    const CPU: [&str; 4] = ["libtorch_cpu", "libtorch", "libc10", "libgomp"];
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.split_once('.').map_or(file, |parts| parts.0);
    if let Some((package, rest)) = name.split_once(".dist-info/") {
        let licence = rest.to_ascii_lowercase();
        let ours = package.starts_with("torch-") || package.starts_with("nvidia");
        return ours && (licence.starts_with("license") || licence.starts_with("notice"));
    }
    if name == "torch/version.py" || name.starts_with("torch/include/") {
        return true;
    }
    if name.starts_with("torch/lib/") {
        return if cuda {
            !file.contains("python")
        } else {
            CPU.contains(&stem) || stem == "libomp"
        };
    }
    let library = name.starts_with("nvidia/") && name.contains("/lib/");
    library && (cuda || file == "libcudart.so.13" || file == "libcupti.so.13")
}

/// Unpacks the members of a wheel that `wanted` names; gives the bytes written.
fn unpack(wheel: &Path, into: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<u64> {
    let context = || format!("cannot unpack {}", wheel.display());
    let mut archive =
        zip::ZipArchive::new(BufReader::new(File::open(wheel).with_context(context)?))
            .with_context(context)?;
    let mut bytes = 0;
    for index in 0..archive.len() {
        process::check_stop()?;
        let mut member = archive.by_index(index).with_context(context)?;
        if member.is_dir() || !wanted(member.name()) {
            continue;
        }
        // A member that climbs out of the folder is none of ours.
        let Some(path) = member.enclosed_name().map(|name| into.join(name)) else { continue };
        fs::create_dir_all(path.parent().unwrap_or(into))?;
        let mut file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        bytes += std::io::copy(&mut member, &mut file)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(bytes)
}

/// A folder beside `.libtorch` in which it is made, removed again unless it is committed.
struct Part(PathBuf);

const PART: &str = ".libtorch.part-";

impl Part {
    fn new(root: &Path) -> Result<Part> {
        let part = Part(root.join(format!("{PART}{}", std::process::id())));
        fs::create_dir_all(part.folder())
            .with_context(|| format!("cannot write to {}", root.display()))?;
        Ok(part)
    }

    /// What becomes `.libtorch`.
    fn folder(&self) -> PathBuf {
        self.0.join("libtorch")
    }

    fn commit(self, root: &Path) -> Result<()> {
        process::check_stop()?;
        let place = root.join(".libtorch");
        if place.symlink_metadata().is_ok() {
            fs::rename(&place, self.0.join("replaced"))
                .context("cannot move the old .libtorch away")?;
        }
        fs::rename(self.folder(), &place).context("cannot put .libtorch into place")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Removes the parts of setups that were killed.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix(PART).and_then(|id| id.parse().ok()) else { continue };
        let alive = rustix::process::Pid::from_raw(id)
            .is_some_and(|id| rustix::process::test_kill_process(id).is_ok());
        if !alive {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_members_are_kept() {
        let check = |name, cpu, cuda| {
            assert_eq!((is_wanted(name, false), is_wanted(name, true)), (cpu, cuda), "{name}")
        };
        check("torch/version.py", true, true);
        check("torch/include/ATen/ATen.h", true, true);
        check("torch/lib/libtorch_cpu.so", true, true);
        check("torch/lib/libgomp.so.1", true, true);
        check("torch/lib/libtorch_cuda.so", false, true);
        check("torch/lib/libtorch_python.so", false, false);
        check("torch/nn/functional.py", false, false);
        check("nvidia/cu13/lib/libcudart.so.13", true, true);
        check("nvidia/cudnn/lib/libcudnn.so.9", false, true);
        check("nvidia/cu13/include/cuda.h", false, false);
        check("torch-2.13.0.dist-info/licenses/third_party/onnx/LICENSE", true, true);
        check("nvidia_cuda_runtime-13.0.96.dist-info/License.txt", true, true);
        check("sympy-1.14.0.dist-info/licenses/LICENSE", false, false);
        check("torch-2.13.0.dist-info/RECORD", false, false);
    }

    #[test]
    fn a_part_that_is_not_committed_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(format!("{PART}999999999"))).unwrap();
        drop(Part::new(root.path()).unwrap());
        remove_leftovers(root.path());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_committed_part_replaces_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".libtorch")).unwrap();
        fs::write(root.path().join(".libtorch/old"), "").unwrap();
        let part = Part::new(root.path()).unwrap();
        fs::write(part.folder().join("new"), "").unwrap();
        part.commit(root.path()).unwrap();
        assert!(
            root.path().join(".libtorch/new").exists()
                && !root.path().join(".libtorch/old").exists()
        );
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn members_are_unpacked_and_none_climbs_out() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("a.whl");
        let mut writer = zip::ZipWriter::new(File::create(&wheel).unwrap());
        for name in ["torch/version.py", "torch/other.py", "../torch/include/x.h"] {
            writer.start_file(name, zip::write::FileOptions::default()).unwrap();
            std::io::Write::write_all(&mut writer, b"text").unwrap();
        }
        writer.finish().unwrap();
        let into = folder.path().join("into");
        assert_eq!(unpack(&wheel, &into, &|name| !name.contains("other")).unwrap(), 4);
        assert!(into.join("torch/version.py").exists() && !folder.path().join("torch").exists());
    }
}
