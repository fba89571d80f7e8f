//! What GitHub Actions shows of a run: annotations, and the summary of a step.
#![allow(clippy::disallowed_methods)] // The file that GitHub names.

use std::io::Write as _;
use std::path::PathBuf;

use super::{Broken, Judged, fail_lines};
use crate::bugs::Bug;

/// Where GitHub Actions listens; nowhere outside of it.
#[derive(Debug, Default)]
pub struct GitHub {
    is_listening: bool,
    summary: Option<PathBuf>,
}

/// An error that GitHub shows beside the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// What failed.
    pub title: String,
    /// How, and how to see it again.
    pub text: String,
}

impl Annotation {
    /// The annotation of a bug.
    pub fn of(bug: &Bug) -> Self {
        let title =
            format!("{} in {} seed {}", bug.failure.property, bug.scenario, bug.expanded.seed);
        Self { title, text: format!("{}\n{}", bug.line(), bug.failure.detail) }
    }

    /// The workflow command that makes it.
    fn command(&self) -> String {
        format!("::error title={}::{}", in_property(&self.title), in_text(&self.text))
    }
}

impl GitHub {
    /// As the environment of this process says.
    pub fn of_this_process() -> Self {
        let is_listening = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from);
        Self { is_listening, summary: summary.filter(|_| is_listening) }
    }

    /// Shows an error beside the change.
    pub fn annotate(&self, annotation: &Annotation) {
        if self.is_listening {
            // Nobody listens any more: nobody is told.
            let _ = writeln!(std::io::stdout(), "{}", annotation.command());
        }
    }

    /// Shows what failed in a run.
    pub fn annotate_run(&self, run: &Judged) {
        let name = &run.report.header.scenario;
        for text in fail_lines(&run.report) {
            self.annotate(&Annotation { title: format!("{name} failed"), text });
        }
        if run.golden.is_failure() {
            let text = format!("golden {}; see `sim golden diff {name}`", run.golden);
            self.annotate(&Annotation { title: format!("the golden of {name}"), text });
        }
    }

    /// Shows why a scenario could not be played.
    pub fn annotate_broken(&self, broken: &Broken) {
        let title = format!("{} cannot be played", broken.scenario);
        self.annotate(&Annotation { title, text: broken.error.clone() });
    }

    /// Adds Markdown to the summary of the step.
    ///
    /// # Errors
    /// If the file that GitHub names cannot be written.
    pub fn summarise(&self, markdown: &str) -> std::io::Result<()> {
        let Some(path) = &self.summary else { return Ok(()) };
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{markdown}")
    }
}

/// Runs for the summary of a step: how many, those that failed, and what could not be played.
pub fn runs_in_markdown(runs: &[Judged], broken: &[Broken]) -> String {
    let failed: Vec<&Judged> = runs.iter().filter(|run| !run.passed()).collect();
    let mark = if failed.is_empty() && broken.is_empty() { "✅" } else { "❌" };
    let unplayed = match broken.len() {
        0 => String::new(),
        count => format!(", {count} could not be played"),
    };
    let (all, failures) = (runs.len() + broken.len(), failed.len());
    let mut text = format!("### {mark} {all} scenarios, {failures} failed{unplayed}\n");
    for Broken { scenario, error } in broken {
        text.push_str(&format!("\n**{scenario}** cannot be played\n"));
        for line in error.lines() {
            text.push_str(&format!("\n    {line}"));
        }
        text.push('\n');
    }
    for run in failed {
        text.push_str(&format!("\n**{}**: golden {}\n", run.report.header.scenario, run.golden));
        for line in fail_lines(&run.report) {
            text.push_str(&format!("\n    {line}\n"));
        }
    }
    text
}

/// Text of a workflow command: one line, whatever is in it.
fn in_text(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command, which also ends at colons and commas.
fn in_property(text: &str) -> String {
    in_text(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::golden::Check;
    use super::super::sample;
    use super::*;

    #[test]
    fn a_command_is_one_line_that_nothing_in_it_ends() {
        let annotation =
            Annotation { title: "closed:x, y".to_owned(), text: "50 %\nreplay".to_owned() };
        assert_eq!(annotation.command(), "::error title=closed%3Ax%2C y::50 %25%0Areplay");
    }

    #[test]
    fn runs_are_summed_up_with_what_failed() {
        let judged = |report| Judged { report, golden: Check::Same };
        let runs = [judged(sample::passing()), judged(sample::failing())];
        let text = runs_in_markdown(&runs, &[]);
        assert!(text.starts_with("### ❌ 2 scenarios, 1 failed"), "{text}");
        assert!(text.contains("    FAIL share_join t=41.207s seed=77"), "{text}");
        assert!(runs_in_markdown(&runs[..1], &[]).contains("✅ 1 scenarios, 0 failed"));
        let broken = Broken { scenario: "smoke".to_owned(), error: "no\nnode".to_owned() };
        let text = runs_in_markdown(&runs[..1], &[broken]);
        assert!(
            text.starts_with("### ❌ 2 scenarios, 0 failed, 1 could not be played\n"),
            "{text}"
        );
        assert!(text.contains("**smoke** cannot be played\n\n    no\n    node\n"), "{text}");
    }

    #[test]
    fn summaries_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        let github = GitHub { is_listening: true, summary: Some(path.clone()) };
        github.summarise("one").unwrap();
        github.summarise("two").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
        GitHub::default().summarise("nowhere").unwrap();
    }
}
