//! `idiolect data`: a run file in; clean documents and a report of what was dropped and why out.

use std::path::Path;

use anyhow::{Context, Result};
use idiolect_dataset::{Report, Side};

use super::{DONE, stages};
use crate::arguments::{Common, Data};
use crate::machine;
use crate::output::Output;
use crate::run_file::RunFile;

/// Runs one of the data commands.
pub fn run(command: &Data, common: &Common, output: Output) -> Result<u8> {
    machine::set_threads(common)?;
    let report = match command {
        Data::Prepare(run) => stages::documents(&RunFile::read(run, common)?)?.report,
        Data::Report { dir } => {
            let in_run = dir.join("data");
            let folder = if in_run.join(FILE).is_file() { &in_run } else { dir };
            read_report(folder)?
        }
    };
    output.result(&report, for_people)?;
    Ok(DONE)
}

const FILE: &str = "report.json";

/// The report that `data prepare` left in a folder.
pub fn read_report(folder: &Path) -> Result<Report> {
    Report::read(folder).context("no report of `data prepare`")
}

fn for_people(report: &Report) -> String {
    let side = |name: &str, side: &Side| {
        format!(
            "{name:12} {} documents, {} characters, {} bytes",
            side.documents, side.characters, side.bytes
        )
    };
    let mut lines = vec![
        format!(
            "read         {} documents from {} files, {} bytes",
            report.documents, report.files, report.bytes
        ),
        format!("dropped      {}", report.dropped_documents()),
    ];
    lines.extend(report.dropped.iter().map(|(reason, count)| format!("  {count} {reason}")));
    lines.push(format!("changed      {}", report.changed));
    lines.push(side("training", &report.train));
    lines.push(side("validation", &report.validation));
    lines.join("\n")
}
