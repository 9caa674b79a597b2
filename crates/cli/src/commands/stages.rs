//! The stages before training, each done once and kept in the run folder: text in; documents, tokenizer, token shards out.
//!
//! Every stage writes a key beside what it made, a hash of all it was made from; while the key is the same, it is not
//! made again.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use idiolect_dataset::{DataConfig, Report, Samples, ShardSet, Tokens, find_files};
use idiolect_files::{AtomicFolder, FolderLock, remove_temporaries, write_atomic};
use idiolect_tokenizer::Tokenizer;

use super::data;
use crate::output::{message, usage};
use crate::progress::Progress;
use crate::run_file::{Run, RunFile};
use crate::samples::Side;

/// The file that holds a stage's key.
const KEY: &str = "made-from.txt";

/// The folder of token shards, one of each side below it.
const SHARDS: &str = "shards";

/// Clean documents on disk.
pub struct Prepared {
    /// Their folder.
    pub folder: PathBuf,
    /// What they were made from.
    pub key: String,
    /// What was read, kept and dropped.
    pub report: Report,
}

impl Prepared {
    fn train(&self) -> PathBuf {
        self.folder.join("train.jsonl.zst")
    }

    fn validation(&self) -> PathBuf {
        self.folder.join("validation.jsonl.zst")
    }
}

/// What training and validation read.
pub struct TrainingSamples {
    /// For training.
    pub train: Box<dyn Samples>,
    /// For validation, where the split left some.
    pub validation: Option<Box<dyn Samples>>,
}

/// Keeps other processes off the run folder while a stage writes there, and removes what killed ones left half made.
fn lock(folder: &Path) -> Result<FolderLock> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = FolderLock::acquire(folder).context("cannot work in the run folder")?;
    for folder in [folder, &folder.join(SHARDS)] {
        if folder.is_dir() {
            remove_temporaries(folder)?;
        }
    }
    Ok(lock)
}

/// Refuses to make a stage anew under a run that has trained on what is there: its checkpoints would be left with documents, ids
/// or a vocabulary that they do not know.
fn refuse_under_checkpoints(run: &Path, stage: &Path) -> Result<()> {
    let mut checkpoints = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    if stage.join(KEY).exists() && checkpoints.next().is_some() {
        let what = format!(
            "{} was made from other data or settings, and the run in {} has trained on it: `idiolect train --restart` \
             sets that run aside, --set run=FOLDER leads elsewhere",
            stage.display(),
            run.display()
        );
        return Err(usage(what));
    }
    Ok(())
}

/// Cleans and splits the documents of `[data]`.
pub fn documents(file: &RunFile) -> Result<Prepared> {
    let config = file.data()?;
    let folder = file.folder.join("data");
    let key = data_key(&config)?;
    if made_from(&folder, &key) {
        let report = data::read_report(&folder)?;
        return Ok(Prepared { folder, key, report });
    }
    refuse_under_checkpoints(&file.folder, &folder)?;
    let _lock = lock(&file.folder)?;
    let mut progress = Progress::new("data");
    let report = idiolect_dataset::prepare(&config, &folder, &mut |at| {
        progress.update(at.bytes, Some(at.total_bytes), "bytes");
        ControlFlow::Continue(())
    })
    .context("cannot prepare the data")?;
    finish_stage(&folder, &key)?;
    progress.finish(&format!(
        "{} documents in {}",
        report.train.documents + report.validation.documents,
        folder.display()
    ));
    Ok(Prepared { folder, key, report })
}

