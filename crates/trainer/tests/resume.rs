//! Stopped and gone on with equals never stopped, to the bit; what is broken or belongs to another run is told.

mod common;

use common::*;
use idiolect_model::ModelConfig;
use idiolect_trainer::{BestBy, Dtype, Error, Event, Outcome, RunContext, Spike, TrainerConfig};
use std::path::Path;

fn finished(model: &ModelConfig, config: &TrainerConfig) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    run(model, config, folder.path(), &mut ()).unwrap();
    folder
}

// A step asks twice (two micro-batches, three where an epoch ends), so that these stop within steps as well as between them.
fn check(model: &ModelConfig, config: &TrainerConfig) {
    let expected = finished(model, config);
    for stop_at in [1, 6, 7, 9, 17] {
        let folder = tempfile::tempdir().unwrap();
        let mut caller = Caller::stopping_at(stop_at);
        let (_, outcome) = run(model, config, folder.path(), &mut caller).unwrap();
        assert!(matches!(outcome, Outcome::Stopped { .. }), "{outcome:?}");
        let mut caller = Caller::stopping_at(4);
        run(model, config, folder.path(), &mut caller).unwrap();
        let mut caller = Caller::default();
        run(model, config, folder.path(), &mut caller).unwrap();
        assert_eq!(caller.warnings(), Vec::<&str>::new());
        assert_same(expected.path(), folder.path());
    }
}

#[test]
fn adamw_f32() {
    check(&gpt_config(0.1), &config(10));
}

#[test]
fn adamw_bf16() {
    check(&gpt_config(0.1), &TrainerConfig { dtype: Dtype::Bf16, ..config(10) });
}

#[test]
fn muon_f32() {
    check(&gpt_config(0.1), &TrainerConfig { optimizer: muon(), ..config(10) });
}

#[test]
fn bert_f32() {
    check(&bert_config(0.1), &config(10));
}

#[test]
fn a_finished_run_stays_as_it_is() {
    let folder = finished(&gpt_config(0.1), &config(5));
    std::fs::write(folder.path().join("model/mine.txt"), "by hand").unwrap();
    let files =
        ["metrics.jsonl", "report.md", "run.toml", "model/README.md", "model/model.safetensors"];
    let read = || files.map(|name| std::fs::read(folder.path().join(name)).unwrap());
    let before = read();
    let (_, outcome) = run(&gpt_config(0.1), &config(5), folder.path(), &mut ()).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    assert!(before == read() && folder.path().join("model/mine.txt").exists());
}

// Breaks the newest of two checkpoints in a way, and goes on.
fn check_falls_back(break_it: fn(&Path)) {
    let config = config(10);
    let expected = finished(&gpt_config(0.1), &config);
    let folder = tempfile::tempdir().unwrap();
    run(&gpt_config(0.1), &config, folder.path(), &mut Caller::stopping_at(18)).unwrap();
    break_it(&folder.path().join("checkpoints/step-8"));
    let mut caller = Caller::default();
    run(&gpt_config(0.1), &config, folder.path(), &mut caller).unwrap();
    assert_eq!(caller.warnings().len(), 1, "{:?}", caller.warnings());
    assert!(caller.warnings()[0].contains("step 8 is not whole"), "{:?}", caller.warnings());
    let started = caller.events.iter().find(|event| matches!(event, Event::Started { .. }));
    assert!(matches!(started, Some(Event::Started { step: 4, .. })), "{started:?}");
    assert_same(expected.path(), folder.path());
}

