//! Perplexity: texts and a backend in; nats a token, perplexity and bits per byte out.

use std::ops::Range;

use idiolect_prompting::{Backend, Error as BackendError};
use idiolect_tokenizer::{Special, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::{Error, Estimate, Figure, Result, ratio};

/// How a text is cut into windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerplexityConfig {
    /// Tokens that a window predicts from at most; the model's own limit unless given.
    pub context_length: Option<usize>,
    /// Tokens from one window's first prediction to the next's. As long as the context (the
    /// default), windows do not overlap; shorter ones give each token more to predict it from, at
    /// more cost.
    pub stride: Option<usize>,
}

/// How far the scoring has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Tokens scored so far.
    pub tokens: usize,
    /// Tokens to score of the texts read so far.
    pub total: usize,
}

/// How well a model predicts texts. Every interval is over windows: those are the groups that may
/// be called independent, tokens are not. Windows of one text still resemble each other, so that
/// the interval is about this text, not about all texts of its kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Perplexity {
    /// The mean of `-ln p` a token.
    pub nats_per_token: Estimate,
    /// Its exponential. Comparable only between models of one tokenizer.
    pub perplexity: Estimate,
    /// `-log2 p` of the text over its bytes. Comparable between tokenizers.
    pub bits_per_byte: Estimate,
    /// How many tokens were scored.
    pub tokens: usize,
    /// How many bytes of text these stand for.
    pub bytes: usize,
}

impl Perplexity {
    /// The lines that `idiolect evaluate` prints.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |metric: &str, estimate| Figure {
            task: "perplexity".to_owned(),
            version: 1,
            metric: metric.to_owned(),
            filter: "none".to_owned(),
            n_shot: 0,
            estimate,
        };
        vec![
            figure("nats_per_token", self.nats_per_token),
            figure("perplexity", self.perplexity),
            figure("bits_per_byte", self.bits_per_byte),
        ]
    }
}

/// Scores each token of `texts` once, in windows that do not cross from one text to the next.
///
/// A text's first token is predicted from the token that begins a text where the tokenizer has one, else from
/// the one that ends it, as lm-evaluation-harness does; without either it is not scored, and its bytes are not
/// counted. Neither are those of characters that the tokenizer leaves out.
pub fn perplexity(
    backend: &dyn Backend,
    tokenizer: &Tokenizer,
    texts: impl IntoIterator<Item = impl AsRef<str>>,
    config: &PerplexityConfig,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Perplexity> {
    let cut = Cut::new(backend, config)?;
    let mut tally = Tally::default();
    for text in texts {
        let ids = tokenizer.encode_ordinary(text.as_ref());
        tally.texts += 1;
        tally.read += ids.len();
        score_text(backend, tokenizer, text.as_ref(), ids, &cut, &mut tally, on_progress)?;
    }
    tally.report()
}

/// How many windows a backend is asked to score at once.
const BATCH: usize = 64;

fn score_text(
    backend: &dyn Backend,
    tokenizer: &Tokenizer,
    text: &str,
    mut ids: Vec<u32>,
    cut: &Cut,
    tally: &mut Tally,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let bytes_of = |id: u32| tokenizer.token_bytes(id).map_or(0, |bytes| bytes.len());
    let mut bytes = covered_bytes(tokenizer, text);
    match (tokenizer.bos_id().or(tokenizer.eos_id()), ids.first()) {
        (Some(start), _) => ids.insert(0, start),
        (None, Some(&first)) => bytes -= bytes_of(first).min(bytes),
        (None, None) => {}
    }
    tally.total += ids.len().saturating_sub(1);
    // A normaliser may have changed the text's length: the windows share its true bytes.
    let told: usize = ids.iter().skip(1).map(|&id| bytes_of(id)).sum();
    let scale = if told == 0 { 0.0 } else { bytes as f64 / told as f64 };
    let windows = cut.windows(ids.len());
    for batch in windows.chunks(BATCH) {
        let rows: Vec<Vec<u32>> =
            batch.iter().map(|window| ids[window.begin..window.targets.end].to_vec()).collect();
        let scores = backend.score_ids(&rows)?;
        expect(scores.len(), rows.len())?;
        for ((window, row), scores) in batch.iter().zip(&rows).zip(scores) {
            expect(scores.len(), row.len() - 1)?;
            let scored = &scores[scores.len() - window.targets.len()..];
            let bytes: usize = ids[window.targets.clone()].iter().map(|&id| bytes_of(id)).sum();
            tally.add(scored, bytes as f64 * scale)?;
        }
        on_progress(Progress { tokens: tally.tokens, total: tally.total });
    }
    tally.bytes += bytes;
    Ok(())
}

/// How many bytes of a text its tokens stand for.
fn covered_bytes(tokenizer: &Tokenizer, text: &str) -> usize {
    if tokenizer.is_byte_level() {
        return text.len();
    }
    let offsets = tokenizer.encode_with_offsets(text, Special::Ordinary).offsets;
    // The tokens of one character may each name all of it.
    let (covered, _) = offsets.into_iter().fold((0, 0), |(covered, end), range| {
        (covered + range.end.saturating_sub(range.start.max(end)), range.end.max(end))
    });
    covered
}

fn expect(got: usize, expected: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Scores { got, expected }) }
}