/// Trains the tokenizer of `[tokenizer]` on the training documents.
pub fn tokenizer(file: &RunFile, prepared: &Prepared) -> Result<(Tokenizer, PathBuf)> {
    let config = file.tokenizer()?;
    let folder = file.folder.join("tokenizer");
    let key = hash(&[&prepared.key, &serde_json::to_string(config)?]);
    if made_from(&folder, &key) {
        return Ok((Tokenizer::from_folder(&folder)?, folder));
    }
    refuse_under_checkpoints(&file.folder, &folder)?;
    let _lock = lock(&file.folder)?;
    // Now, so that a folder in the way does not cost a training.
    let making = AtomicFolder::replacing_ours(&folder, KEY)?;
    let mut progress = Progress::new("tokenizer");
    let mut broken = None;
    // A document that cannot be read ends the iterator, and then the training.
    let texts =
        idiolect_dataset::documents(&prepared.train())?.map_while(|document| match document {
            Ok(document) => Some(document.text),
            Err(error) => {
                broken = Some(error);
                None
            }
        });
    let tokenizer = idiolect_tokenizer::train(texts, config, &mut |_| progress.update(0, None, ""));
    if let Some(error) = broken {
        return Err(error).context("cannot read the training documents");
    }
    let tokenizer = tokenizer.context("cannot train the tokenizer")?;
    tokenizer.save_folder(making.path())?;
    finish_stage(making.path(), &key)?;
    making.commit()?;
    progress.finish(&format!("{} ids in {}", tokenizer.vocab_size(), folder.display()));
    Ok((tokenizer, folder))
}

/// Turns the documents into token shards, and those into samples of the model's kind.
pub fn samples(run: &Run, prepared: &Prepared, tokenizer: &Tokenizer) -> Result<TrainingSamples> {
    let over = |side: Side, documents: &Path| {
        let shards = shards(run, prepared, tokenizer, side, documents)?;
        run.samples.over(shards, tokenizer, side)
    };
    let train = over(Side::Train, &prepared.train())?;
    let validation = if prepared.report.validation.documents == 0 {
        message("data: no document is held out, so nothing is validated");
        None
    } else {
        Some(over(Side::Validation, &prepared.validation())?)
    };
    Ok(TrainingSamples { train, validation })
}

fn shards(
    run: &Run,
    prepared: &Prepared,
    tokenizer: &Tokenizer,
    side: Side,
    documents: &Path,
) -> Result<ShardSet> {
    let name = if side == Side::Train { "train" } else { "validation" };
    let folder = run.folder.join(SHARDS).join(name);
    let key = hash(&[&prepared.key, &tokenizer.hash()]);
    if made_from(&folder, &key) {
        return ShardSet::open(&folder).with_context(|| {
            format!("cannot read the token shards; without {} they are made anew", folder.display())
        });
    }
    let _lock = lock(&run.folder)?;
    let mut progress = Progress::new("tokens");
    let end_of_document = tokenizer.eos_id().or(tokenizer.sep_id());
    let shards = idiolect_dataset::write_shards(
        idiolect_dataset::documents(documents)?,
        tokenizer,
        end_of_document,
        &folder,
        &mut |at| {
            progress.update(at.tokens, None, "tokens");
            ControlFlow::Continue(())
        },
    )
    .context("cannot write the token shards")?;
    finish_stage(&folder, &key)?;
    progress.finish(&format!("{} in {}", shards.token_count(), folder.display()));
    Ok(shards)
}

fn data_key(config: &DataConfig) -> Result<String> {
    // By what the paths lead to: the run's record names them in another way.
    let settings = DataConfig { paths: Vec::new(), ..config.clone() };
    let mut parts = vec![serde_json::to_string(&settings)?];
    for file in find_files(&config.paths).context(NO_DATA)? {
        let what = || format!("cannot look at {}", file.path.display());
        let path = file.path.canonicalize().with_context(what)?;
        let changed = path.metadata().with_context(what)?.modified().ok();
        parts.push(format!("{} {} {changed:?}", path.display(), file.bytes));
    }
    Ok(hash(&parts.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// How large the data are, as they lie on disk.
pub fn input_bytes(config: &DataConfig) -> Result<u64> {
    Ok(find_files(&config.paths).context(NO_DATA)?.iter().map(|file| file.bytes).sum())
}

const NO_DATA: &str = "cannot find the data";

fn hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn made_from(folder: &Path, key: &str) -> bool {
    std::fs::read_to_string(folder.join(KEY)).is_ok_and(|made_from| made_from == key)
}

/// The key comes last: a stage that was cut short has none, and is made again.
fn finish_stage(folder: &Path, key: &str) -> Result<()> {
    Ok(write_atomic(&folder.join(KEY), key.as_bytes())?)
}
