//! `run`: a recipe's name in, its steps run to the end out: a recipe is nothing but calls of `idiolect`.
//!
//! `recipe.toml` says what it is `about` and lists its `steps`. In a step, the name of a file of the recipe's folder becomes
//! that file's path, `{run}` the folder for what comes out (`runs/NAME`), `{data}` what `--data` gives, `{model}` what `--model` does.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::libtorch::{self, Libtorch};
use crate::map::Metadata;
use crate::{process, setup};

/// What `run` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The recipe, a folder under recipes/; without it, the recipes are listed
    recipe: Option<String>,
    /// Data of your own, for a recipe that asks for it
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// A model of your own to begin with, for a recipe that asks for it
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Start over instead of going on from where the last run stopped
    #[arg(long)]
    fresh: bool,
    /// Where to compute: cpu, cuda, cuda:N or mps
    #[arg(long)]
    device: Option<String>,
    /// After `--`: options for every step that reads a run file, such as `--set trainer.steps=50`
    #[arg(last = true, value_name = "OPTIONS")]
    rest: Vec<String>,
}

/// `recipe.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    about: String,
    steps: Vec<Vec<String>>,
}

/// The commands whose result stays; the others print something, and do so every time.
const LASTING: [&str; 3] = ["data", "tokenizer", "train"];

/// The commands that take a device.
const ON_DEVICE: [&str; 7] =
    ["train", "evaluate", "generate", "fill-mask", "embed", "predict", "chat"];

/// Runs a recipe, or lists them.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let Some(name) = &arguments.recipe else { return list(root) };
    let recipe = load(root, name)?;
    let run = Path::new("runs").join(name);
    let steps = steps(root, name, &recipe, arguments)?;
    eprintln!("{name}: {}", recipe.about);
    let found = setup::ensure(root)?;
    let program = build(root)?;
    if arguments.fresh && root.join(&run).exists() {
        eprintln!("--fresh: {} is removed", run.display());
        fs::remove_dir_all(root.join(&run))?;
    }
    let started = Instant::now();
    let mut done = Done::load(root, name, &run, arguments.data.as_deref())?;
    for (index, step) in steps.iter().enumerate() {
        let place = format!("[{}/{}]", index + 1, steps.len());
        run_step(root, &place, &program, &found, step, &mut done)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "\n{name} is finished ({seconds:.1} s); everything is in {}. `--fresh` starts over.",
        run.display()
    );
    Ok(())
}

fn list(root: &Path) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(root.join("recipes"))
        .context("cannot read recipes/")?
        .flatten()
        .filter(|entry| entry.path().join("recipe.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    println!("Recipes (cargo xtask run NAME):");
    for name in &names {
        println!("  {name:20} {}", load(root, name)?.about);
    }
    Ok(())
}

fn load(root: &Path, name: &str) -> Result<Recipe> {
    let file = Path::new("recipes").join(name).join("recipe.toml");
    let plain = !name.is_empty() && !name.contains(['/', '.']);
    if !plain || !root.join(&file).exists() {
        bail!("there is no recipe {name}; `cargo xtask run` lists them");
    }
    let text = fs::read_to_string(root.join(&file))
        .with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not a recipe", file.display()))
}

/// The steps with this run's paths and options in them.
fn steps(
    root: &Path,
    name: &str,
    recipe: &Recipe,
    arguments: &Arguments,
) -> Result<Vec<Vec<String>>> {
    let takes = |mark| recipe.steps.iter().flatten().any(|word| word.contains(mark));
    if arguments.data.is_some() && !takes("{data}") {
        bail!("recipe {name} brings its data along and takes no --data");
    }
    if arguments.model.is_some() && !takes("{model}") {
        bail!("recipe {name} makes its model anew and takes no --model");
    }
    recipe.steps.iter().map(|step| expand(root, name, step, arguments)).collect()
}

/// The words of a step as `idiolect` gets them.
fn expand(root: &Path, name: &str, step: &[String], arguments: &Arguments) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for word in step {
        let word = word.replace("{run}", &format!("runs/{name}"));
        let own = format!("recipes/{name}/{word}");
        if !word.is_empty() && root.join(&own).is_file() {
            words.push(own);
            continue;
        }
        let word = given(word, "{data}", arguments.data.as_deref())
            .with_context(|| format!("recipe {name} needs data of yours: --data PATH"))?;
        let word = given(word?, "{model}", arguments.model.as_deref())
            .with_context(|| format!("recipe {name} needs a model of yours: --model DIR"))?;
        words.push(word?);
    }
    let command = step.first().map_or("", String::as_str);
    if let Some(device) = &arguments.device
        && ON_DEVICE.contains(&command)
    {
        words.extend(["--device".to_owned(), device.clone()]);
    }
    if step.iter().any(|word| word.ends_with(".toml")) {
        words.extend(arguments.rest.iter().cloned());
    }
    Ok(words)
}

/// A word with a path of the user's where it has the mark; `None` where it needs one and none was given.
fn given(word: String, mark: &str, path: Option<&Path>) -> Option<Result<String>> {
    match path {
        _ if !word.contains(mark) => Some(Ok(word)),
        None => None,
        Some(path) => Some(absolute(path).map(|path| word.replace(mark, &path))),
    }
}

/// A path the user typed, which is relative to where they stand.
fn absolute(path: &Path) -> Result<String> {
    let path = fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}

