//! A weight matrix in few bits: rows of floats, or llama.cpp's blocks, in; products and rows out.

use tch::{Device, Kind, Tensor};

use super::glue::{self, MatrixParts};
use crate::error::{Result, TorchError, catch};

/// Columns that share a scale.
const BLOCK: i64 = 32;

/// How a block of 32 weights is stored, as llama.cpp's types of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFormat {
    /// 8 bits and an f16 scale: 8.5 bits a weight.
    Q8_0,
    /// 4 bits and an f16 scale: 4.5 bits a weight.
    Q4_0,
    /// 4 bits, an f16 scale and an f16 minimum: 5 bits a weight.
    Q4_1,
}

impl BlockFormat {
    /// Bytes of a block of 32 in a GGUF file.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::Q8_0 => 2,
            Self::Q4_0 => 3,
            Self::Q4_1 => 4,
        }
    }
}

/// Whether rows of so many columns can be stored in blocks.
pub fn packable(columns: i64) -> bool {
    columns > 0 && columns % BLOCK == 0
}

/// `[rows, columns]` in few bits, laid out for the products here; its memory is libtorch's.
#[derive(Debug)]
pub struct PackedMatrix {
    format: BlockFormat,
    rows: i64,
    columns: i64,
    data: Tensor,
}

impl PackedMatrix {
    /// Rows that lie interleaved: what is put in at once begins at a multiple of it.
    pub const STRIP: i64 = 16;

    /// All zeros; `columns` must be a multiple of 32.
    pub fn zeros(format: BlockFormat, rows: i64, columns: i64) -> Result<Self> {
        if !packable(columns) || rows < 1 {
            let text = format!("a matrix [{rows}, {columns}] does not divide into blocks of 32");
            return Err(TorchError::Argument(text));
        }
        let bytes = glue::matrix_bytes(format.code(), rows, columns);
        let data = Tensor::f_zeros([bytes], (Kind::Uint8, Device::Cpu))?;
        Ok(Self { format, rows, columns, data })
    }

    /// Rounds the weights `[rows, columns]` to the nearest of what each block can hold.
    ///
    /// ```
    /// use idiolect_torch::tch::{Device, Kind, Tensor};
    /// use idiolect_torch::{BlockFormat, PackedMatrix};
    /// let weight = Tensor::randn([48, 64], (Kind::Float, Device::Cpu));
    /// let packed = PackedMatrix::quantise(BlockFormat::Q8_0, &weight)?;
    /// assert!((packed.dequantise()? - &weight).abs().max().double_value(&[]) < 0.03);
    /// let input = Tensor::randn([3, 64], (Kind::Float, Device::Cpu));
    /// assert_eq!(packed.linear(&input, None)?.size(), [3, 48]);
    /// # Ok::<(), idiolect_torch::TorchError>(())
    /// ```
    pub fn quantise(format: BlockFormat, weight: &Tensor) -> Result<Self> {
        let size = weight.size();
        let [rows, columns] = size[..] else {
            return Err(TorchError::Argument(format!("{size:?} is no matrix")));
        };
        let mut packed = Self::zeros(format, rows, columns)?;
        // A few hundred rows at a time, so that a narrow matrix is never there whole in f32.
        let step = 1024;
        for first in (0..rows).step_by(step as usize) {
            packed.set_rows(first, &weight.f_narrow(0, first, step.min(rows - first))?)?;
        }
        Ok(packed)
    }

    /// Rounds the weights `[count, columns]` into the rows from `first` on, a multiple of 16; `count` must be one too
    /// unless they are the last.
    pub fn set_rows(&mut self, first: i64, weight: &Tensor) -> Result<()> {
        let size = weight.size();
        self.check_rows(first, size[0])?;
        if size[1..] != [self.columns] {
            let text = format!("rows {size:?} do not fit [{}, {}]", self.rows, self.columns);
            return Err(TorchError::Argument(text));
        }
        let values = catch(|| {
            let flat = weight.detach().to_kind(Kind::Float).to_device(Device::Cpu).flatten(0, -1);
            Vec::<f32>::try_from(flat)
        })??;
        glue::pack(self.format.code(), self.columns, &values, first, self.pointer());
        Ok(())
    }

