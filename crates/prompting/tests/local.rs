//! The local backend over models of a few parameters, made here: text, stop strings, scores, masks, many callers.
#![cfg(feature = "local")]

use std::ops::ControlFlow;

use idiolect_model::tch::Device;
use idiolect_model::{BertConfig, GptConfig, Model, ModelConfig};
use idiolect_prompting::{Answer, Backend, Error, FinishReason, LocalBackend, Request};
use idiolect_tokenizer::{Tokenizer, TrainConfig, train};
use tempfile::TempDir;

fn folder(tokenizer: &Tokenizer, mut config: ModelConfig, vocab_size: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    config.set_vocab_size(vocab_size);
    Model::new(&config, 7, Device::Cpu).expect("built").save(folder.path()).expect("saved");
    tokenizer.save_folder(folder.path()).expect("saved");
    folder
}

fn load(folder: &TempDir) -> Result<LocalBackend, Error> {
    LocalBackend::load(folder.path(), Device::Cpu, None)
}

/// Byte-level, so that an untrained model makes text full of cut characters.
fn gpt() -> (TempDir, LocalBackend) {
    let texts = ["naïve café"];
    let tokenizer = train(texts.iter(), &TrainConfig::bpe(257), &mut |_| {}).expect("trained");
    let config = GptConfig {
        hidden_size: 16,
        n_layers: 1,
        n_heads: 2,
        context_length: 48,
        ..GptConfig::tiny()
    };
    let folder = folder(&tokenizer, ModelConfig::Gpt(config), tokenizer.vocab_size());
    let backend = load(&folder).expect("a model folder");
    (folder, backend)
}

fn request(prompt: &str, tokens: usize, seed: u64) -> Request {
    let mut request = Request::new(prompt);
    (request.max_new_tokens, request.temperature, request.seed) = (tokens, 1.0, seed);
    request
}

/// The answer, and what was streamed of it.
fn ask(backend: &LocalBackend, request: &Request) -> (Answer, String) {
    let mut streamed = String::new();
    let answer = backend.generate(request, &mut |piece| {
        streamed.push_str(piece);
        ControlFlow::Continue(())
    });
    (answer.expect("an answer"), streamed)
}

#[test]
fn what_is_streamed_is_the_text() {
    let (_folder, backend) = gpt();
    for seed in 0..8 {
        let (answer, streamed) = ask(&backend, &request("café", 30, seed));
        assert_eq!(streamed, answer.text);
        assert_eq!(answer.ids.len(), answer.log_probabilities.len());
        assert!(answer.log_probabilities.iter().all(|&value| value <= 0.0));
        assert!(answer.ids.len() == 30 || answer.finish_reason == FinishReason::Stop);
        let decoded = backend.tokenizer().decode(&answer.ids, true).expect("ids of its own");
        assert_eq!(answer.text, decoded);
    }
}

#[test]
fn nothing_of_a_stop_string_is_shown() {
    let (_folder, backend) = gpt();
    let mut request = request("café", 30, 3);
    let (whole, _) = ask(&backend, &request);
    let characters: Vec<char> = whole.text.chars().collect();
    // Three characters from the middle: they straddle tokens, which are bytes here.
    let stop: String = characters[characters.len() / 2..][..3].iter().collect();
    request.stop = vec![stop.clone()];
    let (answer, streamed) = ask(&backend, &request);
    assert_eq!(answer.finish_reason, FinishReason::Stop);
    assert_eq!(answer.text, whole.text[..whole.text.find(&stop).expect("it is in there")]);
    assert_eq!(streamed, answer.text);
    assert!(answer.ids.len() < whole.ids.len());
}

#[test]
fn a_caller_may_break_off_and_ask_again() {
    let (_folder, backend) = gpt();
    let broken = backend.generate(&request("a", 40, 1), &mut |_| ControlFlow::Break(()));
    assert_eq!(broken.expect("an answer").finish_reason, FinishReason::Cancelled);
    let (none, _) = ask(&backend, &request("a", 0, 1));
    assert_eq!((none.text.as_str(), none.ids.len()), ("", 0));
    assert_eq!(ask(&backend, &request("a", 4, 1)).0.ids.len(), 4);
}

