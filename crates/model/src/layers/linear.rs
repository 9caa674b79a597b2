//! `[.., in]` to `[.., out]`: one product with a weight `[out, in]`, and a bias.

use crate::Result;
use crate::init::Init;
use crate::layers::Weight;
use crate::parameter::{ParameterKind, Path};
use tch::Tensor;

/// How the weight lies in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `[out, in]`, each of several stacked layers under its own name.
    Rows,
    /// `[out, in]`, stacked layers one after the other under one name.
    Whole,
    /// `[out, in]`, of each head its queries, keys and values together, under one name (GPT-NeoX).
    PerHead,
    /// `[in, out]`, stacked layers side by side under one name (GPT-2's `Conv1D`).
    Columns,
}

/// `[.., in]` to `[.., out]`.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Tensor>,
}

impl Linear {
    /// One layer at `path`.
    pub(crate) fn new(
        mut path: Path<'_>,
        form: Form,
        (columns, rows): (i64, i64),
        bias: bool,
        init: Init,
    ) -> Result<Self> {
        let weight = match form {
            Form::Rows | Form::Whole | Form::PerHead => {
                path.parameter("weight", &[rows, columns], ParameterKind::Matrix, init)?
            }
            Form::Columns => path.transposed("weight", &[rows, columns], init, vec![rows])?,
        };
        let bias = plain_bias(path, rows, bias)?;
        Ok(Self { weight: weight.into(), bias })
    }

    /// The last layer of a model, which no optimizer of hidden matrices may step.
    pub(crate) fn head(
        mut path: Path<'_>,
        (columns, rows): (i64, i64),
        bias: bool,
        init: Init,
    ) -> Result<Self> {
        let weight = path.parameter("weight", &[rows, columns], ParameterKind::Head, init)?;
        Ok(Self { weight: weight.into(), bias: plain_bias(path, rows, bias)? })
    }

    /// Layers that read the same input, computed as one product: `parts` are (name, rows), and
    /// `name` is what the whole is called.
    pub(crate) fn stacked(
        mut path: Path<'_>,
        form: Form,
        name: &str,
        columns: i64,
        parts: &[(&str, i64)],
        bias: bool,
        init: Init,
    ) -> Result<Self> {
        let sections: Vec<i64> = parts.iter().map(|part| part.1).collect();
        let rows = sections.iter().sum();
        if form != Form::Rows {
            let mut path = path.child(name);
            let (shape, kind) = ([rows, columns], ParameterKind::Matrix);
            let weight = match form {
                Form::Columns => path.transposed("weight", &shape, init, sections)?,
                _ => path.sectioned("weight", &shape, kind, init, sections)?,
            };
            let bias = plain_bias(path, rows, bias)?;
            return Ok(Self { weight: weight.into(), bias });
        }
        let named = |what: &str| -> Vec<(String, i64)> {
            parts.iter().map(|(part, rows)| (format!("{part}.{what}"), *rows)).collect()
        };
        let (matrix, vector) = (ParameterKind::Matrix, ParameterKind::Vector);
        let whole = format!("{name}.weight");
        let weight = path.stacked(&whole, &named("weight"), Some(columns), matrix, init)?;
        let bias = if bias {
            let whole = format!("{name}.bias");
            Some(path.stacked(&whole, &named("bias"), None, vector, Init::Zeros)?)
        } else {
            None
        };
        Ok(Self { weight: weight.into(), bias })
    }

    /// `[.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.weight.linear(input, self.bias.as_ref())
    }
}

fn plain_bias(mut path: Path<'_>, rows: i64, wanted: bool) -> Result<Option<Tensor>> {
    let mut make = || path.parameter("bias", &[rows], ParameterKind::Vector, Init::Zeros);
    wanted.then(&mut make).transpose()
}
