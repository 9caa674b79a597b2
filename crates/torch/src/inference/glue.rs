//! The border to `cpp/inference`: declarations, and for each a function that is safe to call.
//!
//! Sound because sizes are checked by the callers in this module's siblings before a pointer crosses, and because
//! every pointer points into a slice or a tensor that lives through the call, or that a [`RawDecoder`]'s owner keeps.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::Result;
use crate::glue::{check, optional, take};

/// A matrix as the C++ reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct MatrixParts {
    pub(super) format: i32,
    pub(super) rows: i64,
    pub(super) columns: i64,
    pub(super) data: *const u8,
}

/// A layer as the C++ reads it.
#[repr(C)]
pub(super) struct BlockParts {
    pub(super) qkv: MatrixParts,
    pub(super) out: MatrixParts,
    pub(super) gate_up: MatrixParts,
    pub(super) down: MatrixParts,
    pub(super) vectors: [*const f32; 8],
    pub(super) scale: f64,
    pub(super) softcap: f64,
    pub(super) window: i64,
    pub(super) local: bool,
}

/// What all layers share.
#[repr(C)]
pub(super) struct SizesParts {
    pub(super) width: i64,
    pub(super) n_heads: i64,
    pub(super) n_kv_heads: i64,
    pub(super) head_dim: i64,
    pub(super) inner: i64,
    pub(super) epsilon: f64,
    pub(super) gate: i32,
}

/// One call of a decoder.
#[repr(C)]
pub(super) struct CallParts {
    pub(super) n_sequences: i64,
    pub(super) length: i64,
    pub(super) starts: *const i64,
    pub(super) capacities: *const i64,
    pub(super) hidden: *mut f32,
    pub(super) angles: [*const f32; 4],
    pub(super) narrow: bool,
    pub(super) keys: *const *mut u8,
    pub(super) values: *const *mut u8,
}

/// The decoder of the C++.
#[repr(C)]
pub(super) struct RawDecoder {
    opaque: [u8; 0],
}

type Text = *mut c_char;

unsafe extern "C" {
    fn idiolect_matrix_bytes(format: i32, rows: i64, columns: i64) -> i64;
    fn idiolect_matrix_pack(
        format: i32,
        columns: i64,
        rows: *const f32,
        first: i64,
        count: i64,
        data: *mut u8,
    );
    fn idiolect_matrix_pack_blocks(
        format: i32,
        columns: i64,
        blocks: *const u8,
        row_bytes: i64,
        first: i64,
        count: i64,
        data: *mut u8,
    );
    fn idiolect_matrix_rows(
        parts: *const MatrixParts,
        ids: *const i64,
        count: i64,
        output: *mut f32,
    );
    fn idiolect_matrix_linear(
        parts: *const MatrixParts,
        input: *const C_tensor,
        bias: *const C_tensor,
        output: *mut *mut C_tensor,
    ) -> Text;
    fn idiolect_decoder_new(
        sizes: *const SizesParts,
        blocks: *const BlockParts,
        count: i64,
        decoder: *mut *mut RawDecoder,
    ) -> Text;
    fn idiolect_decoder_free(decoder: *mut RawDecoder);
    fn idiolect_decoder_run(decoder: *mut RawDecoder, parts: *const CallParts) -> Text;
    fn idiolect_products_use() -> *const c_char;
    fn idiolect_use_products(name: *const c_char) -> bool;
    fn idiolect_largest(
        logits: *const f32,
        count: i64,
        n: i64,
        indices: *mut i64,
        log_sums: *mut f64,
    );
}

pub(super) fn matrix_bytes(format: i32, rows: i64, columns: i64) -> i64 {
    // SAFETY: plain numbers.
    unsafe { idiolect_matrix_bytes(format, rows, columns) }
}

/// `values` are whole rows of `columns`; `data` is the memory of a matrix that has room for them from `first` on.
pub(super) fn pack(format: i32, columns: i64, values: &[f32], first: i64, data: *mut u8) {
    let count = values.len() as i64 / columns;
    // SAFETY: reads count * columns numbers, and writes strips that the caller has made room for.
    unsafe { idiolect_matrix_pack(format, columns, values.as_ptr(), first, count, data) }
}

/// The same of llama.cpp's blocks, `row_bytes` a row.
pub(super) fn pack_blocks(
    format: i32,
    columns: i64,
    blocks: &[u8],
    row_bytes: i64,
    first: i64,
    data: *mut u8,
) {
    let (count, blocks) = (blocks.len() as i64 / row_bytes, blocks.as_ptr());
    // SAFETY: reads count * row_bytes bytes, and writes strips that the caller has made room for.
    unsafe { idiolect_matrix_pack_blocks(format, columns, blocks, row_bytes, first, count, data) }
}

/// `ids` are below the number of rows; `output` holds a row of floats for each.
pub(super) fn rows(parts: &MatrixParts, ids: &[i64], output: &mut [f32]) {
    assert!(output.len() as i64 == ids.len() as i64 * parts.columns);
    // SAFETY: the matrix lives, ids are below its rows, and the output has room.
    unsafe { idiolect_matrix_rows(parts, ids.as_ptr(), ids.len() as i64, output.as_mut_ptr()) }
}

pub(super) fn linear(parts: &MatrixParts, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    // SAFETY: all live through the call; the caller checked that input is f32, contiguous and [n, columns].
    take(|output| unsafe { idiolect_matrix_linear(parts, input.as_ptr(), optional(bias), output) })
}

/// The matrices and vectors that `blocks` point to must live as long as the decoder.
pub(super) fn decoder_new(sizes: &SizesParts, blocks: &[BlockParts]) -> Result<*mut RawDecoder> {
    let mut decoder = ptr::null_mut();
    // SAFETY: reads the sizes and `count` layers; gives a `new Decoder`.
    check(unsafe {
        idiolect_decoder_new(sizes, blocks.as_ptr(), blocks.len() as i64, &mut decoder)
    })?;
    Ok(decoder)
}

pub(super) fn decoder_free(decoder: *mut RawDecoder) {
    // SAFETY: came from decoder_new, and its owner is being dropped.
    unsafe { idiolect_decoder_free(decoder) }
}

pub(super) fn decoder_run(decoder: *mut RawDecoder, parts: &CallParts) -> Result<()> {
    // SAFETY: the decoder lives and is used by one thread (it is not Sync); the caller checked all sizes.
    check(unsafe { idiolect_decoder_run(decoder, parts) })
}

pub(super) fn products_use() -> String {
    // SAFETY: a string constant of the C++.
    unsafe { CStr::from_ptr(idiolect_products_use()) }.to_string_lossy().into_owned()
}

pub(super) fn use_products(name: &str) -> bool {
    // SAFETY: a NUL-terminated string that lives through the call.
    CString::new(name).is_ok_and(|name| unsafe { idiolect_use_products(name.as_ptr()) })
}

/// `logits` is f32, contiguous, on the CPU and `[N, V]`, V above 0.
pub(super) fn largest(logits: &Tensor) -> Vec<(usize, f64)> {
    let size = logits.size();
    let (mut indices, mut sums) = (vec![0; size[0] as usize], vec![0.0; size[0] as usize]);
    let (indices_to, sums_to) = (indices.as_mut_ptr(), sums.as_mut_ptr());
    // SAFETY: reads N rows of V numbers, and writes N of each.
    unsafe {
        let logits = logits.data_ptr().cast_const().cast();
        idiolect_largest(logits, size[0], size[1], indices_to, sums_to);
    }
    indices.into_iter().map(|index: i64| index as usize).zip(sums).collect()
}
