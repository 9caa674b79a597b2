//! `bench`: a name in, a measured table out: Criterion for the parts, alternating runs against a peer for the comparisons.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::compare::{Better, Comparison, Metric, Side, compare};
use crate::map::Metadata;
use crate::{libtorch, peers, process, setup};

/// What `bench` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// A comparison, `parts`, or one Criterion target; without it, they are listed
    name: Option<String>,
    /// Only this case, such as `gpt2-bf16` of train-step or `int4` of decode (may be repeated)
    #[arg(long)]
    case: Vec<String>,
    /// Alternating rounds (9 for train-step, encode, decode, prefill and embed, 3 for shakespeare and finetune)
    #[arg(long)]
    rounds: Option<usize>,
    /// Text for `encode`: a file, or a folder whose texts are gathered (such as /usr/share/doc); for `decode` and
    /// `prefill` SmolLM2-135M-Instruct as a GGUF file of Q4_1; for `embed` and `finetune` a folder with sst2_train.tsv and sst2_dev.tsv
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The base for `finetune`, the model for `embed`: a BERT as Transformers writes it
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// The comparisons with peers, and what each is.
const COMPARISONS: [(&str, &str); 7] = [
    ("train-step", "a training step against PyTorch, eager and compiled: time and memory"),
    ("shakespeare", "time to the loss that a plain PyTorch loop reaches on tinyshakespeare"),
    ("encode", "encoding 20 MB of text against bare tokenizers and tiktoken"),
    ("decode", "tokens a second of a GGUF model against llama.cpp and Transformers"),
    ("embed", "1,000 sentences through a BERT against ONNX Runtime and Transformers"),
    ("finetune", "recipe sentiment against Transformers: seconds of training, and accuracy"),
    ("prefill", "512 tokens of a prompt against llama.cpp and PyTorch in bf16"),
];

const PYTORCH: [&str; 3] = ["torch==2.13.0", "numpy", "zstandard"];
const MODELS: [&str; 9] = [
    "torch==2.13.0",
    "onnx",
    "onnxruntime",
    "transformers==5.24.0",
    "llama-cpp-python==0.3.36",
    "gguf",
    "accelerate",
    "sentencepiece",
    "protobuf",
];
const TIKTOKEN: [&str; 3] = ["tiktoken", "numpy", "regex"];

/// Runs a bench, or lists them.
pub fn bench(root: &Path, arguments: &Arguments) -> Result<()> {
    let Some(name) = arguments.name.as_deref() else { return list(root) };
    let is_comparison = COMPARISONS.iter().any(|known| known.0 == name);
    if !is_comparison
        && (!arguments.case.is_empty() || arguments.rounds.is_some() || arguments.data.is_some())
    {
        bail!("--case, --rounds and --data belong to the comparisons, not to {name}");
    }
    if arguments.model.is_some() && !["embed", "finetune"].contains(&name) {
        bail!("--model belongs to embed and finetune, not to {name}");
    }
    let known = name == "parts" || is_comparison || targets(root).contains(&name.to_owned());
    if !known {
        bail!("there is no bench {name}; `cargo xtask bench` lists them");
    }
    let found = setup::ensure(root)?;
    let comparisons = match name {
        "train-step" => train_step(root, arguments)?,
        "shakespeare" => shakespeare(root, arguments)?,
        "encode" => encode(root, arguments)?,
        "decode" | "prefill" => generation(root, name, arguments)?,
        "embed" => embed(root, arguments)?,
        "finetune" => finetune(root, arguments)?,
        "parts" => return criterion(root, None),
        target => return criterion(root, Some(target)),
    };
    let log = process::made(&Metadata::of(root)?.target_directory.join("compare"))?
        .join(format!("{name}.jsonl"));
    fs::remove_file(&log).ok();
    let prepare = |command: &mut Command| {
        // A peer has a libtorch of its own.
        if !Path::new(command.get_program()).starts_with(peers::folder(root)) {
            libtorch::on_library_path(command, &found);
        }
        peers::contain(root, command)
    };
    for comparison in &comparisons {
        compare(comparison, &log, &prepare)?;
    }
    eprintln!("\nEvery run is in {}", log.display());
    Ok(())
}

fn list(root: &Path) -> Result<()> {
    println!("Comparisons (cargo xtask bench NAME):");
    for (name, about) in COMPARISONS {
        println!("  {name:12} {about}");
    }
    println!("Criterion targets (`parts` runs all of them):");
    for name in targets(root) {
        println!("  {name}");
    }
    Ok(())
}

