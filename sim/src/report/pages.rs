//! Every page of a folder, drawn anew from its data, and one that leads to them.

use std::io;
use std::path::{Path, PathBuf};

use super::model::Report;
use super::{files, html};
use crate::mutants::Board;
use crate::sweep::Summary;

/// What the index tells of the pages below it.
#[derive(Debug, Default)]
pub struct Pages {
    pub(super) runs: Vec<Line>,
    pub(super) others: Vec<Line>,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) link: String,
    pub(super) name: String,
    pub(super) detail: String,
    pub(super) passed: bool,
}

impl Pages {
    /// The files that pages are drawn from.
    pub const DATA: [&'static str; 3] = ["report.json", "sweep.json", "mutants.json"];

    /// Draws the page of this data, which lies at `link` below the index.
    ///
    /// # Errors
    /// If it is no such data, or the page cannot be written.
    pub fn add(&mut self, path: &Path, link: &Path, text: &str) -> io::Result<()> {
        let page = path.with_extension("html");
        let link = link.with_extension("html").display().to_string();
        let (line, drawn) = match path.file_name().and_then(|name| name.to_str()) {
            Some("sweep.json") => {
                let summary: Summary = serde_json::from_str(text)?;
                let (runs, failed) = (summary.runs, summary.failed);
                let name = format!("Sweep of {}", summary.of);
                let detail = format!("{runs} seeds, {failed} failed");
                (Line { link, name, detail, passed: failed == 0 }, html::render_sweep(&summary))
            }
            Some("mutants.json") => {
                let board: Board = serde_json::from_str(text)?;
                let caught = board.rows.iter().filter(|row| row.is_caught()).count();
                let detail = format!("{caught} of {} caught", board.rows.len());
                let (name, passed) = ("Seeded bugs".to_owned(), board.is_proven());
                (Line { link, name, detail, passed }, html::render_board(&board))
            }
            _ => {
                let report: Report = serde_json::from_str(text)?;
                let line = Self::line_of(&report, link);
                self.runs.push(line);
                return files::write(&page, &html::render(&report));
            }
        };
        self.others.push(line);
        files::write(&page, &drawn)
    }

    fn line_of(report: &Report, link: String) -> Line {
        let failure = report.first_failure();
        let header = &report.header;
        Line {
            link,
            name: format!("{} seed {}", header.scenario, header.seed),
            detail: failure.map_or_else(
                || header.doc.clone(),
                |property| format!("{}: {}", property.name, property.detail),
            ),
            passed: failure.is_none(),
        }
    }

    /// Writes the index. Returns its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join("index.html");
        files::write(&path, &html::render_index(self))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{json, sample, write_sweep};
    use super::*;

    #[test]
    fn pages_are_drawn_anew_and_found_from_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_sweep(&folder.join("sweep"), &sample::sweep()).unwrap();
        let mut pages = Pages::default();
        let data = folder.join("sweep/sweep.json");
        let text = files::read(&data).unwrap();
        pages.add(&data, Path::new("sweep/sweep.json"), &text).unwrap();
        let run = folder.join("smoke/1/report.json");
        pages.add(&run, Path::new("smoke/1/report.json"), &json(&sample::failing())).unwrap();
        let index = files::read(&pages.write(folder).unwrap()).unwrap();
        assert!(index.contains("href=\"sweep/sweep.html\""), "{index}");
        assert!(index.contains("href=\"smoke/1/report.html\""), "{index}");
        assert!(files::read(&run.with_extension("html")).unwrap().contains("1 failed"));
        assert!(pages.add(&data, Path::new("x"), "{}").is_err());
    }
}
