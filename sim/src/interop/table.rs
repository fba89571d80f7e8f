//! What a run with other people's programs came to.

use std::fmt;

/// One thing that was to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The program and how it was set up.
    pub trial: String,
    /// What was to be shown.
    pub check: &'static str,
    /// What was seen, or what was wrong.
    pub outcome: Result<String, String>,
}

/// All of it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// Whether everything was shown, and there was something to show.
    pub fn holds(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.outcome.is_ok())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |text: fn(&Row) -> &str| {
            self.rows.iter().map(|row| text(row).len()).max().unwrap_or_default()
        };
        let (trials, checks) = (widest(|row| &row.trial), widest(|row| row.check));
        for Row { trial, check, outcome } in &self.rows {
            let (word, told) = match outcome {
                Ok(told) => ("ok  ", told),
                Err(told) => ("FAIL", told),
            };
            writeln!(f, "{word} {trial:trials$}  {check:checks$}  {told}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_when_every_row_does_and_there_is_one() {
        let row = |outcome| Row { trial: "device".into(), check: "shares", outcome };
        assert!(!Table::default().holds());
        let good = Table { rows: vec![row(Ok("12".into()))] };
        assert!(good.holds());
        assert_eq!(good.to_string(), "ok   device  shares  12\n");
        let bad = Table { rows: vec![row(Ok("12".into())), row(Err("none".into()))] };
        assert!(!bad.holds());
        assert!(bad.to_string().ends_with("FAIL device  shares  none\n"));
    }
}
