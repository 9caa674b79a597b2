//! The border to the C++ of `cpp/`: declarations, and for each a function that is safe to call.
//!
//! Sound because every C++ function catches its exceptions and hands back text, reads tensors only through pointers
//! that Rust references keep alive for the call, and gives new tensors as `new at::Tensor`, which `Tensor` owns.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{Result, TorchError};

type Text = *mut c_char;
type Pointers = *const *const C_tensor;

unsafe extern "C" {
    fn idiolect_free(text: Text);
    fn idiolect_set_grad_enabled(enabled: bool) -> bool;
    fn idiolect_autocast_begin(
        device: c_int,
        dtype: c_int,
        enabled: bool,
        was_enabled: *mut bool,
        was_dtype: *mut c_int,
    ) -> Text;
    fn idiolect_autocast_end(device: c_int, was_enabled: bool, was_dtype: c_int) -> Text;
    fn idiolect_seed(device: c_int, index: c_int, seed: i64) -> Text;
    fn idiolect_generator_state(device: c_int, index: c_int, state: *mut *mut C_tensor) -> Text;
    fn idiolect_set_generator_state(device: c_int, index: c_int, state: *const C_tensor) -> Text;
    fn idiolect_deterministic(deterministic: bool) -> Text;
    fn idiolect_has_cuda() -> bool;
    fn idiolect_version() -> *const c_char;
    fn idiolect_cuda_peak(index: c_int, reset: bool, peak: *mut u64) -> Text;
    fn idiolect_onednn_is_preferred() -> bool;
    fn idiolect_product(a: *const C_tensor, b: *const C_tensor, output: *mut *mut C_tensor)
    -> Text;
    fn idiolect_linear(
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        output: *mut *mut C_tensor,
    ) -> Text;
    fn idiolect_squared_relu(input: *const C_tensor, output: *mut *mut C_tensor) -> Text;
    fn idiolect_rms_norm(
        input: *const C_tensor,
        weight: *const C_tensor,
        epsilon: f64,
        output: *mut *mut C_tensor,
    ) -> Text;
    fn idiolect_split_heads(
        input: *const C_tensor,
        extras: Pointers,
        n_queries: i64,
        n_keys: i64,
        epsilon: f64,
        outputs: *mut *mut C_tensor,
    ) -> Text;
    fn idiolect_gelu(input: *const C_tensor, output: *mut *mut C_tensor) -> Text;
    fn idiolect_embedding(
        weight: *const C_tensor,
        ids: *const C_tensor,
        output: *mut *mut C_tensor,
    ) -> Text;
    fn idiolect_linear_cross_entropy(
        hidden: *const C_tensor,
        weight: *const C_tensor,
        labels: *const C_tensor,
        softcap: f64,
        chunk: i64,
        output: *mut *mut C_tensor,
    ) -> Text;
    fn idiolect_grad_norm(parameters: Pointers, count: i64, norm: *mut *mut C_tensor) -> Text;
    fn idiolect_scale_grads(parameters: Pointers, count: i64, factor: *const C_tensor) -> Text;
    fn idiolect_zero_grad(parameters: Pointers, count: i64) -> Text;
    fn idiolect_adamw(
        parameters: Pointers,
        averages: Pointers,
        squares: Pointers,
        steps: Pointers,
        count: i64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
        divisor: *const C_tensor,
    ) -> Text;
    fn idiolect_muon(
        parameters: Pointers,
        momenta: Pointers,
        count: i64,
        sections: *const i64,
        counts: *const i64,
        learning_rate: f64,
        momentum: f64,
        weight_decay: f64,
        newton_schulz_steps: i64,
        nesterov: bool,
        bf16: bool,
    ) -> Text;
}

pub(crate) fn check(text: Text) -> Result<()> {
    if text.is_null() {
        return Ok(());
    }
    // SAFETY: text is a NUL-terminated string that the glue allocated for us; copied, then freed once.
    let message = unsafe {
        let message = CStr::from_ptr(text).to_string_lossy().into_owned();
        idiolect_free(text);
        message
    };
    Err(TorchError::from_text(&message))
}

/// Takes the tensor that a glue function gave through its last argument.
pub(crate) fn take(call: impl FnOnce(*mut *mut C_tensor) -> Text) -> Result<Tensor> {
    let mut output = ptr::null_mut();
    check(call(&mut output))?;
    // SAFETY: without an error the glue has set `output` to a `new at::Tensor`, which is ours alone.
    Ok(unsafe { Tensor::from_ptr(output) })
}

fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

pub(crate) fn optional(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(ptr::null(), Tensor::as_ptr)
}

