//! The board of seeded bugs in words.

use crate::mutants::{Board, Row};

/// The board for people at a terminal.
pub fn board_in_words(board: &Board) -> String {
    let width = |field: fn(&Row) -> &str| board.rows.iter().map(|row| field(row).len()).max();
    let names = width(|row| &row.mutant).unwrap_or(0);
    let properties = width(|row| &row.property).unwrap_or(0);
    let mut text = String::new();
    for row in &board.rows {
        let mark = if row.is_caught() { "✓" } else { "✗" };
        let (name, property) = (&row.mutant, &row.property);
        let caught = catch_in_words(row);
        text.push_str(&format!("  {mark} {name:<names$}  {property:<properties$}  {caught}\n"));
    }
    for failure in board.control_failures() {
        text.push_str(&format!("  ✗ without any bug: {failure}\n"));
    }
    let verdict = if board.is_proven() { "PASS" } else { "FAIL" };
    let caught = board.rows.iter().filter(|row| row.is_caught()).count();
    text.push_str(&format!(
        "{verdict} mutants: {caught} of {} bugs caught, {} failures in the {} runs that were played \
         again without a bug",
        board.rows.len(),
        board.control_failures().count(),
        board.control_runs()
    ));
    text
}

/// How a bug was caught.
pub fn catch_in_words(row: &Row) -> String {
    match (row.is_caught(), row.median()) {
        (true, Some(1)) => "at the first seed".to_owned(),
        (true, Some(seeds)) => format!("after {seeds} seeds"),
        _ => {
            let missed = row.trials.iter().filter(|trial| trial.is_none()).count();
            let others: Vec<&str> = row.others.keys().map(String::as_str).collect();
            let others = match others.as_slice() {
                [] => String::new(),
                others => format!("; violated instead: {}", others.join(", ")),
            };
            format!("MISSED in {missed} of {} trials{others}", row.trials.len())
        }
    }
}

/// The board for the summary of a step.
pub fn board_in_markdown(board: &Board) -> String {
    let mark = if board.is_proven() { "✅" } else { "❌" };
    let caught = board.rows.iter().filter(|row| row.is_caught()).count();
    let mut text = format!("### {mark} {caught} of {} seeded bugs caught\n\n", board.rows.len());
    text.push_str("| | bug | property | caught |\n|---|---|---|---|\n");
    for row in &board.rows {
        let mark = if row.is_caught() { "✓" } else { "✗" };
        let caught = catch_in_words(row);
        text.push_str(&format!("| {mark} | {} | {} | {caught} |\n", row.mutant, row.property));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_board_reads_in_words() {
        let board = sample::board();
        let text = format!("{}\n\n{}", board_in_words(&board), board_in_markdown(&board));
        sample::snapshot("board-words", &text);
    }
}