fn flip_a_bit(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn broken_checkpoints_are_passed_over() {
    check_falls_back(|path| flip_a_bit(&path.join("model.safetensors")));
    check_falls_back(|path| cut(&path.join("optimizer-1-of-1.safetensors")));
    check_falls_back(|path| flip_a_bit(&path.join("state.json")));
    check_falls_back(|path| cut(&path.join("manifest.json")));
    check_falls_back(|path| std::fs::remove_file(path.join("state.json")).unwrap());
}

#[test]
fn without_a_whole_checkpoint_the_run_begins_anew_and_nothing_is_lost() {
    let folder = finished(&gpt_config(0.0), &config(3));
    cut(&folder.path().join("checkpoints/step-3/manifest.json"));
    let mut caller = Caller::default();
    run(&gpt_config(0.0), &config(3), folder.path(), &mut caller).unwrap();
    assert_eq!(caller.warnings().len(), 2, "{:?}", caller.warnings());
    assert!(folder.path().join("previous-1/model/model.safetensors").exists());
    assert!(folder.path().join("previous-1/checkpoints/broken-step-3/state.json").exists());
    assert_eq!(metrics(folder.path()).len(), 4);
}

#[test]
fn resume_off_sets_the_earlier_run_aside() {
    let folder = finished(&gpt_config(0.0), &config(3));
    let again = TrainerConfig { resume: false, warmup_steps: 0, ..config(2) };
    run(&gpt_config(0.0), &again, folder.path(), &mut ()).unwrap();
    assert_eq!(metrics(folder.path()).len(), 3);
    assert_eq!(metrics(&folder.path().join("previous-1")).len(), 4);
}

// Stops a run, changes its configuration and goes on: gives the warnings, or the error.
fn check_changed(change: fn(&mut TrainerConfig, &mut ModelConfig), expected: Result<&str, &str>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut config, mut model) = (config(8), gpt_config(0.0));
    run(&model, &config, folder.path(), &mut Caller::stopping_at(12)).unwrap();
    change(&mut config, &mut model);
    let mut caller = Caller::default();
    let result = run(&model, &config, folder.path(), &mut caller);
    match (result, expected) {
        (Ok(_), Ok("")) => assert_eq!(caller.warnings(), Vec::<&str>::new()),
        (Ok(_), Ok(key)) => assert!(
            !caller.warnings().is_empty()
                && caller.warnings().iter().all(|warning| warning.starts_with(key)),
            "{:?}",
            caller.warnings()
        ),
        (Err(Error::Resume { key, .. }), Err(expected)) => assert_eq!(key, expected),
        (Ok(_), Err(key)) => panic!("{key} went unnoticed"),
        (Err(other), _) => panic!("{other}"),
    }
}

#[test]
fn another_configuration_is_told_or_refused() {
    check_changed(|config, _| config.seed = 5, Ok("trainer.seed was 0 and is now 5"));
    check_changed(|config, _| config.learning_rate = 2e-3, Ok("trainer.learning_rate"));
    check_changed(|config, _| config.spike = Spike::Off, Ok("trainer.spike"));
    check_changed(|config, _| config.keep_last = 5, Ok(""));
    check_changed(|config, _| config.steps = Some(3), Err("trainer.steps"));
    check_changed(|config, _| config.optimizer = muon(), Err("trainer.optimizer.type"));
    let wider = |_: &mut TrainerConfig, model: &mut ModelConfig| match model {
        ModelConfig::Gpt(gpt) => gpt.hidden_size = 32,
        _ => unreachable!(),
    };
    check_changed(wider, Err("model.hidden_size"));
}

#[test]
fn another_tokenizer_is_refused() {
    let with = |tokenizer: &str| RunContext {
        lineage: [("tokenizer".to_owned(), tokenizer.to_owned())].into(),
        ..RunContext::default()
    };
    let (model, folder) = (gpt_config(0.0), tempfile::tempdir().unwrap());
    let mut caller = Caller::stopping_at(4);
    run_in(with("one"), &model, &config(4), folder.path(), &mut caller).unwrap();
    let error = run_in(with("other"), &model, &config(4), folder.path(), &mut ()).err().unwrap();
    assert!(error.to_string().contains("data.tokenizer"), "{error}");
    run_in(with("one"), &model, &config(4), folder.path(), &mut ()).unwrap();
}

