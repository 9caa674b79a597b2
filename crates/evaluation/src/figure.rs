//! One line of a result: which task, which metric, the value and its interval.

use serde::Serialize;

use crate::Estimate;

/// A figure as `idiolect evaluate --json` prints it, one a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The task's name.
    pub task: String,
    /// The task's version: figures of different versions are not comparable.
    pub version: u32,
    /// What was measured.
    pub metric: String,
    /// How answers were read out of the text; `none` where there are none.
    pub filter: String,
    /// How many solved examples stood in the prompt.
    pub n_shot: usize,
    /// The value, its standard error, its 95 % interval and the number of groups behind it.
    #[serde(flatten)]
    pub estimate: Estimate,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio;

    #[test]
    fn a_figure_is_one_flat_object_with_the_keys_the_command_line_promises() {
        let figure = Figure {
            task: "perplexity".to_owned(),
            version: 1,
            metric: "bits_per_byte".to_owned(),
            filter: "none".to_owned(),
            n_shot: 0,
            estimate: ratio(&[(1.0, 2.0), (2.0, 4.0)]),
        };
        let line = serde_json::to_string(&figure).expect("plain data");
        assert_eq!(
            line,
            r#"{"task":"perplexity","version":1,"metric":"bits_per_byte","filter":"none","n_shot":0,"value":0.5,"stderr":0.0,"ci95":[0.5,0.5],"n":2}"#
        );
    }
}
