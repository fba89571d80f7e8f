//! The page that leads to all others.

use super::{begin, end, head, section};
use crate::report::markup::{count, escape};
use crate::report::pages::{Line, Pages};

/// The whole page.
pub(in crate::report) fn render(pages: &Pages) -> String {
    let failed = pages.runs.iter().chain(&pages.others).filter(|line| !line.passed).count();
    let words = format!("{failed} failed");
    let badge = if failed == 0 { ("pass", "nothing failed") } else { ("fail", words.as_str()) };
    let facts = [
        ("Runs", count(pages.runs.len() as u64)),
        ("Sweeps and boards", count(pages.others.len() as u64)),
    ];
    let lead = "Each run of a scenario, each sweep over seeds, and the seeded bugs.";
    let mut page = begin(&format!("Reports · {}", badge.1));
    page.push_str(&head("Reports", badge, lead, &facts, "cargo sim report"));
    page.push_str(&lines("Sweeps and seeded bugs", &pages.others));
    page.push_str(&lines("Runs", &pages.runs));
    page.push_str(&end("Each page stands alone and may be sent on by itself."));
    page
}

fn lines(title: &str, lines: &[Line]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let rows: String = lines
        .iter()
        .map(|line| {
            let (class, mark) = if line.passed { ("pass", "✓") } else { ("fail", "✗") };
            let failed = if line.passed { "" } else { " class=\"failed\"" };
            format!(
                "<tr{failed}><td class=\"mark {class}\">{mark}</td><td class=\"kind\">\
                 <a href=\"{}\">{}</a></td><td class=\"detail\">{}</td></tr>\n",
                escape(&line.link),
                escape(&line.name),
                escape(&line.detail)
            )
        })
        .collect();
    section(title, "", &format!("<div class=\"scroll\"><table>\n{rows}</table></div>\n"))
}
