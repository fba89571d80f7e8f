//! The report as one HTML file: no script, no font, no image beside it.

pub(crate) mod axis;
mod board;
mod index;
mod latency;
mod series;
mod sweep;
mod tables;
mod timeline;

use super::markup::{count, escape, seconds};
use super::model::{Report, Verdict};
use super::replay_command;
pub(super) use board::render as render_board;
pub(super) use index::render as render_index;
pub(super) use sweep::render as render_sweep;
pub(super) use timeline::bands;

/// Colours repeat after so many curves.
const COLOURS: usize = 6;

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let header = &report.header;
    let mut page =
        begin(&format!("{} · seed {} · {}", header.scenario, header.seed, badge(report).1));
    page.push_str(&heading(report));
    page.push_str(&tables::properties(report));
    let bands = bands(report);
    page.push_str(&timeline::section(report, &bands));
    page.push_str(&latency::section(report));
    page.push_str(&tables::shares(&report.shares));
    page.push_str(&series::section(report, &bands));
    page.push_str(&tables::codes(report));
    page.push_str(&tables::parameters(report));
    page.push_str(&end(&format!(
        "Times are virtual: they count from the start of the run. Schema {}.",
        report.header.schema
    )));
    page
}

/// Everything above the first heading of a page.
fn begin(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        escape(title),
        include_str!("style.css")
    )
}

/// Everything below the last section of a page.
fn end(footer: &str) -> String {
    format!("<footer>{footer}</footer>\n</main>\n</body>\n</html>\n")
}

/// A page's heading: what it is about, how it went, a sentence, figures, and a command.
fn head(
    title: &str,
    badge: (&str, &str),
    lead: &str,
    facts: &[(&str, String)],
    command: &str,
) -> String {
    let facts: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"))
        .collect();
    let (class, judgement) = badge;
    format!(
        "<header>\n<div class=\"top\"><h1>{}</h1><span class=\"badge {class}\">{judgement}</span></div>\n\
         <p class=\"lead\">{}</p>\n<dl class=\"facts\">\n{facts}</dl>\n\
         <code class=\"replay\">{}</code>\n</header>\n",
        escape(title),
        escape(lead),
        escape(command)
    )
}

/// The class and the text of the overall judgement.
fn badge(report: &Report) -> (&'static str, String) {
    let of =
        |outcome| report.properties.iter().filter(|property| property.outcome == outcome).count();
    match (of(Verdict::Fail), of(Verdict::NotExercised)) {
        (0, 0) => ("pass", "passed".to_owned()),
        (0, idle) => ("pass", format!("passed, {idle} not exercised")),
        (failed, _) => ("fail", format!("{failed} failed")),
    }
}

fn heading(report: &Report) -> String {
    let header = &report.header;
    let (class, judgement) = badge(report);
    let node = match (header.node.kind.as_str(), header.node.version.as_str()) {
        ("", "") => "any".to_owned(),
        (kind, "") => kind.to_owned(),
        (kind, version) => format!("{kind}, {version}"),
    };
    let facts = [
        ("Seed", header.seed.to_string()),
        ("Node", escape(&node)),
        ("Virtual time", seconds(header.duration_ms)),
        ("Shares", count(report.shares.submitted)),
        ("Scenario file", digest(&header.scenario_sha256)),
        ("Trace", digest(&report.trace_digest)),
    ];
    head(&header.scenario, (class, &judgement), &header.doc, &facts, &replay_command(report))
}

/// The start of a digest, the whole of it on hovering.
fn digest(hex: &str) -> String {
    let short: String = hex.chars().take(12).collect();
    format!("<code title=\"{}\">{}</code>", escape(hex), escape(&short))
}

/// A headed part of the page.
pub(crate) fn section(title: &str, note: &str, body: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p class=\"note\">{note}</p>\n{body}</section>\n")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_page_shows_the_whole_report() {
        sample::snapshot("report-html", &render(&sample::failing()));
    }

    #[test]
    fn a_page_stands_alone() {
        let page = render(&sample::failing());
        for outside in ["http://", "https://", "<script", "src=", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn texts_cannot_become_markup() {
        let mut report = sample::passing();
        report.header.doc = "<script>alert(1)</script>".to_owned();
        report.timeline[0].text = "<u>".to_owned();
        report.reason_codes.insert("<q>".to_owned(), 1);
        let page = render(&report);
        assert!(!page.contains("<script") && !page.contains("<u>") && !page.contains("<q>"));
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let page = render(&sample::empty());
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
