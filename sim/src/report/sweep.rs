//! A sweep in words, for a terminal and for the summary of a step.

use super::markup::count;
use crate::sweep::{FailedRun, Summary};

/// So many failing runs are listed; the page has all of them.
const LISTED: usize = 20;

/// A sweep for people at a terminal.
pub fn sweep_in_words(summary: &Summary) -> String {
    let verdict = if summary.failed == 0 { "PASS" } else { "FAIL" };
    let mut text = format!(
        "{verdict} sweep of {}: {} seeds in {:.1} s ({:.1} seeds/s on {}), {} of them \
         stormy, {} failed\n",
        summary.of,
        count(summary.runs),
        summary.seconds,
        rate(summary),
        threads(summary),
        count(summary.storms),
        count(summary.failed)
    );
    text.push_str(&format!(
        "  {} shares, {} blocks, {} reason codes, {} verdict codes, {} kinds of faults",
        count(summary.shares.submitted),
        count(summary.shares.blocks),
        summary.reason_codes.len(),
        summary.verdict_codes.len(),
        summary.faults.len()
    ));
    text
}

/// A sweep for the summary of a step; `again` bugs of the bug base failed again.
pub fn sweep_in_markdown(summary: &Summary, again: u64) -> String {
    let mark = if summary.failed + again == 0 { "✅" } else { "❌" };
    let mut text = format!(
        "### {mark} Sweep of {}\n\n{} seeds in {:.0} s ({:.1} a second), {} stormy, **{} failed**; \
         {again} known bugs fail again.\n",
        summary.of,
        summary.runs,
        summary.seconds,
        rate(summary),
        summary.storms,
        summary.failed
    );
    if summary.failures.is_empty() {
        return text;
    }
    text.push_str("\n```\n");
    for FailedRun { line, .. } in summary.failures.iter().take(LISTED) {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str("```\n");
    text
}

/// How many threads played.
pub(super) fn threads(summary: &Summary) -> String {
    match summary.jobs {
        1 => "1 thread".to_owned(),
        jobs => format!("{jobs} threads"),
    }
}

/// Seeds a second.
pub(super) fn rate(summary: &Summary) -> f64 {
    summary.runs as f64 / summary.seconds.max(0.001)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_sweep_reads_in_words() {
        let summary = sample::sweep();
        let text = format!("{}\n\n{}", sweep_in_words(&summary), sweep_in_markdown(&summary, 1));
        sample::snapshot("sweep-words", &text);
    }
}
