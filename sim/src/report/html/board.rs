//! The page of the seeded bugs.

use super::{begin, end, head, section};
use crate::mutants::{Board, Row};
use crate::report::catch_in_words;
use crate::report::markup::{count, escape};

/// The whole page.
pub(in crate::report) fn render(board: &Board) -> String {
    let caught = board.rows.iter().filter(|row| row.is_caught()).count();
    let badge =
        if board.is_proven() { ("pass", "every bug caught") } else { ("fail", "not proven") };
    let mut page = begin(&format!("Seeded bugs · {caught} of {} caught", board.rows.len()));
    let medians: Vec<u64> = board.rows.iter().filter_map(Row::median).collect();
    let slowest = medians.iter().max().map_or_else(|| "–".to_owned(), |seeds| count(*seeds));
    let facts = [
        ("Bugs", count(board.rows.len() as u64)),
        ("Caught", count(caught as u64)),
        ("Hardest: seeds", slowest),
        ("Runs without a bug", count(board.control_runs())),
        ("Failures in them", count(board.control_failures().count() as u64)),
    ];
    let lead = "Each bug is put into the programs by itself, and seeds are played until the \
                property that it must violate is violated. Each such run is played again without \
                the bug, and counts only where the property holds then.";
    page.push_str(&head("Seeded bugs", badge, lead, &facts, "cargo ci mutants"));
    page.push_str(&rows(board));
    if board.control_failures().next().is_some() {
        let items: String = board
            .control_failures()
            .map(|failure| format!("<tr class=\"failed\"><td>{}</td></tr>\n", escape(failure)))
            .collect();
        let note = "These failed although no bug was in the programs: a defect, or a false alarm.";
        page.push_str(&section("Without a bug", note, &format!("<table>\n{items}</table>\n")));
    }
    page.push_str(&end(
        "A normal build holds none of these bugs: they exist under one compiler flag.",
    ));
    page
}

fn rows(board: &Board) -> String {
    let most = board.rows.iter().filter_map(Row::median).max().unwrap_or(1).max(1) as f64;
    let mut body = String::new();
    for row in &board.rows {
        let (class, mark) = if row.is_caught() { ("pass", "✓") } else { ("fail", "✗") };
        let failed = if row.is_caught() { "" } else { " class=\"failed\"" };
        let width = row.median().map_or(0.0, |seeds| (seeds as f64 / most).sqrt() * 100.0);
        let example = row.trials.iter().flatten().next().map_or_else(String::new, |caught| {
            let detail = escape(&caught.failure.detail);
            format!("<code title=\"{detail}\">{}@{}</code>", caught.seed, escape(&caught.scenario))
        });
        let missed = if row.is_caught() {
            String::new()
        } else {
            format!("<br><span class=\"soft fail\">{}</span>", escape(&catch_in_words(row)))
        };
        body.push_str(&format!(
            "<tr{failed}><td class=\"mark {class}\">{mark}</td>\
             <td><code>{}</code><br><span class=\"soft\">{}</span>{missed}</td><td><code>{}</code></td>\
             <td class=\"num\">{}</td><td class=\"seeds\"><span class=\"fill\" \
             style=\"width:{width:.1}%\"></span></td><td>{example}</td></tr>\n",
            escape(&row.mutant),
            escape(&row.doc),
            escape(&row.property),
            if row.is_caught() { row.median().map_or_else(String::new, count) } else { "–".to_owned() }
        ));
    }
    let table = format!(
        "<div class=\"scroll\"><table>\n<tr><th></th><th class=\"wide\">bug</th><th>property that caught it</th>\
         <th class=\"num\">seeds</th><th></th><th>for one, in</th></tr>\n{body}</table></div>\n"
    );
    let note = "Seeds: the median over the trials of how many were played until it was caught; \
                the bar is on a square-root scale. Hovering over a run shows what was seen in it.";
    section("Board", note, &table)
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    #[test]
    fn a_board_is_a_page() {
        sample::snapshot("board-html", &render(&sample::board()));
        let empty = render(&Board::default());
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }
}