/// c10::DeviceType and index; -1 is the current GPU's index nowhere needed, so a plain 0 stands for it.
fn device_code(device: Device) -> Result<(c_int, c_int)> {
    match device {
        Device::Cpu => Ok((0, -1)),
        Device::Cuda(index) => Ok((1, index as c_int)),
        Device::Mps => Ok((13, 0)),
        other => Err(TorchError::Argument(format!("device {other:?} is not supported"))),
    }
}

pub(crate) fn set_grad_enabled(enabled: bool) -> bool {
    // SAFETY: sets a flag of this thread.
    unsafe { idiolect_set_grad_enabled(enabled) }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct AutocastState {
    enabled: bool,
    dtype: c_int,
}

pub(crate) fn autocast_begin(device: Device, dtype: Kind) -> Result<AutocastState> {
    // The numbers are c10::ScalarType's.
    let (narrow, dtype) = match dtype {
        Kind::BFloat16 => (true, 15),
        Kind::Half => (true, 5),
        Kind::Float => (false, 6),
        other => return Err(TorchError::Argument(format!("autocast to {other:?} has no meaning"))),
    };
    let mut state = AutocastState { enabled: false, dtype: 0 };
    let (code, _) = device_code(device)?;
    // SAFETY: sets flags of this thread and writes the two that were, to valid places.
    check(unsafe {
        let (enabled, dtype_was) = (&mut state.enabled, &mut state.dtype);
        idiolect_autocast_begin(code, dtype, narrow, enabled, dtype_was)
    })?;
    Ok(state)
}

pub(crate) fn autocast_end(device: Device, before: AutocastState) {
    let Ok((code, _)) = device_code(device) else { return };
    // SAFETY: sets flags of this thread. It cannot fail where autocast_begin went well.
    let _ = check(unsafe { idiolect_autocast_end(code, before.enabled, before.dtype) });
}

pub(crate) fn generator_seed(device: Device, seed: i64) -> Result<()> {
    let (kind, index) = device_code(device)?;
    // SAFETY: plain numbers; the generator's mutex is taken inside.
    check(unsafe { idiolect_seed(kind, index, seed) })
}

pub(crate) fn generator_state(device: Device) -> Result<Tensor> {
    let (kind, index) = device_code(device)?;
    // SAFETY: see `take`; the generator's mutex is taken inside.
    take(|state| unsafe { idiolect_generator_state(kind, index, state) })
}

pub(crate) fn set_generator_state(device: Device, state: &Tensor) -> Result<()> {
    let (kind, index) = device_code(device)?;
    // SAFETY: the tensor lives through the call; libtorch checks its size and content.
    check(unsafe { idiolect_set_generator_state(kind, index, state.as_ptr()) })
}

pub(crate) fn deterministic(deterministic: bool) -> Result<()> {
    // SAFETY: sets flags of the process.
    check(unsafe { idiolect_deterministic(deterministic) })
}

pub(crate) fn has_cuda() -> bool {
    // SAFETY: asks only.
    unsafe { idiolect_has_cuda() }
}

pub(crate) fn version() -> String {
    // SAFETY: a string constant of the glue.
    unsafe { CStr::from_ptr(idiolect_version()) }.to_string_lossy().into_owned()
}

pub(crate) fn cuda_peak(index: usize, reset: bool) -> Result<u64> {
    let mut peak = 0;
    // SAFETY: writes one number to a valid place.
    check(unsafe { idiolect_cuda_peak(index as c_int, reset, &mut peak) })?;
    Ok(peak)
}

pub(crate) fn onednn_is_preferred() -> bool {
    // SAFETY: asks the processor and the list of operators.
    unsafe { idiolect_onednn_is_preferred() }
}

pub(crate) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    // SAFETY: both live through the call; see `take`.
    take(|output| unsafe { idiolect_product(a.as_ptr(), b.as_ptr(), output) })
}

pub(crate) fn linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    // SAFETY: all live through the call; what the graph keeps are counted references; see `take`.
    take(|output| unsafe {
        idiolect_linear(input.as_ptr(), weight.as_ptr(), optional(bias), output)
    })
}

pub(crate) fn gelu(input: &Tensor) -> Result<Tensor> {
    // SAFETY: it lives through the call; see `take`.
    take(|output| unsafe { idiolect_gelu(input.as_ptr(), output) })
}

pub(crate) fn squared_relu(input: &Tensor) -> Result<Tensor> {
    // SAFETY: it lives through the call; see `take`.
    take(|output| unsafe { idiolect_squared_relu(input.as_ptr(), output) })
}