/// What the windows add up to.
#[derive(Default)]
struct Tally {
    texts: usize,
    read: usize,
    total: usize,
    tokens: usize,
    bytes: usize,
    /// Nats, tokens and bytes of each window.
    windows: Vec<(f64, f64, f64)>,
}

impl Tally {
    fn add(&mut self, scored: &[f32], bytes: f64) -> Result<()> {
        if let Some(&value) = scored.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotANumber { value });
        }
        let nats = -scored.iter().map(|&value| f64::from(value)).sum::<f64>();
        self.tokens += scored.len();
        self.windows.push((nats, scored.len() as f64, bytes));
        Ok(())
    }

    fn report(self) -> Result<Perplexity> {
        if self.tokens == 0 || self.bytes == 0 {
            return Err(Error::NothingToScore { texts: self.texts, tokens: self.read });
        }
        let by_token: Vec<_> =
            self.windows.iter().map(|&(nats, tokens, _)| (nats, tokens)).collect();
        let by_byte: Vec<_> = self.windows.iter().map(|&(nats, _, bytes)| (nats, bytes)).collect();
        let nats_per_token = ratio(&by_token);
        let to_bits = std::f64::consts::LN_2.recip();
        Ok(Perplexity {
            nats_per_token,
            perplexity: nats_per_token.map(f64::exp, nats_per_token.value.exp()),
            bits_per_byte: ratio(&by_byte).map(|nats| nats * to_bits, to_bits),
            tokens: self.tokens,
            bytes: self.bytes,
        })
    }
}

/// A window: the ids from `begin` on predict those in `targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    begin: usize,
    targets: Range<usize>,
}

/// The validated form of [`PerplexityConfig`].
struct Cut {
    context_length: usize,
    stride: usize,
}

impl Cut {
    fn new(backend: &dyn Backend, config: &PerplexityConfig) -> Result<Self> {
        let capabilities = backend.capabilities();
        if !capabilities.score {
            return Err(
                BackendError::Unsupported { what: "score text, which perplexity needs" }.into()
            );
        }
        let refuse = |field, what: String| Err(Error::Config { field, what });
        let Some(context_length) = config.context_length.or(capabilities.context_length) else {
            return refuse(
                "context_length",
                "must be given: the backend does not tell its own".into(),
            );
        };
        match capabilities.context_length {
            Some(most) if context_length > most => {
                return refuse(
                    "context_length",
                    format!("is {context_length}, the model takes {most}"),
                );
            }
            _ if context_length == 0 => {
                return refuse("context_length", "must be at least 1".into());
            }
            _ => {}
        }
        let stride = config.stride.unwrap_or(context_length);
        if stride == 0 || stride > context_length {
            let what =
                format!("is {stride}, it must be from 1 to the context length {context_length}");
            return refuse("stride", what);
        }
        Ok(Self { context_length, stride })
    }

