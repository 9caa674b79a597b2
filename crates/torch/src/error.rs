//! Failures of libtorch, from its exceptions and from tch's panics, become one error with the message kept.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What libtorch, or this crate before it, refused to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// libtorch could not have the memory it asked for, on the CPU or on a GPU.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// Any other exception of libtorch; its text.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// An argument that libtorch was not even asked about.
    #[error("{0}")]
    Argument(String),
}

/// The result of what may fail in libtorch.
pub type Result<T> = std::result::Result<T, TorchError>;

impl TorchError {
    /// Whether memory was what lacked: a smaller batch may go well.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, TorchError::OutOfMemory(_))
    }

    pub(crate) fn from_text(text: &str) -> TorchError {
        let text = first_paragraph(text);
        let lower = text.to_lowercase();
        let signs = ["out of memory", "can't allocate memory", "not enough memory", "bad_alloc"];
        if signs.iter().any(|sign| lower.contains(sign)) {
            TorchError::OutOfMemory(text)
        } else {
            TorchError::Libtorch(text)
        }
    }
}

impl From<tch::TchError> for TorchError {
    fn from(error: tch::TchError) -> TorchError {
        TorchError::from_text(&error.to_string())
    }
}

/// libtorch appends a C++ backtrace to what it says; the first lines are for people.
fn first_paragraph(text: &str) -> String {
    let marks = ["\nException raised from", "\nframe #0"];
    let end = marks.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    text[..end].trim().to_owned()
}

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; a panic in it, which is how tch reports an exception of libtorch, becomes an error that keeps the message.
/// Nothing is written to standard error for a panic of this thread while `f` runs; other threads are not affected.
///
/// ```
/// use idiolect_torch::{catch, tch::{Device, Kind, Tensor}};
/// let three = Tensor::zeros([3], (Kind::Float, Device::Cpu));
/// let error = catch(|| three.reshape([2, 2])).unwrap_err();
/// assert!(error.to_string().contains("shape '[2, 2]' is invalid"));
/// ```
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T> {
    silence_hook();
    let before = SILENT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    SILENT.set(before);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        TorchError::from_text(&message_in(text.unwrap_or("panic without a message")))
    })
}

/// The hook stays in place for good and asks the thread, so that threads do not race to swap hooks.
fn silence_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                previous(info);
            }
        }));
    });
}

/// tch unwraps: the text of libtorch lies, escaped, inside ``called `Result::unwrap()` on an `Err` value: Torch("...")``.
fn message_in(text: &str) -> String {
    let Some(start) = text.find("Torch(\"") else { return text.to_owned() };
    let inner = &text[start + "Torch(\"".len()..];
    let inner = inner.strip_suffix("\")").unwrap_or(inner);
    inner.replace("\\n", "\n").replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn a_panic_of_tch_becomes_an_error() {
        let a = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let error = catch(|| a.matmul(&a)).unwrap_err();
        assert!(error.to_string().contains("mat1 and mat2 shapes cannot be multiplied"), "{error}");
        assert!(!error.to_string().contains("frame #"), "{error}");
        assert!(!error.is_out_of_memory());
    }

    #[test]
    fn what_cannot_be_allocated_is_out_of_memory() {
        let error = catch(|| Tensor::empty([1 << 46], (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(error.is_out_of_memory(), "{error}");
        assert!(!error.to_string().contains("frame #"), "{error}");
    }

    #[test]
    fn a_plain_panic_keeps_its_message_and_nesting_works() {
        let result: Result<()> = catch(|| {
            let inner = catch(|| panic!("inner")).unwrap_err();
            panic!("outer after {inner}")
        });
        assert_eq!(result.unwrap_err().to_string(), "libtorch: outer after libtorch: inner");
    }
}
