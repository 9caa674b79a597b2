//! Weights in fewer bits: parameters go in as they are read, packed matrices come out, and the model runs on those.

use crate::gpt::Gpt;
use crate::{Parameter, ParameterKind, Result};
use idiolect_torch::{BlockFormat, NoGrad, PackedMatrix, TorchError, packable};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How many bits a weight gets when a decoder is loaded for inference on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantize {
    /// 8.5 bits: blocks of 32 with a scale, as llama.cpp's Q8_0.
    Int8,
    /// 5 bits: blocks of 32 with a scale and a minimum, as llama.cpp's Q4_1. Tables of ids and heads keep 8.5, as
    /// they do there.
    Int4,
}

impl Quantize {
    /// The format of a matrix of this kind.
    fn format(self, kind: ParameterKind) -> BlockFormat {
        match (self, kind) {
            (Self::Int4, ParameterKind::Matrix) => BlockFormat::Q4_1,
            _ => BlockFormat::Q8_0,
        }
    }

    /// Whether a parameter of this kind may keep blocks of a format that a file has it in.
    pub(crate) fn takes(self, kind: ParameterKind, format: BlockFormat) -> bool {
        let is_four = matches!(format, BlockFormat::Q4_0 | BlockFormat::Q4_1);
        format == self.format(kind) || (self == Self::Int4 && is_four)
    }

    /// The parameter packed, or nothing where it stays as it is: vectors, and rows that blocks of 32 do not divide.
    pub(crate) fn pack(self, parameter: &Parameter) -> Result<Option<PackedMatrix>> {
        match parameter.tensor.size()[..] {
            [_, columns] if packable(columns) => {
                let format = self.format(parameter.kind);
                Ok(Some(PackedMatrix::quantise(format, &parameter.tensor)?))
            }
            _ => Ok(None),
        }
    }
}

/// Has `fill` read each parameter of `gpt`, or hand it back packed where it may be; then the model computes with what was
/// packed. The memory of a packed parameter is given back at once.
pub(crate) fn fill_packed(
    gpt: &mut Gpt,
    fill: &mut dyn FnMut(&Parameter, bool) -> Result<Option<PackedMatrix>>,
) -> Result<()> {
    let _guard = NoGrad::new();
    let parameters = gpt.take_parameters();
    let address = |tensor: &Tensor| tensor.data_ptr();
    // Which parameter each weight is, while their memory still tells.
    let of_weight = |dense: &Tensor| {
        parameters.iter().position(|parameter| address(&parameter.tensor) == address(dense))
    };
    let places: Vec<_> = gpt.weights().iter().map(|weight| of_weight(&weight.dense)).collect();
    let mut packed: Vec<Option<PackedMatrix>> = Vec::with_capacity(parameters.len());
    for (index, parameter) in parameters.iter().enumerate() {
        let may_be_packed = places.contains(&Some(index));
        let matrix = fill(parameter, may_be_packed)?.filter(|_| may_be_packed);
        if matrix.is_some() {
            let empty = Tensor::empty([0], (parameter.tensor.kind(), parameter.tensor.device()));
            let freed = parameter.tensor.shallow_clone().f_set_data(&empty);
            freed.map_err(TorchError::from)?;
        }
        packed.push(matrix);
    }
    for (weight, place) in gpt.weights().into_iter().zip(places) {
        let matrix = place.and_then(|index| packed[index].as_ref());
        weight.packed = matrix.map(PackedMatrix::shallow_clone);
    }
    let kept = parameters.into_iter().zip(&packed).filter(|(_, packed)| packed.is_none());
    gpt.set_parameters(kept.map(|(parameter, _)| parameter).collect());
    gpt.fuse()
}