    /// The windows of a text of `length` ids: every id but the first is a target once.
    fn windows(&self, length: usize) -> Vec<Window> {
        let mut windows = Vec::new();
        let mut first = 1;
        while first < length {
            let targets = if first == 1 { self.context_length } else { self.stride };
            let end = first.saturating_add(targets).min(length);
            let begin = (first - 1).saturating_sub(self.context_length - self.stride);
            windows.push(Window { begin, targets: first..end });
            first = end;
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Mutex;

    use idiolect_prompting::{Answer, Capabilities, Request};
    use idiolect_tokenizer::{TrainConfig, train};
    use proptest::prelude::*;

    use super::*;

    /// Finds every token as likely as `probability`, and refuses rows longer than its context.
    struct Constant {
        probability: f32,
        /// The ids that rows began with.
        first_ids: Mutex<Vec<u32>>,
    }

    impl Constant {
        fn new(probability: f32) -> Self {
            Self { probability, first_ids: Mutex::default() }
        }
    }

    impl Backend for Constant {
        fn capabilities(&self) -> Capabilities {
            Capabilities::default().with_score().with_context_length(8)
        }

        fn generate(
            &self,
            _: &Request,
            _: &mut dyn FnMut(&str) -> ControlFlow<()>,
        ) -> idiolect_prompting::Result<Answer> {
            Err(BackendError::Unsupported { what: "generate" })
        }

        fn score_ids(&self, rows: &[Vec<u32>]) -> idiolect_prompting::Result<Vec<Vec<f32>>> {
            assert!(
                rows.iter().all(|row| (2..=9).contains(&row.len())),
                "a row that cannot be scored"
            );
            let mut first_ids = self.first_ids.lock().expect("no panic before");
            first_ids.extend(rows.iter().map(|row| row[0]));
            Ok(rows.iter().map(|row| vec![self.probability.ln(); row.len() - 1]).collect())
        }
    }

    fn characters(special: &[&str]) -> Tokenizer {
        let special_tokens = special.iter().map(|&token| token.to_owned()).collect();
        let config = TrainConfig::Character { special_tokens };
        train(["abcé"].iter(), &config, &mut |_| ()).expect("a tokenizer of four characters")
    }

    fn score(
        special: &[&str],
        probability: f32,
        text: &str,
        config: PerplexityConfig,
    ) -> Result<Perplexity> {
        perplexity(&Constant::new(probability), &characters(special), [text], &config, &mut |_| ())
    }

    #[test]
    fn every_token_but_the_first_is_scored_once() {
        let report =
            score(&[], 0.25, "abcabcabcabcabcab", PerplexityConfig::default()).expect("scored");
        assert_eq!((report.tokens, report.bytes, report.perplexity.n), (16, 16, 2));
        assert!((report.perplexity.value - 4.0).abs() < 1e-5);
        assert!((report.bits_per_byte.value - 2.0).abs() < 1e-5);
    }

    #[test]
    fn an_end_of_text_token_predicts_the_first() {
        let report =
            score(&["<|endoftext|>"], 0.5, "ab", PerplexityConfig::default()).expect("scored");
        assert_eq!((report.tokens, report.bytes), (2, 2));
    }

    #[test]
    fn the_token_that_begins_a_text_predicts_the_first_before_the_one_that_ends_it() {
        let check = |special: &[&str], expected: &str| {
            let (backend, tokenizer) = (Constant::new(0.5), characters(special));
            perplexity(&backend, &tokenizer, ["ab"], &PerplexityConfig::default(), &mut |_| ())
                .expect("scored");
            let first = backend.first_ids.into_inner().expect("no panic before");
            assert_eq!(first.first().copied(), tokenizer.token_to_id(expected), "{special:?}");
        };
        check(&["</s>", "<s>"], "<s>");
        check(&["</s>"], "</s>");
    }

    #[test]
    fn characters_that_have_no_token_are_no_bytes() {
        let report = score(&[], 0.25, "aézéz", PerplexityConfig::default()).expect("scored");
        assert_eq!((report.tokens, report.bytes), (2, 4));
    }

    #[test]
    fn bits_are_per_byte_not_per_character() {
        let report = score(&[], 0.25, "aéé", PerplexityConfig::default()).expect("scored");
        assert_eq!((report.tokens, report.bytes), (2, 4));
        assert!((report.bits_per_byte.value - 1.0).abs() < 1e-5);
    }

    #[test]
    fn what_cannot_be_scored_is_an_error() {
        let check = |probability, text, context_length, stride, part: &str| {
            let config = PerplexityConfig { context_length, stride };
            let error = score(&[], probability, text, config).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        check(0.5, "", None, None, "nothing to score");
        check(0.5, "a", None, None, "nothing to score");
        check(0.5, "abc", Some(9), None, "`context_length` is 9");
        check(0.5, "abc", Some(0), None, "`context_length` must be");
        check(0.5, "abc", None, Some(0), "`stride` is 0");
        check(0.5, "abc", Some(4), Some(5), "`stride` is 5");
        check(f32::NAN, "abc", None, None, "log-probability");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn windows_cover_every_target_once_within_the_context(length in 0usize..200, context_length in 1usize..20, stride in 1usize..20) {
            let cut = Cut { context_length, stride: stride.min(context_length) };
            let windows = cut.windows(length);
            let targets: Vec<usize> = windows.iter().flat_map(|window| window.targets.clone()).collect();
            prop_assert_eq!(targets, (1..length.max(1)).collect::<Vec<_>>());
            for window in &windows {
                prop_assert!(window.begin < window.targets.start);
                prop_assert!(window.targets.end - 1 - window.begin <= context_length);
            }
        }
    }
}
