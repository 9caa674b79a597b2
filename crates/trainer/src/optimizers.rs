//! A model's parameters and an optimizer configuration come in; groups that step together, their states readable and writable, go out.

use crate::{AdamwConfig, Dtype, OptimizerConfig, Result, TrainerConfig};
use idiolect_model::{Parameter, ParameterKind};
use idiolect_torch::{AdamW, AdamWConfig, Muon, MuonConfig, Optimizer, OptimizerState};
use tch::Tensor;

/// The optimizers of a run. Each parameter belongs to one group.
pub struct Optimizers {
    groups: Vec<Group>,
}

struct Group {
    optimizer: Box<dyn Optimizer>,
    names: Vec<String>,
    peak: f64,
}

/// A tensor of an optimizer's state with the name of its parameter.
#[derive(Debug)]
pub struct NamedState {
    /// The parameter's name.
    pub parameter: String,
    /// The state's, such as `exp_avg`.
    pub state: String,
    /// Its value; sharing memory with the optimizer's own when it comes from there.
    pub tensor: Tensor,
}

/// How a parameter is treated; equal rules make one group.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Muon { peak: f64 },
    Adamw { peak: f64, weight_decay: f64 },
}

impl Optimizers {
    /// Groups the parameters by what the configuration says of their kind.
    pub fn new(parameters: &[Parameter], config: &TrainerConfig) -> Result<Self> {
        let mut by_rule: Vec<(Rule, Vec<&Parameter>)> = Vec::new();
        for parameter in parameters {
            let rule = rule(parameter.kind, config);
            match by_rule.iter_mut().find(|(known, _)| *known == rule) {
                Some((_, members)) => members.push(parameter),
                None => by_rule.push((rule, vec![parameter])),
            }
        }
        let groups = by_rule.into_iter().map(|(rule, members)| group(rule, &members, config));
        Ok(Self { groups: groups.collect::<Result<_>>()? })
    }

    /// Steps every group at the share `factor` of its peak rate.
    pub fn step(&mut self, factor: f64) -> Result<()> {
        for group in &mut self.groups {
            group.optimizer.step(group.peak * factor)?;
        }
        Ok(())
    }

    /// Forgets the gradients.
    pub fn zero_grad(&mut self) {
        self.groups.iter_mut().for_each(|group| group.optimizer.zero_grad());
    }

    /// Every state of every parameter.
    pub fn state(&self) -> Vec<NamedState> {
        let named = |group: &Group, state: OptimizerState| NamedState {
            parameter: group.names[state.parameter].clone(),
            state: state.name,
            tensor: state.tensor,
        };
        self.groups
            .iter()
            .flat_map(|group| group.optimizer.state().into_iter().map(|state| named(group, state)))
            .collect()
    }

    /// Puts back what [`Optimizers::state`] gave. The optimizers copy it into memory of their own.
    pub fn load_state(&mut self, states: &[NamedState]) -> Result<()> {
        for group in &mut self.groups {
            let index = |name: &str| group.names.iter().position(|known| known == name);
            let of_group: Vec<OptimizerState> = states
                .iter()
                .filter_map(|state| {
                    Some(OptimizerState {
                        parameter: index(&state.parameter)?,
                        name: state.state.clone(),
                        tensor: state.tensor.shallow_clone(),
                    })
                })
                .collect();
            group.optimizer.load_state(&of_group)?;
        }
        Ok(())
    }
}

fn rule(kind: ParameterKind, config: &TrainerConfig) -> Rule {
    let weight_decay = config.optimizer.adamw().weight_decay;
    let peak = config.learning_rate;
    let of_tables = config.embedding_learning_rate.unwrap_or(peak);
    match (kind, &config.optimizer) {
        (ParameterKind::Matrix, OptimizerConfig::Muon(muon)) => {
            Rule::Muon { peak: muon.learning_rate }
        }
        (ParameterKind::Matrix, _) => Rule::Adamw { peak, weight_decay },
        (ParameterKind::Embedding, _) => Rule::Adamw { peak: of_tables, weight_decay },
        (ParameterKind::Head, _) => {
            Rule::Adamw { peak: config.head_learning_rate.unwrap_or(of_tables), weight_decay }
        }
        (ParameterKind::Vector, _) => Rule::Adamw { peak, weight_decay: 0.0 },
    }
}

fn group(rule: Rule, members: &[&Parameter], config: &TrainerConfig) -> Result<Group> {
    let tensors: Vec<Tensor> = members.iter().map(|p| p.tensor.shallow_clone()).collect();
    let names = members.iter().map(|parameter| parameter.name.clone()).collect();
    let (optimizer, peak): (Box<dyn Optimizer>, f64) = match (rule, &config.optimizer) {
        (Rule::Muon { peak }, OptimizerConfig::Muon(muon)) => {
            let muon = MuonConfig {
                momentum: muon.momentum,
                nesterov: muon.nesterov,
                weight_decay: muon.weight_decay,
                newton_schulz_steps: i64::from(muon.newton_schulz_steps),
                bf16: muon.newton_schulz_dtype == Dtype::Bf16,
            };
            let sections = members.iter().map(|parameter| parameter.sections.clone()).collect();
            (Box::new(Muon::new(tensors, sections, muon)?), peak)
        }
        (Rule::Muon { peak }, _) => (adamw(tensors, config, 0.0)?, peak),
        (Rule::Adamw { peak, weight_decay }, _) => (adamw(tensors, config, weight_decay)?, peak),
    };
    Ok(Group { optimizer, names, peak })
}

fn adamw(tensors: Vec<Tensor>, config: &TrainerConfig, weight_decay: f64) -> Result<Box<AdamW>> {
    let AdamwConfig { beta1, beta2, epsilon, .. } = config.optimizer.adamw();
    Ok(Box::new(AdamW::new(tensors, AdamWConfig { beta1, beta2, epsilon, weight_decay })?))
}
