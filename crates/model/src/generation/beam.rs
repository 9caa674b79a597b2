//! Beam search: a prompt in, the likeliest whole continuations out, best first (Graves 2012; groups: Vijayakumar et al. 2018).

use super::sequences::{NextLogits, Sequences};
use crate::gpt::Gpt;
use crate::{Error, Model, Result};
use idiolect_torch::NoGrad;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How to search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BeamConfig {
    /// How many continuations are kept at a time, and given in the end.
    pub beams: usize,
    /// Beams in groups that shun what the groups before them chose at the same step; divides `beams`.
    pub groups: usize,
    /// What a group's log-probabilities lose for each beam before it that chose the id.
    pub diversity_penalty: f64,
    /// A continuation's score is its log-probability over its length to this power.
    pub length_penalty: f64,
    /// Whether a group ends once it has as many whole continuations as beams; else when no beam can beat them.
    pub early_stopping: bool,
    /// The most ids to add.
    pub max_new_tokens: usize,
    /// Any of these ends a continuation, and is part of it.
    pub stop_ids: Vec<u32>,
}

impl Default for BeamConfig {
    fn default() -> Self {
        Self {
            beams: 4,
            groups: 1,
            diversity_penalty: 0.0,
            length_penalty: 1.0,
            early_stopping: false,
            max_new_tokens: 128,
            stop_ids: Vec::new(),
        }
    }
}

/// A continuation that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Beam {
    /// Its ids, without the prompt.
    pub ids: Vec<u32>,
    /// Its natural log-probability.
    pub log_probability: f64,
    /// What it is ranked by.
    pub score: f64,
}

impl Model {
    /// The best continuations of `prompt`, `config.beams` of them where there are as many. A decoder only.
    pub fn beam_search(&self, prompt: &[u32], config: &BeamConfig) -> Result<Vec<Beam>> {
        let gpt = self.decoder("generate")?;
        check(config)?;
        drop(self.row(prompt)?);
        let _guard = NoGrad::new();
        idiolect_torch::catch(|| search(gpt, prompt, config))?
    }
}

fn check(config: &BeamConfig) -> Result<()> {
    let refuse = |key, problem: String| Err(Error::Config { key, problem });
    let BeamConfig { beams, groups, diversity_penalty, length_penalty, .. } = *config;
    if beams == 0 || groups == 0 || beams % groups != 0 {
        return refuse("groups", format!("is {groups}, must divide `beams`, which is {beams}"));
    }
    if !(diversity_penalty.is_finite() && diversity_penalty >= 0.0) {
        let problem = format!("is {diversity_penalty}, must be at least 0");
        return refuse("diversity_penalty", problem);
    }
    match length_penalty.is_finite() {
        true => Ok(()),
        false => refuse("length_penalty", format!("is {length_penalty}, must be a number")),
    }
}

/// A beam that goes on.
#[derive(Clone, Debug)]
struct Open {
    ids: Vec<u32>,
    sum: f64,
    /// The sequence that holds all but its last id.
    row: usize,
}

/// Beams that compete with each other.
struct Group {
    open: Vec<Open>,
    whole: Vec<Beam>,
    done: bool,
}

fn search(gpt: &Gpt, prompt: &[u32], config: &BeamConfig) -> Result<Vec<Beam>> {
    let most = config.max_new_tokens.min(gpt.config().context_length + 1 - prompt.len());
    let (mut sequences, mut steps) = Sequences::begin(gpt, &[prompt], most)?;
    let mut next = steps.pop().map(|step| step.next).unwrap_or_default();
    let start = Open { ids: Vec::new(), sum: 0.0, row: 0 };
    let group = |_| Group { open: vec![start.clone()], whole: Vec::new(), done: most == 0 };
    let mut groups: Vec<Group> = (0..config.groups).map(group).collect();
    for length in 1..=most {
        let mut chosen: BTreeMap<u32, f64> = BTreeMap::new();
        for group in groups.iter_mut().filter(|group| !group.done) {
            group.advance(&next, &chosen, length, config);
            for beam in &group.open {
                *chosen.entry(beam.ids[length - 1]).or_default() += config.diversity_penalty;
            }
        }
        let going = || groups.iter().filter(|group| !group.done).flat_map(|group| &group.open);
        if length == most || going().next().is_none() {
            break;
        }
        let (rows, ids): (Vec<usize>, Vec<u32>) =
            going().map(|beam| (beam.row, beam.ids[length - 1])).unzip();
        sequences.keep(&rows);
        next = sequences.step(&ids)?.next;
        let open = groups.iter_mut().filter(|group| !group.done).flat_map(|group| &mut group.open);
        open.enumerate().for_each(|(row, beam)| beam.row = row);
    }
    Ok(best(groups, config))
}

