//! A run's outcome for people at a terminal.

use std::path::Path;

use super::golden::Check;
use super::markup::{count, duration, seconds};
use super::model::{Latency, Report, Verdict};
use super::{Judged, fail_lines};
use crate::sweep::Failure;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

#[derive(Clone, Copy)]
enum Ink {
    Green,
    Red,
    Yellow,
    Dim,
    Bold,
}

impl Style {
    /// Coloured where `is_terminal` and nobody has set `NO_COLOR` (<https://no-color.org>) to
    /// anything.
    pub fn new(is_terminal: bool, no_color: Option<&str>) -> Self {
        Self { colour: is_terminal && no_color.is_none_or(str::is_empty) }
    }

    /// Never coloured.
    pub fn plain() -> Self {
        Self { colour: false }
    }

    fn paint(self, ink: Ink, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Green => "32",
            Ink::Red => "1;31",
            Ink::Yellow => "33",
            Ink::Dim => "2",
            Ink::Bold => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// The whole outcome: what ran, its properties, percentiles, golden and where the report lies.
/// The lines that tell of failures come last.
pub fn render(run: &Judged, html: &Path, style: Style) -> String {
    let report = &run.report;
    let mut text = heading(report, style);
    text.push_str(&properties(report, style));
    if !report.latencies.is_empty() {
        text.push_str(&latencies(report, style));
    }
    text.push_str(&format!("\n  golden  {}\n", golden(&run.golden, style)));
    if let Check::Different(diff) = &run.golden {
        for line in diff.to_string().lines() {
            text.push_str(&format!("    {}\n", diff_line(line, style)));
        }
    }
    text.push_str(&format!("  report  {}\n\n", html.display()));
    for line in fail_lines(report) {
        text.push_str(&style.paint(Ink::Red, &line));
        text.push('\n');
    }
    text.push_str(&summary(run, style));
    text
}

/// How long before a failure its timeline begins.
const BEFORE_MS: u64 = 10_000;
/// How long after it ends.
const AFTER_MS: u64 = 1_000;
/// So many of the last observations before it are shown.
const LAST_SEEN: usize = 12;
/// An observation is cut off after so many letters.
const WIDTH: usize = 160;

/// What led to a failure: the timeline around it, and what was seen last.
pub fn around(report: &Report, trace: &[String], failure: &Failure, style: Style) -> String {
    let Some(at) = failure.at_ms else { return String::new() };
    let mut text = format!("\n{}\n", style.paint(Ink::Dim, "  what led to it"));
    let mut told = false;
    let near = |t_ms: u64| t_ms + BEFORE_MS >= at && t_ms <= at + AFTER_MS;
    let violation = style.paint(
        Ink::Red,
        &format!("  {:>10}  {:<8} {}: {}", seconds(at), "FAIL", failure.property, failure.detail),
    );
    for entry in report.timeline.iter().filter(|entry| near(entry.t_ms)) {
        if entry.t_ms > at && !told {
            told = true;
            text.push_str(&format!("{violation}\n"));
        }
        let (t, kind) = (seconds(entry.t_ms), entry.kind.as_str());
        text.push_str(&format!("  {t:>10}  {kind:<8} {}\n", entry.text));
    }
    if !told {
        text.push_str(&format!("{violation}\n"));
    }
    text.push_str(&format!("\n{}\n", style.paint(Ink::Dim, "  what was seen last")));
    let end = trace.partition_point(|line| time_of(line).is_none_or(|ms| ms <= at));
    for line in &trace[end.saturating_sub(LAST_SEEN)..end] {
        let mut line: String = line.chars().take(WIDTH + 1).collect();
        if line.chars().count() > WIDTH {
            line = line.chars().take(WIDTH - 1).chain(['…']).collect();
        }
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// The virtual milliseconds that a line of a trace begins with.
fn time_of(line: &str) -> Option<u64> {
    let (seconds, micros) = line.split_once(' ')?.0.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1000 + micros.get(..3)?.parse::<u64>().ok()?)
}

/// One line for a run among many.
pub fn line(run: &Judged, style: Style) -> String {
    let mark =
        if run.passed() { style.paint(Ink::Green, "PASS") } else { style.paint(Ink::Red, "FAIL") };
    let header = &run.report.header;
    let failed = failed(&run.report);
    let why = match (failed, run.golden.is_failure()) {
        (0, false) => String::new(),
        (0, true) => format!("  golden {}", run.golden),
        (1, _) => "  one property failed".to_owned(),
        (count, _) => format!("  {count} properties failed"),
    };
    format!(
        "{mark} {:<32} seed {:<6} {:>10}{}",
        header.scenario,
        header.seed,
        seconds(header.duration_ms),
        why
    )
}

fn heading(report: &Report, style: Style) -> String {
    let header = &report.header;
    let node = [header.node.kind.as_str(), header.node.version.as_str()];
    let node: Vec<&str> = node.into_iter().filter(|part| !part.is_empty()).collect();
    format!(
        "{}  {}\n  {}\n\n",
        style.paint(Ink::Bold, &header.scenario),
        style.paint(
            Ink::Dim,
            &format!(
                "seed {} · {} · {} virtual",
                header.seed,
                if node.is_empty() { "any node".to_owned() } else { node.join(", ") },
                seconds(header.duration_ms)
            )
        ),
        header.doc
    )
}

fn properties(report: &Report, style: Style) -> String {
    let width = report.properties.iter().map(|property| property.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for property in &report.properties {
        let mark = match property.outcome {
            Verdict::Pass => style.paint(Ink::Green, "✓"),
            Verdict::Fail => style.paint(Ink::Red, "✗"),
            Verdict::NotExercised => style.paint(Ink::Yellow, "–"),
        };
        let kind = style.paint(Ink::Dim, &format!("{:<10}", property.kind.as_str()));
        text.push_str(&format!("  {mark} {kind} {:<width$}  {}\n", property.name, property.detail));
    }
    text
}

fn latencies(report: &Report, style: Style) -> String {
    let width = report.latencies.keys().map(String::len).max().unwrap_or(0).max(7);
    let heading = format!(
        "  {:<width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "latency", "count", "p50", "p90", "p95", "p99", "max"
    );
    let mut text = format!("\n{}\n", style.paint(Ink::Dim, &heading));
    for (name, latency) in &report.latencies {
        let Latency { p50, p90, p95, p99, max, .. } = *latency;
        text.push_str(&format!("  {name:<width$} {:>9}", count(latency.count)));
        for value in [p50, p90, p95, p99, max] {
            let shown = if latency.count == 0 { "–".to_owned() } else { duration(value) };
            text.push_str(&format!(" {shown:>9}"));
        }
        text.push('\n');
    }
    text
}

fn golden(check: &Check, style: Style) -> String {
    match check {
        Check::Same => style.paint(Ink::Green, "same"),
        Check::OtherSeed { .. } | Check::NotChecked => style.paint(Ink::Dim, &check.to_string()),
        Check::Missing(_) | Check::Different(_) => style.paint(Ink::Red, &check.to_string()),
    }
}

fn diff_line(line: &str, style: Style) -> String {
    match line.as_bytes().first() {
        Some(b'-') => style.paint(Ink::Red, line),
        Some(b'+') => style.paint(Ink::Green, line),
        _ => line.to_owned(),
    }
}

fn summary(run: &Judged, style: Style) -> String {
    let total = run.report.properties.len();
    let failed = failed(&run.report);
    let held = run.report.properties.iter().filter(|p| p.outcome == Verdict::Pass).count();
    let idle = total - held - failed;
    let mut parts = vec![format!("{held} of {total} properties hold")];
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if idle > 0 {
        parts.push(format!("{idle} not exercised"));
    }
    if run.golden.is_failure() {
        parts.push("the golden differs".to_owned());
    }
    let (ink, word) = if run.passed() { (Ink::Green, "PASS") } else { (Ink::Red, "FAIL") };
    format!("{} {}: {}\n", style.paint(ink, word), run.report.header.scenario, parts.join(", "))
}

fn failed(report: &Report) -> usize {
    report.properties.iter().filter(|property| property.outcome == Verdict::Fail).count()
}

#[cfg(test)]
mod tests {
    use super::super::{golden, sample};
    use super::*;

    const HTML: &str = "reports/prevhash-verifier-dark/77/report.html";

    #[test]
    fn an_outcome_reads_from_top_to_bottom() {
        let run = Judged { report: sample::passing(), golden: Check::Same };
        let text = render(&run, Path::new(HTML), Style::plain());
        sample::snapshot("terminal-pass", &format!("{text}{}\n", line(&run, Style::plain())));
    }

    #[test]
    fn failures_come_last() {
        let golden = Check::Different(golden::diff(
            &serde_json::json!({ "header": { "seed": 77 } }),
            &serde_json::json!({ "header": { "seed": 78 } }),
        ));
        let run = Judged { report: sample::failing(), golden };
        let text = render(&run, Path::new(HTML), Style::plain());
        sample::snapshot("terminal-fail", &format!("{text}{}\n", line(&run, Style::plain())));
    }

    #[test]
    fn what_led_to_a_failure_is_shown_with_the_failure_in_its_place() {
        let report = sample::failing();
        let failure = Failure::first(&report).unwrap();
        let trace: Vec<String> =
            (30..60).map(|s| format!("{s}.500000 miner 3 acked {s}")).collect();
        let text = around(&report, &trace, &failure, Style::plain());
        sample::snapshot("terminal-around", &text);
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        let run = Judged { report: sample::failing(), golden: Check::NotChecked };
        let escape = '\u{1b}';
        let coloured = |style| render(&run, Path::new(HTML), style).contains(escape);
        assert!(coloured(Style::new(true, None)));
        assert!(coloured(Style::new(true, Some(""))));
        assert!(!coloured(Style::new(false, None)));
        assert!(!coloured(Style::new(true, Some("1"))));
    }
}
