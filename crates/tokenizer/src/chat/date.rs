//! The date a template may ask for: a civil time in, text by Python's `strftime` out.

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;

use crate::{Error, Result};

/// What `strftime_now` tells a template: a day and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(DateTime);

impl Date {
    /// The local time.
    pub fn now() -> Self {
        Self(Zoned::now().datetime())
    }

    /// Reads `2026-11-25` (midnight) or `2026-11-25T13:05:00`.
    pub fn parse(text: &str) -> Result<Self> {
        let chat = |_| Error::Chat { what: format!("{text:?} is not a date like 2026-11-25") };
        text.parse().map(Self).map_err(chat)
    }

    /// The date by a format of `strftime`; `None` where the format is not one.
    pub(super) fn format(self, format: &str) -> Option<String> {
        // Python leaves a lone percent sign at the end as it is.
        let lone = format.ends_with('%') && !format.ends_with("%%");
        let whole = if lone { &format[..format.len() - 1] } else { format };
        let mut text = BrokenDownTime::from(self.0).to_string(whole).ok()?;
        text.push_str(if lone { "%" } else { "" });
        Some(text)
    }
}