#[test]
fn a_second_process_on_the_run_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _lock = idiolect_files::FolderLock::acquire(folder.path()).unwrap();
    let error = run(&gpt_config(0.0), &config(3), folder.path(), &mut ()).err().unwrap();
    assert!(error.to_string().contains("is in use by process"), "{error}");
}

#[test]
fn a_finished_run_under_another_configuration_is_refused_and_stays_as_it_is() {
    let folder = finished(&gpt_config(0.0), &config(4));
    let files = ["report.md", "run.toml", "metrics.jsonl", "model/README.md"];
    let read = || files.map(|name| std::fs::read(folder.path().join(name)).unwrap());
    let before = read();
    let other = TrainerConfig { learning_rate: 2e-3, ..config(4) };
    let error = run(&gpt_config(0.0), &other, folder.path(), &mut ()).err().unwrap();
    assert!(matches!(&error, Error::Finished { key, .. } if key == "trainer.learning_rate"));
    assert!(before == read());
    run(&gpt_config(0.0), &TrainerConfig { keep_last: 1, ..config(4) }, folder.path(), &mut ())
        .unwrap();
    run(&gpt_config(0.0), &TrainerConfig { steps: Some(5), ..other }, folder.path(), &mut ())
        .unwrap();
}

#[test]
fn what_no_run_wrote_is_not_overwritten() {
    for name in ["run.toml", "report.md", "metrics.jsonl", "model/config.json"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "by hand").unwrap();
        for resume in [true, false] {
            let config = TrainerConfig { resume, ..config(3) };
            let error = run(&gpt_config(0.0), &config, folder.path(), &mut ()).err().unwrap();
            assert!(matches!(error, Error::NotARun { .. }), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "by hand");
    }
}

#[test]
fn a_finished_run_without_checkpoints_is_set_aside() {
    let folder = finished(&gpt_config(0.0), &config(3));
    std::fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
    run(&gpt_config(0.0), &config(3), folder.path(), &mut ()).unwrap();
    assert!(folder.path().join("previous-1/model/model.safetensors").exists());
    assert!(folder.path().join("previous-1/report.md").exists());
}

#[test]
fn a_checkpoint_of_another_version_is_an_error_and_stays() {
    let folder = finished(&gpt_config(0.0), &config(3));
    let manifest = folder.path().join("checkpoints/step-3/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"version\": 1", "\"version\": 9")).unwrap();
    let error = run(&gpt_config(0.0), &config(3), folder.path(), &mut ()).err().unwrap();
    assert!(matches!(error, Error::Version { version: 9, .. }), "{error}");
    assert!(manifest.exists() && folder.path().join("model").exists());
}

#[test]
fn an_older_broken_checkpoint_stays_when_another_breaks() {
    let folder = tempfile::tempdir().unwrap();
    run(&gpt_config(0.0), &config(10), folder.path(), &mut Caller::stopping_at(18)).unwrap();
    let checkpoints = folder.path().join("checkpoints");
    std::fs::create_dir(checkpoints.join("broken-step-8")).unwrap();
    cut(&checkpoints.join("step-8/manifest.json"));
    run(&gpt_config(0.0), &config(10), folder.path(), &mut ()).unwrap();
    assert!(checkpoints.join("broken-step-8").exists());
    assert!(checkpoints.join("broken-step-8-2/manifest.json").exists());
}

#[test]
fn a_run_that_asks_for_the_best_only_later_takes_the_best_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let first = TrainerConfig { keep_last: 1, keep_best: 0, validate_every: Some(1), ..config(10) };
    run(&gpt_config(0.0), &first, folder.path(), &mut Caller::stopping_at(18)).unwrap();
    let later = TrainerConfig { best_by: Some(BestBy::Loss), keep_best: 1, ..first };
    let (_, outcome) = run(&gpt_config(0.0), &later, folder.path(), &mut ()).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
}
