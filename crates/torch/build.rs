//! Finds the libtorch that `torch-sys` was built with, compiles the C++ of `cpp/` against it, and puts it on the
//! library path of everything cargo runs.
//!
//! When libtorch is missing, `torch-sys` fails first, with compiler errors that name `torch/csrc/...` headers; the cure
//! is `cargo xtask setup`, or a `LIBTORCH` that points at a libtorch of your own.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Which libtorch each `torch-sys` (and so `tch`) is made for.
const PAIRS: [(&str, &str); 3] = [("0.24", "2.11"), ("0.25", "2.12"), ("0.26", "2.13")];

fn main() {
    for name in ["DEP_TCH_LIBTORCH_LIB", "LIBTORCH", "LIBTORCH_CXX11_ABI", "LIBTORCH_INCLUDE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rerun-if-changed=cpp");
    println!("cargo::rerun-if-changed=build.rs");
    // With `doc-only` torch-sys looks for no libtorch: there is nothing to compile against.
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    let lib = match fs::canonicalize(&lib) {
        Ok(lib) => lib,
        Err(_) => stop(&format!("libtorch is not at {}", lib.display())),
    };
    let include = include_folder(&lib);
    check_version(&include);
    let link = link_inside_target(&lib);
    println!("cargo::rustc-link-search=native={}", link.display());
    compile(&include);
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");
}

fn stop(what: &str) -> ! {
    println!(
        "cargo::error={what}; type `cargo xtask setup`, or set LIBTORCH to the folder of a libtorch"
    );
    std::process::exit(1);
}

fn include_folder(lib: &Path) -> PathBuf {
    let root = env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from);
    let root = root.or_else(|| lib.parent().map(Path::to_path_buf)).unwrap_or_default();
    let include = root.join("include");
    if !include.join("ATen/ATen.h").exists() {
        stop(&format!("libtorch's headers are not in {}", include.display()));
    }
    include
}

/// Cargo puts link paths inside `target/` on the library path of what it runs, tests, doctests and binaries of every
/// dependent crate included; libtorch lies outside, so a symlink inside OUT_DIR stands for it.
fn link_inside_target(lib: &Path) -> PathBuf {
    let link =
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("libtorch-lib");
    let _ = fs::remove_file(&link);
    #[cfg(unix)]
    if let Err(error) = std::os::unix::fs::symlink(lib, &link) {
        stop(&format!("cannot make the symlink {}: {error}", link.display()));
    }
    link
}

/// Training's sums are the same on every compiler: no fused multiply-adds but where they are written. Inference promises
/// no bits, and takes them.
fn compile(include: &Path) {
    build(include, "cpp", "off", "idiolect_torch");
    build(include, "cpp/inference", "fast", "idiolect_inference");
}

fn build(include: &Path, folder: &str, contract: &str, library: &str) {
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cpp"));
    files.sort();
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        .opt_level(3)
        .debug(false)
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .includes([include.to_path_buf(), include.join("torch/csrc/api/include")])
        .flag(format!("-ffp-contract={contract}"))
        .flag("-fno-math-errno")
        .flag_if_supported("-Wno-psabi")
        .flag_if_supported("-fopenmp")
        .files(files)
        .compile(library);
}

/// A wheel has no `build-version` file, so `torch-sys` checks nothing: `version.py` or `build-version` is read here.
fn check_version(include: &Path) {
    let Some(root) = include.parent() else { return };
    let version_of = |text: String| {
        let line = text.lines().find(|line| line.starts_with("__version__"))?.to_owned();
        Some(line.split('\'').nth(1)?.to_owned())
    };
    for name in ["version.py", "build-version"] {
        let path = root.join(name);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let found = fs::read_to_string(root.join("version.py"))
        .ok()
        .and_then(version_of)
        .or_else(|| fs::read_to_string(root.join("build-version")).ok());
    let Some(found) = found.map(|text| text.trim().to_owned()) else { return };
    println!("cargo::rustc-env=IDIOLECT_LIBTORCH_VERSION={found}");
    let known = PAIRS.iter().any(|(_, libtorch)| found.starts_with(&format!("{libtorch}.")));
    let torch_sys = locked_torch_sys();
    let wanted = torch_sys.as_deref().and_then(|version| {
        PAIRS.iter().find(|(tch, _)| version.starts_with(&format!("{tch}."))).copied()
    });
    match wanted {
        Some((tch, libtorch)) if !found.starts_with(&format!("{libtorch}.")) => println!(
            "cargo::warning=libtorch {found} was found, tch {tch} is made for {libtorch}: type `cargo xtask setup`, \
             or `cargo update -p tch --precise X` with the tch that pairs ({PAIRS:?})"
        ),
        None if !known => {
            println!("cargo::warning=libtorch {found} pairs with no tch known here ({PAIRS:?})")
        }
        _ => {}
    }
}

/// The version of torch-sys in the nearest Cargo.lock above the crate or the build folder.
fn locked_torch_sys() -> Option<String> {
    let starts = [env::var_os("CARGO_MANIFEST_DIR")?, env::var_os("OUT_DIR")?].map(PathBuf::from);
    let lock =
        starts.iter().flat_map(|start| start.ancestors()).map(|folder| folder.join("Cargo.lock"));
    let text = fs::read_to_string(lock.into_iter().find(|path| path.exists())?).ok()?;
    let entry = text.split("[[package]]").find(|entry| entry.contains("name = \"torch-sys\""))?;
    Some(entry.split("version = \"").nth(1)?.split('"').next()?.to_owned())
}