/// The Criterion targets of the benches package.
fn targets(root: &Path) -> Vec<String> {
    let files = fs::read_dir(root.join("benches/benches")).into_iter().flatten().flatten();
    let names =
        files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn criterion(root: &Path, target: Option<&str>) -> Result<()> {
    let mut command = process::cargo(root);
    command.args(["bench", "--package", "idiolect-benches"]);
    match target {
        Some(target) => command.args(["--bench", target]),
        None => command.arg("--benches"),
    };
    process::run(&mut command)
}

/// Builds our side of a comparison and gives its program.
fn ours(root: &Path, name: &str) -> Result<String> {
    let program = format!("bench-{name}");
    let mut command = process::cargo(root);
    process::run(command.args([
        "build",
        "--release",
        "--package",
        "idiolect-benches",
        "--bin",
        &program,
    ]))?;
    let built = Metadata::of(root)?.target_directory.join("release").join(program);
    Ok(built.to_string_lossy().into_owned())
}

fn script(root: &Path, name: &str) -> String {
    root.join("benches/peers").join(name).to_string_lossy().into_owned()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

const fn lower(key: &'static str) -> Metric {
    Metric { key, better: Better::Lower }
}

const fn higher(key: &'static str) -> Metric {
    Metric { key, better: Better::Higher }
}

/// Three shapes in f32, then in bf16, each against eager and compiled PyTorch.
fn train_step(root: &Path, arguments: &Arguments) -> Result<Vec<Comparison>> {
    let cases = ["tiny", "small", "gpt2", "tiny-bf16", "small-bf16", "gpt2-bf16"];
    let cases = chosen(&cases, &arguments.case)?;
    let ours = ours(root, "train-step")?;
    let python = peers::python(root, "pytorch", &PYTORCH)?.to_string_lossy().into_owned();
    let script = script(root, "train_step.py");
    let comparison = |case: &&str| {
        let (shape, dtype) = case.split_once('-').unwrap_or((case, "f32"));
        let peer = |name, mode: &str| Side {
            name,
            program: python.clone(),
            arguments: [vec![script.clone()], words(&format!("{shape} {mode} {dtype}"))].concat(),
        };
        Comparison {
            name: format!("train-step {case}"),
            sides: vec![
                Side {
                    name: "ours",
                    program: ours.clone(),
                    arguments: words(&format!("{shape} {dtype}")),
                },
                peer("pytorch eager", "eager"),
                peer("pytorch compile", "compile"),
            ],
            metrics: vec![lower("ms_per_step"), lower("peak_mib")],
            rounds: arguments.rounds.unwrap_or(9),
        }
    };
    Ok(cases.iter().map(comparison).collect())
}

/// A seed a round, each against a run of the peer.
fn shakespeare(root: &Path, arguments: &Arguments) -> Result<Vec<Comparison>> {
    chosen(&[], &arguments.case)?;
    let ours = ours(root, "shakespeare")?;
    let python = peers::python(root, "pytorch", &PYTORCH)?;
    let text = peers::folder(root).join("tinyshakespeare.txt");
    let packed = root.join("recipes/shakespeare/data/tinyshakespeare.txt.zst");
    unpack(root, &python, &packed, &text)?;
    let text = text.to_string_lossy().into_owned();
    let peer = vec![script(root, "shakespeare.py"), text.clone()];
    let seeded = vec!["--data".to_owned(), text, "--seed".to_owned(), "{round}".to_owned()];
    Ok(vec![Comparison {
        name: "shakespeare".to_owned(),
        sides: vec![
            Side { name: "ours", program: ours, arguments: seeded },
            Side {
                name: "pytorch",
                program: python.to_string_lossy().into_owned(),
                arguments: peer,
            },
        ],
        metrics: vec![lower("train_s"), lower("held_out_nats")],
        rounds: arguments.rounds.unwrap_or(3),
    }])
}

/// Ours, the library below it without our layer, and tiktoken, with one vocabulary.
fn encode(root: &Path, arguments: &Arguments) -> Result<Vec<Comparison>> {
    chosen(&[], &arguments.case)?;
    let Some(data) = &arguments.data else {
        bail!(
            "encode needs text: --data FILE, or --data FOLDER such as /usr/share/doc, whose texts are gathered"
        );
    };
    let data = fs::canonicalize(data).with_context(|| format!("cannot read {}", data.display()))?;
    let ours = ours(root, "encode")?;
    let python = peers::python(root, "tiktoken", &TIKTOKEN)?.to_string_lossy().into_owned();
    let text = peers::folder(root).join("encode.txt");
    let mut gather = Command::new(&python);
    gather.arg(script(root, "gather_text.py")).arg(&data).arg(&text).arg("20000000");
    peers::contain(root, &mut gather)?;
    process::run(&mut gather)?;
    let text = text.to_string_lossy().into_owned();
    let tokenizer =
        peers::folder(root).join("encode-tokenizer.json").to_string_lossy().into_owned();
    process::run(Command::new(&ours).args(["train", &text, &tokenizer]))?;
    let side = |name, way: &str| Side {
        name,
        program: ours.clone(),
        arguments: vec![way.to_owned(), text.clone(), tokenizer.clone()],
    };
    let peer = vec![script(root, "encode.py"), text.clone(), tokenizer.clone()];
    Ok(vec![Comparison {
        name: "encode".to_owned(),
        sides: vec![
            side("ours", "ours"),
            side("bare tokenizers", "bare"),
            Side { name: "tiktoken", program: python, arguments: peer },
        ],
        metrics: vec![
            higher("cold_mb_per_s"),
            higher("warm_mb_per_s"),
            Metric { key: "ids_sum", better: Better::Equal },
        ],
        rounds: arguments.rounds.unwrap_or(9),
    }])
}

/// A model of a GGUF file at several formats, each against who runs it best elsewhere; the first token's time and the
/// memory are ours alone.
fn generation(root: &Path, name: &str, arguments: &Arguments) -> Result<Vec<Comparison>> {
    let cases: &[&str] = match name {
        "decode" => &["int4", "int8", "f32", "bf16", "batch8"],
        _ => &["llama.cpp", "pytorch-bf16"],
    };
    let cases = chosen(cases, &arguments.case)?;
    let Some(data) = &arguments.data else {
        bail!("{name} needs a model: --data FILE.gguf");
    };
    let gguf = fs::canonicalize(data).with_context(|| format!("cannot read {}", data.display()))?;
    let ours = ours(root, "decode")?;
    let python = peers::python(root, "models", &MODELS)?.to_string_lossy().into_owned();
    let made = peers::folder(root).join("decode");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let script = script(root, "decode.py");
    let mut prepare = Command::new(&python);
    prepare.arg(&script).arg("prepare").arg(&gguf).arg(process::made(&made)?);
    peers::contain(root, &mut prepare)?;
    process::run(&mut prepare)?;
    let (plain, eight) = (text(&made.join("f32")), text(&made.join("q8_0.gguf")));
    let us = |model: &str, format: &str, batch: &str| Side {
        name: "ours",
        program: ours.clone(),
        arguments: words(&format!("{model} {format} {batch}")),
    };
    let peer = |name, arguments: String| Side {
        name,
        program: python.clone(),
        arguments: [vec![script.clone()], words(&arguments)].concat(),
    };
    let gguf = text(&gguf);
    let sides = |case: &str| match case {
        "int4" | "llama.cpp" => {
            vec![us(&gguf, "int4", "1"), peer("llama.cpp Q4_1", format!("llama {gguf}"))]
        }
        "int8" => vec![us(&eight, "int8", "1"), peer("llama.cpp Q8_0", format!("llama {eight}"))],
        "batch8" => {
            let one = Side { name: "ours, batch 1", ..us(&gguf, "int4", "1") };
            vec![us(&gguf, "int4", "8"), one]
        }
        case => {
            let dtype = case.trim_start_matches("pytorch-");
            let arguments = format!("transformers {plain} {dtype}");
            vec![us(&plain, dtype, "1"), peer("transformers", arguments)]
        }
    };
    let key = if name == "decode" { "decode_tokens_per_s" } else { "prefill_tokens_per_s" };
    let comparison = |case: &&str| Comparison {
        name: format!("{name} {case}"),
        sides: sides(case),
        metrics: vec![higher(key)],
        rounds: arguments.rounds.unwrap_or(9),
    };
    Ok(cases.iter().map(comparison).collect())
}

/// An encoder in f32 and bf16 against whoever runs it elsewhere, in f32.
fn embed(root: &Path, arguments: &Arguments) -> Result<Vec<Comparison>> {
    let cases = chosen(&["f32", "bf16"], &arguments.case)?;
    let (Some(data), Some(model)) = (&arguments.data, &arguments.model) else {
        bail!("embed needs sentences and a model: --data DIR --model DIR");
    };
    let real = |path: &Path| {
        fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (rows, model) = (real(&data.join("sst2_train.tsv"))?, real(model)?);
    let ours = ours(root, "embed")?;
    let python = peers::python(root, "models", &MODELS)?;
    let made = process::made(&peers::folder(root).join("embed"))?.to_owned();
    let script = script(root, "embed.py");
    let mut prepare = Command::new(&python);
    prepare.args([script.as_ref(), Path::new("prepare"), &model, &rows, &made]);
    peers::contain(root, &mut prepare)?;
    process::run(&mut prepare)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let peer = |name: &'static str| Side {
        name,
        program: text(&python),
        arguments: vec![script.clone(), name.to_owned(), text(&model), text(&made)],
    };
    let comparison = |case: &&str| Comparison {
        name: format!("embed {case}"),
        sides: vec![
            Side {
                name: "ours",
                program: ours.clone(),
                arguments: vec![
                    text(&model),
                    (*case).to_owned(),
                    text(&made.join("sentences.txt")),
                ],
            },
            peer("onnx"),
            peer("transformers"),
        ],
        metrics: vec![higher("sentences_per_s")],
        rounds: arguments.rounds.unwrap_or(9),
    };
    Ok(cases.iter().map(comparison).collect())
}

/// The recipe itself against a plain loop with Transformers, a seed a round on both sides.
fn finetune(root: &Path, arguments: &Arguments) -> Result<Vec<Comparison>> {
    chosen(&[], &arguments.case)?;
    let (Some(data), Some(model)) = (&arguments.data, &arguments.model) else {
        bail!("finetune needs rows and a base: --data DIR --model DIR");
    };
    let text = |path: &Path| -> Result<String> {
        let path =
            fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (data, model) = (text(data)?, text(model)?);
    process::run(process::cargo(root).args(["build", "--release", "--package", "idiolect"]))?;
    let program = Metadata::of(root)?.target_directory.join("release/idiolect");
    let run = root.join("recipes/sentiment/run.toml").to_string_lossy().into_owned();
    let folder = peers::folder(root).join("finetune").to_string_lossy().into_owned();
    let mut ours = vec!["train".to_owned(), run];
    ours.extend(words("--json --restart --seed {round}"));
    for change in [
        format!("run={folder}"),
        format!("model.from={model}"),
        format!("data.train={data}/sst2_train.tsv"),
        format!("data.validation={data}/sst2_dev.tsv"),
    ] {
        ours.extend(["--set".to_owned(), change]);
    }
    let python = peers::python(root, "models", &MODELS)?;
    let peer = vec![script(root, "finetune.py"), model, data, "{round}".to_owned()];
    Ok(vec![Comparison {
        name: "finetune".to_owned(),
        sides: vec![
            Side { name: "ours", program: program.to_string_lossy().into_owned(), arguments: ours },
            Side {
                name: "transformers",
                program: python.to_string_lossy().into_owned(),
                arguments: peer,
            },
        ],
        metrics: vec![lower("seconds"), higher("accuracy.value")],
        rounds: arguments.rounds.unwrap_or(3),
    }])
}

/// The cases asked for, or all.
fn chosen<'a>(cases: &[&'a str], asked: &[String]) -> Result<Vec<&'a str>> {
    if let Some(unknown) = asked.iter().find(|case| !cases.contains(&case.as_str())) {
        bail!("there is no case {unknown}; there are: {}", cases.join(", "));
    }
    let wanted = |case: &&&str| asked.is_empty() || asked.iter().any(|name| name == **case);
    Ok(cases.iter().filter(wanted).copied().collect())
}

/// Unpacks a .zst file with the peer's Python, so that both sides read the same plain text.
fn unpack(root: &Path, python: &Path, packed: &Path, into: &Path) -> Result<()> {
    const SCRIPT: &str = "import sys, zstandard; zstandard.ZstdDecompressor().copy_stream(open(sys.argv[1], 'rb'), open(sys.argv[2], 'wb'))";
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).arg(packed).arg(into);
    peers::contain(root, &mut command)?;
    process::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_by_name() {
        let asked = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(chosen(&["a", "b"], &[]).unwrap(), ["a", "b"]);
        assert_eq!(chosen(&["a", "b"], &asked(&["b"])).unwrap(), ["b"]);
        assert!(chosen(&["a"], &asked(&["c"])).unwrap_err().to_string().contains("there are: a"));
    }
}