#[test]
fn a_context_ends_the_text_and_a_longer_prompt_is_refused() {
    let (_folder, backend) = gpt();
    let (answer, _) = ask(&backend, &request(&"a".repeat(40), 40, 1));
    assert!(answer.ids.len() <= 9);
    let request = request(&"a".repeat(60), 4, 1);
    let error = backend.generate(&request, &mut |_| ControlFlow::Continue(()));
    assert!(error.expect_err("too long").to_string().contains("60"));
}

#[test]
fn scores_are_those_of_generation_and_add_up() {
    let (_folder, backend) = gpt();
    let (answer, _) = ask(&backend, &request("café", 12, 5));
    let mut row = backend.prompt_ids("café").expect("ids");
    let prompt = row.len();
    row.extend(&answer.ids);
    let scores = backend.score_ids(&[row]).expect("scores").remove(0);
    for (scored, made) in scores[prompt - 1..].iter().zip(&answer.log_probabilities) {
        assert!((scored - made).abs() < 1e-4, "{scored} {made}");
    }
    let both = backend.score("ca", &["fé", "x"]).expect("scores");
    assert_eq!((both[0].ids.len(), both[1].ids.len()), (3, 1));
    let longer = backend.score("caf", &["é"]).expect("scores");
    let first = f64::from(both[0].log_probabilities[0]);
    assert!((both[0].total() - first - longer[0].total()).abs() < 1e-4);
}

#[test]
fn many_threads_share_one_model() {
    let (_folder, backend) = gpt();
    let ask = |seed| ask(&backend, &request("na", 12, seed)).1;
    let alone: Vec<String> = (0..4).map(ask).collect();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|seed| scope.spawn(move || ask(seed))).collect();
        for (asked, alone) in asked.into_iter().zip(&alone) {
            assert_eq!(&asked.join().expect("no panic"), alone);
        }
    });
}

#[test]
fn masks_are_filled_in_one_list_each() {
    let texts = ["a cat and a dog"];
    let tokenizer = train(texts.iter(), &TrainConfig::wordpiece(40), &mut |_| {}).expect("trained");
    let config = BertConfig { hidden_size: 16, n_layers: 1, n_heads: 2, ..BertConfig::tiny() };
    let folder = folder(&tokenizer, ModelConfig::Bert(config), tokenizer.vocab_size());
    let backend = load(&folder).expect("a model folder");
    let masks = backend.fill_mask("a [MASK] and a [MASK]", 3).expect("predictions");
    assert_eq!(masks.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    let every = backend.fill_mask("[MASK]", usize::MAX).expect("predictions").remove(0);
    let sum: f32 = every.iter().map(|found| found.probability).sum();
    assert!((sum - 1.0).abs() < 1e-4 && every.len() == tokenizer.vocab_size(), "{sum}");

    assert!(matches!(backend.fill_mask("a cat", 3), Err(Error::NoMask { .. })));
    let generated = backend.generate(&Request::new("a"), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(generated, Err(Error::Unsupported { .. })));
    assert!(matches!(backend.score("a", &["b"]), Err(Error::Unsupported { .. })));
}

#[test]
fn a_tokenizer_with_more_ids_than_the_model_is_refused() {
    let texts = ["abc"];
    let tokenizer = train(texts.iter(), &TrainConfig::bpe(257), &mut |_| {}).expect("trained");
    let config = GptConfig { hidden_size: 16, n_layers: 1, n_heads: 2, ..GptConfig::tiny() };
    let folder = folder(&tokenizer, ModelConfig::Gpt(config), 100);
    assert!(matches!(load(&folder), Err(Error::Mismatch { ids: 257, vocab_size: 100, .. })));
}
