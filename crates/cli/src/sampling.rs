//! How to choose the next token, as typed: options in, a request's fields out.

use clap::Args;
use idiolect_prompting::Request;

use crate::arguments::Common;

/// How the next token is chosen.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    /// Sample: 1 is the model's own distribution, lower is bolder [default: 0, or 1 with another sampling option]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Sample among this many likeliest tokens
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Sample among the fewest tokens whose probabilities sum to this
    #[arg(long, value_name = "P")]
    pub top_p: Option<f64>,
    /// Sample among the tokens with at least this share of the likeliest one's probability
    #[arg(long, value_name = "P")]
    pub min_p: Option<f64>,
    /// Sample among the most typical tokens whose probabilities sum to this
    #[arg(long, value_name = "P")]
    pub typical_p: Option<f64>,
    /// Above 1, tokens of prompt and answer become less likely
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub repetition_penalty: Option<f64>,
    /// Taken from a token's logit for each time it was generated
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f64>,
    /// Taken from a token's logit once it was generated
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f64>,
    /// No sequence of this many tokens comes twice
    #[arg(long, value_name = "N")]
    pub no_repeat_ngram: Option<usize>,
    /// Added to the logit of an id, like 42=-100; may be repeated
    #[arg(long, value_name = "ID=X", value_parser = bias, allow_hyphen_values = true)]
    pub logit_bias: Vec<(u32, f64)>,
}

impl Sampling {
    /// Lays what was typed over a request. An option that only makes sense with sampling turns it on.
    pub fn apply(&self, request: &mut Request, common: &Common) {
        let shares = [self.top_p, self.min_p, self.typical_p];
        let samples = self.top_k.is_some() || shares.iter().any(Option::is_some);
        if samples && request.temperature == 0.0 {
            request.temperature = 1.0;
        }
        let lay = |value: Option<f64>, over: &mut f64| *over = value.unwrap_or(*over);
        lay(self.temperature, &mut request.temperature);
        lay(self.repetition_penalty, &mut request.repetition_penalty);
        lay(self.frequency_penalty, &mut request.frequency_penalty);
        lay(self.presence_penalty, &mut request.presence_penalty);
        request.top_k = self.top_k.or(request.top_k);
        request.top_p = self.top_p.or(request.top_p);
        request.min_p = self.min_p.or(request.min_p);
        request.typical_p = self.typical_p.or(request.typical_p);
        request.no_repeat_ngram = self.no_repeat_ngram.or(request.no_repeat_ngram);
        request.logit_bias.extend(self.logit_bias.iter().copied());
        request.seed = common.seed.unwrap_or(request.seed);
    }
}

fn bias(text: &str) -> Result<(u32, f64), String> {
    let (id, bias) = text.split_once('=').ok_or("must be like 42=-100")?;
    let id = id.trim().parse().map_err(|_| format!("{id:?} is no id"))?;
    match bias.trim().parse::<f64>() {
        Ok(bias) if !bias.is_nan() => Ok((id, bias)),
        _ => Err(format!("{bias:?} is no number")),
    }
}