    /// Takes rows of a GGUF tensor of the same format as they are; the rows as in [`set_rows`](Self::set_rows).
    pub fn set_blocks(&mut self, first: i64, blocks: &[u8]) -> Result<()> {
        let row_bytes = self.columns / BLOCK * self.format.block_bytes() as i64;
        if blocks.is_empty() || blocks.len() as i64 % row_bytes != 0 {
            let text = format!("{} bytes are no rows of {row_bytes}", blocks.len());
            return Err(TorchError::Argument(text));
        }
        self.check_rows(first, blocks.len() as i64 / row_bytes)?;
        let (code, columns, data) = (self.format.code(), self.columns, self.pointer());
        glue::pack_blocks(code, columns, blocks, row_bytes, first, data);
        Ok(())
    }

    fn check_rows(&self, first: i64, count: i64) -> Result<()> {
        let end = first + count;
        let whole = first % Self::STRIP == 0 && (count % Self::STRIP == 0 || end == self.rows);
        if first < 0 || count < 1 || end > self.rows || !whole {
            let text = format!("rows {first} to {end} are no strips of {} rows", self.rows);
            return Err(TorchError::Argument(text));
        }
        Ok(())
    }

    /// `[rows, columns]`.
    pub fn size(&self) -> [i64; 2] {
        [self.rows, self.columns]
    }

    /// How it is stored.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.data.numel()
    }

    /// `input · selfᵀ + bias`: `[.., columns]` to `[.., rows]`, in the kind of the input. The input is rounded to 8 bits
    /// for each 32 numbers; each row of it gives the same bits whatever the others are.
    pub fn linear(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let size = input.size();
        if size.last() != Some(&self.columns) {
            let text = format!("linear: input {size:?} and weight {:?} do not fit", self.size());
            return Err(TorchError::Argument(text));
        }
        let kind = input.kind();
        let flat = input.f_detach()?.f_to_kind(Kind::Float)?.f_reshape([-1, self.columns])?;
        let bias = bias.map(|bias| bias.f_to_kind(Kind::Float)).transpose()?;
        let output = glue::linear(&self.parts(), &flat.f_contiguous()?, bias.as_ref())?;
        let shape: Vec<i64> = size[..size.len() - 1].iter().copied().chain([self.rows]).collect();
        Ok(output.f_to_kind(kind)?.f_reshape(shape)?)
    }

    /// Rows by `ids` `[..]`, Int64: `[.., columns]` in f32.
    pub fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        let flat = Vec::<i64>::try_from(ids.f_flatten(0, -1)?)?;
        if let Some(id) = flat.iter().find(|&&id| !(0..self.rows).contains(&id)) {
            return Err(TorchError::Argument(format!("row {id} of {}", self.rows)));
        }
        let mut values = vec![0.0; flat.len() * self.columns as usize];
        glue::rows(&self.parts(), &flat, &mut values);
        let shape: Vec<i64> = ids.size().into_iter().chain([self.columns]).collect();
        Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?)
    }

    /// All weights as f32.
    pub fn dequantise(&self) -> Result<Tensor> {
        self.rows(&Tensor::f_arange(self.rows, (Kind::Int64, Device::Cpu))?)
    }

    pub(super) fn parts(&self) -> MatrixParts {
        let data = self.pointer();
        MatrixParts { format: self.format.code(), rows: self.rows, columns: self.columns, data }
    }

    /// Another hold on the same memory.
    pub fn shallow_clone(&self) -> Self {
        Self { data: self.data.shallow_clone(), ..*self }
    }

    pub(super) fn memory(&self) -> &Tensor {
        &self.data
    }

    fn pointer(&self) -> *mut u8 {
        self.data.data_ptr().cast()
    }
}
