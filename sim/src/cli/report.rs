//! `sim report` and `sim trace`: what is made of a run that was kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::{root, say};
use crate::report::model::Report;
use crate::report::{self, Pages};

/// Options of `sim report`.
#[derive(Args)]
pub(super) struct ReportArgs {
    /// The folder of the reports; default: `reports` in the source tree
    #[arg(value_name = "DIR")]
    reports: Option<PathBuf>,
}

/// Options of `sim trace`.
#[derive(Args)]
pub(super) struct TraceArgs {
    /// The `report.json` of a run, or its folder
    run: PathBuf,
    /// As a trace for https://ui.perfetto.dev
    #[arg(long, required = true)]
    perfetto: bool,
    /// Where it goes; default: `perfetto.json` beside the report
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Draws every page anew from its data, and one that leads to all of them.
pub(super) fn run(args: &ReportArgs) -> Result<u8> {
    let folder = args.reports.clone().unwrap_or_else(|| root().join("reports"));
    let mut pages = Pages::default();
    let mut found = Vec::new();
    find(&folder, 3, &mut found)?;
    found.sort_unstable();
    for path in found {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let link = path.strip_prefix(&folder).unwrap_or(&path).to_owned();
        pages.add(&path, &link, &text).with_context(|| path.display().to_string())?;
    }
    let index = pages.write(&folder).context("index.html")?;
    say(index.display());
    Ok(0)
}

/// Data of pages below a folder.
fn find(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && depth > 0 {
            find(&path, depth - 1, found)?;
        } else if path.file_name().is_some_and(|name| Pages::DATA.iter().any(|data| name == *data))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Writes a run as a trace.
pub(super) fn trace(args: &TraceArgs) -> Result<u8> {
    let path = if args.run.is_dir() { args.run.join("report.json") } else { args.run.clone() };
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let run: Report = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let output = args.output.clone().unwrap_or_else(|| path.with_file_name("perfetto.json"));
    std::fs::write(&output, report::perfetto::trace(&run))
        .with_context(|| output.display().to_string())?;
    say(output.display());
    Ok(0)
}
