//! What a walk under load was to show, and whether it did.

use std::fmt;

/// One thing that was to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What must hold.
    pub what: &'static str,
    /// The figures behind it.
    pub figures: String,
    /// Whether it holds.
    pub holds: bool,
}

/// Everything that was to be shown, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a row.
    pub(super) fn add(&mut self, what: &'static str, holds: bool, figures: impl Into<String>) {
        self.0.push(Finding { what, figures: figures.into(), holds });
    }

    /// Whether all of it was shown.
    pub fn all_hold(&self) -> bool {
        self.0.iter().all(|finding| finding.holds)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.what.len()).max().unwrap_or_default();
        for Finding { what, figures, holds } in &self.0 {
            let mark = if *holds { "ok  " } else { "FAIL" };
            writeln!(f, "{mark} {what:<width$}  {figures}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_holds_and_what_does_not() {
        let mut findings = Findings::default();
        findings.add("short", true, "1 of 1");
        assert!(findings.all_hold());
        findings.add("a longer one", false, "3 of 4");
        assert!(!findings.all_hold());
        let expected = "ok   short         1 of 1\nFAIL a longer one  3 of 4\n";
        assert_eq!(findings.to_string(), expected);
    }
}