/// The release build of `idiolect`.
fn build(root: &Path) -> Result<PathBuf> {
    eprintln!("Building idiolect (release)");
    process::run(process::cargo(root).args(["build", "--release", "--package", "idiolect"]))?;
    let program = Metadata::of(root)?.target_directory.join("release/idiolect");
    Ok(program.strip_prefix(root).map(Path::to_owned).unwrap_or(program))
}

fn run_step(
    root: &Path,
    place: &str,
    program: &Path,
    found: &Libtorch,
    step: &[String],
    done: &mut Done,
) -> Result<()> {
    let mut command = Command::new(root.join(program));
    command.current_dir(root).args(step);
    libtorch::on_library_path(&mut command, found);
    let shown = process::shown(Command::new(program).args(step));
    if done.has(step) {
        eprintln!("\n{place} done before: {shown}");
        return Ok(());
    }
    eprintln!("\n{place} {shown}");
    let started = Instant::now();
    process::run(&mut command)?;
    eprintln!("{place} took {:.1} s", started.elapsed().as_secs_f64());
    done.add(step)
}

/// Which lasting steps are done, kept in the run's folder: a line each, with what the recipe's files were.
struct Done {
    file: PathBuf,
    /// Changes when a file of the recipe or of the user's data does; then no step counts as done.
    fingerprint: u64,
    lines: Vec<String>,
}

impl Done {
    fn load(root: &Path, name: &str, run: &Path, data: Option<&Path>) -> Result<Done> {
        let file = root.join(run).join("steps-done.txt");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        hash_files(&root.join("recipes").join(name), &mut hasher)?;
        data.map(|data| hash_files(data, &mut hasher)).transpose()?;
        let fingerprint = hasher.finish();
        Ok(Done { file, fingerprint, lines: text.lines().map(str::to_owned).collect() })
    }

    fn line(&self, step: &[String]) -> String {
        format!("{:016x} {}", self.fingerprint, step.join(" ").replace('\n', " "))
    }

    fn has(&self, step: &[String]) -> bool {
        self.lines.contains(&self.line(step))
    }

    fn add(&mut self, step: &[String]) -> Result<()> {
        if !step.first().is_some_and(|command| LASTING.contains(&command.as_str())) {
            return Ok(());
        }
        // What the same command made of the same file before, this one has replaced.
        let words = step.join(" ");
        let begins = |words: &str| words.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        let same = |line: &String| {
            line.split_once(' ')
                .is_some_and(|(_, words_before)| begins(words_before) == begins(&words))
        };
        self.lines.retain(|line| !same(line));
        self.lines.push(self.line(step));
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new(".")))?;
        let part = self.file.with_extension("part");
        fs::write(&part, self.lines.join("\n") + "\n")?;
        fs::rename(&part, &self.file)
            .with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// Feeds the names, sizes and times of the files under a path to a hasher, without what is only read by people.
fn hash_files(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    if path.extension().is_some_and(|extension| extension == "md") {
        return Ok(());
    }
    let data = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if data.is_file() {
        (path.file_name(), data.len(), data.modified()?).hash(hasher);
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries.iter().try_for_each(|entry| hash_files(entry, hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(root: &Path) {
        fs::create_dir_all(root.join("recipes/tiny")).unwrap();
        fs::write(root.join("recipes/tiny/run.toml"), "").unwrap();
        let text = "about = \"A tiny one\"\nsteps = [[\"train\", \"run.toml\"], [\"generate\", \"--model\", \"{run}/model\"]]";
        fs::write(root.join("recipes/tiny/recipe.toml"), text).unwrap();
    }

    fn check(step: &[&str], device: Option<&str>, expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        recipe(root.path());
        let arguments = Arguments {
            recipe: None,
            data: None,
            model: None,
            fresh: false,
            device: device.map(str::to_owned),
            rest: vec!["--set".into(), "trainer.steps=2".into()],
        };
        let step: Vec<String> = step.iter().map(|word| word.to_string()).collect();
        assert_eq!(expand(root.path(), "tiny", &step, &arguments).unwrap(), expected);
    }

    #[test]
    fn steps_are_expanded() {
        check(
            &["train", "run.toml"],
            None,
            &["train", "recipes/tiny/run.toml", "--set", "trainer.steps=2"],
        );
        let model = ["generate", "--model", "{run}/model"];
        check(
            &model,
            Some("cuda"),
            &["generate", "--model", "runs/tiny/model", "--device", "cuda"],
        );
        check(&["data", "report", ""], Some("cuda"), &["data", "report", ""]);
    }

    #[test]
    fn recipes_are_found_by_name_only() {
        let root = tempfile::tempdir().unwrap();
        recipe(root.path());
        assert_eq!(load(root.path(), "tiny").unwrap().steps.len(), 2);
        for name in ["gone", "../recipes/tiny", ""] {
            assert!(load(root.path(), name).is_err());
        }
    }

    #[test]
    fn lasting_steps_are_done_until_the_recipe_changes() {
        let root = tempfile::tempdir().unwrap();
        recipe(root.path());
        let load = || Done::load(root.path(), "tiny", Path::new("runs/tiny"), None).unwrap();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (train, generate) = (words("train run.toml"), words("generate --model x"));
        let mut done = load();
        done.add(&train).unwrap();
        done.add(&generate).unwrap();
        assert!(load().has(&train) && !load().has(&generate));
        let other = words("train run.toml --set trainer.steps=2");
        let mut done = load();
        done.add(&other).unwrap();
        assert!(load().has(&other) && !load().has(&train), "one has replaced the other");
        fs::write(root.path().join("recipes/tiny/run.toml"), "steps = 3").unwrap();
        assert!(!load().has(&other));
    }
}
