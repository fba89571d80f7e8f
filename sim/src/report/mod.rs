//! What a run came to, and how it is shown and compared.
//!
//! [`write()`] puts a run's files into a directory, [`golden`] holds a report against what is
//! expected, [`terminal`] and [`junit`] tell people and machines, and [`progress`] shows how far
//! the runs are.

mod board;
pub mod coverage;
mod files;
pub mod github;
pub mod golden;
pub(crate) mod html;
pub mod junit;
pub(crate) mod markup;
pub mod model;
mod pages;
pub mod perfetto;
pub mod progress;
mod sweep;
pub mod terminal;

#[cfg(test)]
mod sample;

use std::io;
use std::path::{Path, PathBuf};

pub use board::{board_in_markdown, board_in_words, catch_in_words};
use model::{Property, Report, TimelineKind, Verdict};
pub use pages::Pages;
pub use sweep::{sweep_in_markdown, sweep_in_words};

use crate::mutants::Board;
use crate::sweep::Summary;

/// A run's report together with what its golden says.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The report.
    pub report: Report,
    /// How it compares to the golden.
    pub golden: golden::Check,
}

/// A scenario whose run says nothing: the harness or its configuration is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The scenario.
    pub scenario: String,
    /// What kept it from being played.
    pub error: String,
}

impl Judged {
    /// Whether no property failed and the golden, where there is one for this seed, agrees.
    pub fn passed(&self) -> bool {
        self.report.first_failure().is_none() && !self.golden.is_failure()
    }
}

/// Writes `report.json`, `report.html`, `perfetto.json` and `events.ndjson` into `directory`, which
/// is made where it does not exist. `events` are the gateway's event lines. Returns the path of the HTML file.
pub fn write(directory: &Path, report: &Report, events: &[String]) -> io::Result<PathBuf> {
    let html = directory.join("report.html");
    files::write(&directory.join("report.json"), &json(report))?;
    files::write(&html, &html::render(report))?;
    files::write(&directory.join("perfetto.json"), &perfetto::trace(report))?;
    let mut lines = events.join("\n");
    if !lines.is_empty() {
        lines.push('\n');
    }
    files::write(&directory.join("events.ndjson"), &lines)?;
    Ok(html)
}

/// Writes `sweep.json` and `sweep.html` into `directory`. Returns the path of the HTML file.
pub fn write_sweep(directory: &Path, summary: &Summary) -> io::Result<PathBuf> {
    let value = serde_json::to_value(summary).expect("a summary has text keys and finite numbers");
    files::write(&directory.join("sweep.json"), &markup::canonical_json(value))?;
    let html = directory.join("sweep.html");
    files::write(&html, &html::render_sweep(summary))?;
    Ok(html)
}

/// Writes `mutants.json` and `mutants.html` into `directory`. Returns the path of the HTML file.
pub fn write_board(directory: &Path, board: &Board) -> io::Result<PathBuf> {
    let value = serde_json::to_value(board).expect("a board has text keys");
    files::write(&directory.join("mutants.json"), &markup::canonical_json(value))?;
    let html = directory.join("mutants.html");
    files::write(&html, &html::render_board(board))?;
    Ok(html)
}

/// The whole report as canonical JSON: sorted keys, two spaces, a newline at the end.
pub fn json(report: &Report) -> String {
    let value = serde_json::to_value(report).expect("a report has text keys and finite numbers");
    markup::canonical_json(value)
}

/// The command that runs this very run again.
pub fn replay_command(report: &Report) -> String {
    let header = &report.header;
    if header.parameters.contains_key(crate::sweep::STORM) {
        return format!("cargo sim replay {}@{}", header.seed, header.scenario);
    }
    let node = match header.node.kind.as_str() {
        "" => String::new(),
        kind => format!(" --node {kind}"),
    };
    format!("cargo sim run {} --seed {}{node}", header.scenario, header.seed)
}

/// One line for each property that failed, each with the command that shows it again.
pub fn fail_lines(report: &Report) -> Vec<String> {
    let faults = report.timeline.iter().filter(|entry| entry.kind == TimelineKind::Fault).count();
    report
        .properties
        .iter()
        .filter(|property| property.outcome == Verdict::Fail)
        .map(|property| {
            format!(
                "FAIL {}{} seed={} faults={faults}  replay: {}",
                property.name,
                at(property),
                report.header.seed,
                replay_command(report)
            )
        })
        .collect()
}

fn at(property: &Property) -> String {
    property.at_ms.map_or_else(String::new, |ms| format!(" t={}", markup::seconds(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_its_replay_command() {
        assert_eq!(
            fail_lines(&sample::failing()),
            ["FAIL share_join t=41.207s seed=77 faults=2  \
              replay: cargo sim run prevhash-verifier-dark --seed 77 --node replay"]
        );
        assert!(fail_lines(&sample::passing()).is_empty());
        let mut stormy = sample::failing();
        stormy.header.parameters.insert(crate::sweep::STORM.to_owned(), "storm".to_owned());
        let line = &fail_lines(&stormy)[0];
        assert!(line.ends_with("replay: cargo sim replay 77@prevhash-verifier-dark"), "{line}");
    }

    #[test]
    fn a_run_leaves_three_files_that_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("prevhash/77");
        let events = ["{\"seq\":1}".to_owned(), "{\"seq\":2}".to_owned()];
        let html = write(&directory, &sample::failing(), &events).unwrap();
        assert!(files::read(&html).unwrap().starts_with("<!doctype html>"));
        let json = files::read(&directory.join("report.json")).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), sample::failing());
        let lines = files::read(&directory.join("events.ndjson")).unwrap();
        assert_eq!(lines, "{\"seq\":1}\n{\"seq\":2}\n");
    }
}