pub(crate) fn rms_norm(input: &Tensor, weight: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    // SAFETY: both live through the call; the shapes are checked inside; see `take`.
    take(|output| unsafe { idiolect_rms_norm(input.as_ptr(), optional(weight), epsilon, output) })
}

pub(crate) fn split_heads(
    input: &Tensor,
    extras: [Option<&Tensor>; 4],
    (n_queries, n_keys): (i64, i64),
    epsilon: f64,
) -> Result<[Tensor; 3]> {
    let extras = extras.map(optional);
    let mut parts = [ptr::null_mut(); 3];
    // SAFETY: all live through the call, which reads four pointers and writes three; the shapes are checked inside.
    check(unsafe {
        let (extras, parts) = (extras.as_ptr(), parts.as_mut_ptr());
        idiolect_split_heads(input.as_ptr(), extras, n_queries, n_keys, epsilon, parts)
    })?;
    // SAFETY: without an error each of them is a `new at::Tensor`, which is ours alone.
    Ok(parts.map(|part| unsafe { Tensor::from_ptr(part) }))
}

pub(crate) fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    // SAFETY: both live through the call; ids are checked against the table inside; see `take`.
    take(|output| unsafe { idiolect_embedding(weight.as_ptr(), ids.as_ptr(), output) })
}

pub(crate) fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    labels: &Tensor,
    softcap: f64,
    chunk: i64,
) -> Result<Tensor> {
    let (hidden, weight, labels) = (hidden.as_ptr(), weight.as_ptr(), labels.as_ptr());
    // SAFETY: all live through the call; shapes and labels are checked inside; see `take`.
    take(|output| unsafe {
        idiolect_linear_cross_entropy(hidden, weight, labels, softcap, chunk, output)
    })
}

pub(crate) fn grad_norm(parameters: &[Tensor]) -> Result<Tensor> {
    let list = pointers(parameters);
    // SAFETY: the list and its tensors live through the call; see `take`.
    take(|norm| unsafe { idiolect_grad_norm(list.as_ptr(), list.len() as i64, norm) })
}

pub(crate) fn scale_grads(parameters: &[Tensor], factor: &Tensor) -> Result<()> {
    let list = pointers(parameters);
    // SAFETY: the list and its tensors live through the call.
    check(unsafe { idiolect_scale_grads(list.as_ptr(), list.len() as i64, factor.as_ptr()) })
}

pub(crate) fn zero_grad(parameters: &[Tensor]) -> Result<()> {
    let list = pointers(parameters);
    // SAFETY: the list and its tensors live through the call.
    check(unsafe { idiolect_zero_grad(list.as_ptr(), list.len() as i64) })
}

/// The tensors of one AdamW, index by index.
pub(crate) struct AdamWTensors<'a> {
    pub parameters: &'a [Tensor],
    pub averages: &'a [Tensor],
    pub squares: &'a [Tensor],
    pub steps: &'a [Tensor],
}

pub(crate) fn adamw(
    tensors: &AdamWTensors,
    learning_rate: f64,
    config: &crate::AdamWConfig,
    divisor: Option<&Tensor>,
) -> Result<()> {
    let [parameters, averages, squares, steps] =
        [tensors.parameters, tensors.averages, tensors.squares, tensors.steps].map(pointers);
    debug_assert!(averages.len() == parameters.len() && squares.len() == parameters.len());
    // SAFETY: four lists of one length (AdamW makes them so) whose tensors live through the call.
    check(unsafe {
        idiolect_adamw(
            parameters.as_ptr(),
            averages.as_ptr(),
            squares.as_ptr(),
            steps.as_ptr(),
            parameters.len() as i64,
            learning_rate,
            config.beta1,
            config.beta2,
            config.epsilon,
            config.weight_decay,
            optional(divisor),
        )
    })
}

pub(crate) fn muon(
    parameters: &[Tensor],
    momenta: &[Tensor],
    sections: &[Vec<i64>],
    learning_rate: f64,
    config: &crate::MuonConfig,
) -> Result<()> {
    let (weights, buffers) = (pointers(parameters), pointers(momenta));
    let counts: Vec<i64> = sections.iter().map(|rows| rows.len() as i64).collect();
    let rows = sections.concat();
    assert!(weights.len() == buffers.len() && weights.len() == counts.len());
    // SAFETY: lists of one length of matrices that live through the call; `rows` holds as many numbers as `counts` sum to.
    check(unsafe {
        idiolect_muon(
            weights.as_ptr(),
            buffers.as_ptr(),
            weights.len() as i64,
            rows.as_ptr(),
            counts.as_ptr(),
            learning_rate,
            config.momentum,
            config.weight_decay,
            config.newton_schulz_steps,
            config.nesterov,
            config.bf16,
        )
    })
}
