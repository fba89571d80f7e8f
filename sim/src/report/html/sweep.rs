//! The page of a sweep.

use std::collections::BTreeMap;

use gateway_core::reason::ReasonCode;
use verifier_protocol::VerdictCode;

use super::{begin, end, head, section, tables};
use crate::report::markup::{count, escape};
use crate::report::sweep::rate;
use crate::sweep::Summary;

/// The plan of a failure is folded where it has more steps.
const SHOWN_STEPS: usize = 12;

/// The whole page.
pub(in crate::report) fn render(summary: &Summary) -> String {
    let failed = format!("{} failed", summary.failed);
    let badge =
        if summary.failed == 0 { ("pass", "nothing failed") } else { ("fail", failed.as_str()) };
    let mut page = begin(&format!("Sweep of {} · {}", summary.of, badge.1));
    let days = summary.virtual_seconds / 3600.0;
    let facts = [
        ("Seeds", count(summary.runs)),
        ("Stormy", count(summary.storms)),
        ("Seeds a second", format!("{:.1}", rate(summary))),
        ("Wall time", format!("{:.0} s on {} threads", summary.seconds, summary.jobs)),
        ("Virtual time", format!("{days:.1} h")),
        ("Shares", count(summary.shares.submitted)),
    ];
    let lead = "Each seed decides the miners, the links, the workload and the faults of one run. \
                A stormy seed adds faults of drawn families to those of its scenario.";
    let last = summary.first_seed + summary.runs;
    let command = format!("sim sweep {} --seeds {}..{last}", summary.of, summary.first_seed);
    page.push_str(&head(&format!("Sweep of {}", summary.of), badge, lead, &facts, &command));
    page.push_str(&failures(summary));
    page.push_str(&properties(summary));
    page.push_str(&matrix(summary));
    page.push_str(&faults(summary));
    page.push_str(&tables::shares(&summary.shares));
    page.push_str(&verdicts(summary));
    page.push_str(&end(
        "A run of a sweep is played again with <code>sim replay SEED@SCENARIO</code>.",
    ));
    page
}

fn failures(summary: &Summary) -> String {
    if summary.failures.is_empty() {
        return String::new();
    }
    let mut body = String::new();
    for run in &summary.failures {
        let steps: String =
            run.steps.iter().map(|step| format!("<li>{}</li>", escape(step))).collect();
        let steps = format!("<ol class=\"steps\">{steps}</ol>");
        let steps = match run.steps.len() {
            ..=SHOWN_STEPS => steps,
            count => format!("<details><summary>{count} steps</summary>{steps}</details>"),
        };
        body.push_str(&format!(
            "<article class=\"failure\"><h3><code>{}</code> in {} seed {}</h3><p>{}</p>\
             {steps}<code class=\"replay\">{}</code></article>\n",
            escape(&run.failure.property),
            escape(&run.scenario),
            run.seed,
            escape(&run.failure.detail),
            escape(run.line.split("replay: ").nth(1).unwrap_or_default())
        ));
    }
    let note = "Each with what is left of its plan after shrinking: every step is needed for it to \
                fail. Of more failures alike only the first are shrunk.";
    section("Failures", note, &body)
}

fn properties(summary: &Summary) -> String {
    let rows: String = summary
        .properties
        .iter()
        .map(|(name, tally)| {
            let all = (tally.held + tally.failed + tally.idle).max(1) as f64;
            let part = |class: &str, number: u64| {
                let share = number as f64 / all * 100.0;
                format!("<span class=\"{class}\" style=\"width:{share:.2}%\"></span>")
            };
            let failed = if tally.failed > 0 { " class=\"failed\"" } else { "" };
            format!(
                "<tr{failed}><td><code>{}</code></td><td class=\"stack\">{}{}{}</td>\
                 <td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>\n",
                escape(name),
                part("bb", tally.failed),
                part("bg", tally.held),
                part("b5", tally.idle),
                count(tally.held),
                count(tally.failed),
                count(tally.idle)
            )
        })
        .collect();
    let table = format!(
        "<div class=\"scroll\"><table>\n<tr><th>property</th><th></th><th class=\"num\">held</th>\
         <th class=\"num\">failed</th><th class=\"num\">not exercised</th></tr>\n{rows}</table></div>\n"
    );
    section("Properties", "In how many runs each held, failed, or had nothing to speak of.", &table)
}

/// Reason codes down, scenarios across: where each occurred.
fn matrix(summary: &Summary) -> String {
    let scenarios: Vec<&String> = summary.scenarios.keys().collect();
    let heads: String = scenarios
        .iter()
        .map(|name| format!("<th class=\"tilted\"><span>{}</span></th>", escape(name)))
        .collect();
    let mut rows = String::new();
    for code in ReasonCode::ALL.iter().map(|code| code.as_str()) {
        let cells: String = scenarios
            .iter()
            .map(|scenario| cell(summary.scenarios[*scenario].reason_codes.get(code).copied()))
            .collect();
        let total = summary.reason_codes.get(code).copied().unwrap_or(0);
        let class = if total == 0 { " class=\"missing\"" } else { "" };
        rows.push_str(&format!(
            "<tr{class}><td><code>{code}</code></td>{cells}<td class=\"num\">{}</td></tr>\n",
            count(total)
        ));
    }
    let runs: String = scenarios
        .iter()
        .map(|name| format!("<td class=\"num\">{}</td>", summary.scenarios[*name].runs))
        .collect();
    let table = format!(
        "<div class=\"scroll\"><table class=\"matrix\">\n<tr><th></th>{heads}<th class=\"num\">all</th></tr>\n\
         {rows}<tr class=\"foot\"><td>seeds</td>{runs}<td class=\"num\">{}</td></tr>\n</table></div>\n",
        count(summary.runs)
    );
    let seen = summary.reason_codes.len();
    let note = format!(
        "Which reason codes of the gateway occurred in which scenario: {seen} of {} did. Darker is \
         more often; a row without a colour never occurred in this sweep.",
        ReasonCode::ALL.len()
    );
    section("Coverage", &note, &table)
}

fn cell(number: Option<u64>) -> String {
    let Some(number) = number else { return "<td class=\"cell\"></td>".to_owned() };
    let shade = 1 + (number.ilog10().min(3));
    format!("<td class=\"cell h{shade}\" title=\"{}\"></td>", count(number))
}

fn faults(summary: &Summary) -> String {
    if summary.faults.is_empty() {
        return String::new();
    }
    let note = "How many faults of each kind were drawn, over all runs.";
    section("Faults", note, &tables::counts(&summary.faults))
}

fn verdicts(summary: &Summary) -> String {
    let all: BTreeMap<String, u64> = VerdictCode::ALL
        .iter()
        .map(|code| code.as_str())
        .map(|code| (code.to_owned(), summary.verdict_codes.get(code).copied().unwrap_or(0)))
        .collect();
    let note = "What the verifier said of the templates, over all runs.";
    section("Verdict codes", note, &tables::counts(&all))
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    #[test]
    fn a_sweep_is_a_page() {
        sample::snapshot("sweep-html", &render(&sample::sweep()));
        let empty = render(&Summary::default());
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }
}