impl Group {
    /// Each beam goes on by its likeliest ids; the best of all are kept, whole ones set aside.
    fn advance(
        &mut self,
        next: &[NextLogits],
        chosen: &BTreeMap<u32, f64>,
        length: usize,
        config: &BeamConfig,
    ) {
        let size = config.beams / config.groups;
        // Twice as many, so that enough are left where half of them are whole.
        let wanted = size * (1 + config.stop_ids.len()).max(2);
        let mut candidates: Vec<(f64, f64, usize, u32)> = Vec::new();
        for (index, beam) in self.open.iter().enumerate() {
            for (id, log_probability) in likeliest(&next[beam.row], chosen, wanted) {
                let shunned = chosen.get(&id).copied().unwrap_or(0.0);
                let sum = beam.sum + log_probability;
                candidates.push((sum - shunned, sum, index, id));
            }
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)).then(a.3.cmp(&b.3)));
        candidates.truncate(wanted);
        let mut open = Vec::with_capacity(size);
        for (rank, (ranked, _, index, id)) in candidates.into_iter().enumerate() {
            let beam = &self.open[index];
            let ids = [&beam.ids[..], &[id]].concat();
            if !config.stop_ids.contains(&id) {
                open.push(Open { ids, sum: ranked, row: beam.row });
            } else if rank < size {
                self.add(ids, ranked, size, config);
            }
            if open.len() == size {
                break;
            }
        }
        self.done = self.whole.len() >= size
            && (config.early_stopping || !self.can_improve(&open, length, config));
        self.open = open;
    }

    /// A whole continuation, where it is among the best.
    fn add(&mut self, ids: Vec<u32>, sum: f64, size: usize, config: &BeamConfig) {
        let score = sum / (ids.len() as f64).powf(config.length_penalty);
        self.whole.push(Beam { ids, log_probability: sum, score });
        self.whole.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.whole.truncate(size);
    }

    /// Whether the best open beam, ending now, would be better than the worst whole one.
    fn can_improve(&self, open: &[Open], length: usize, config: &BeamConfig) -> bool {
        let best = open.iter().map(|beam| beam.sum).fold(f64::NEG_INFINITY, f64::max);
        let attainable = best / (length as f64).powf(config.length_penalty);
        self.whole.last().is_none_or(|worst| attainable > worst.score)
    }
}

/// The `count` likeliest ids after what other groups chose is held against them, with their log-probabilities.
fn likeliest(next: &NextLogits, chosen: &BTreeMap<u32, f64>, count: usize) -> Vec<(u32, f64)> {
    let ranked = |id: &u32| next.log_probability(*id) - chosen.get(id).copied().unwrap_or(0.0);
    let order = |a: &u32, b: &u32| ranked(b).total_cmp(&ranked(a)).then(a.cmp(b));
    let mut ids: Vec<u32> = (0..next.logits.len() as u32).collect();
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, order);
        ids.truncate(count);
    }
    ids.into_iter().map(|id| (id, next.log_probability(id))).collect()
}

/// The best of all groups; beams that never ended count as they are.
fn best(groups: Vec<Group>, config: &BeamConfig) -> Vec<Beam> {
    let size = config.beams / config.groups;
    let mut all: Vec<Beam> = Vec::new();
    for mut group in groups {
        if !group.done {
            for beam in std::mem::take(&mut group.open) {
                group.add(beam.ids, beam.sum, size, config);
            }
        }
        all.extend(group.whole);
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all
}
