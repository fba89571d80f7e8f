//! The page of a sweep.

use std::collections::BTreeMap;

use gateway_core::reason::ReasonCode;
use verifier_protocol::VerdictCode;

use super::{begin, end, head, section, tables};
use crate::properties::{ALWAYS, EVENTUALLY};
use crate::report::markup::{count, escape};
use crate::report::sweep::{rate, threads};
use crate::sweep::{PropertyTally, ScenarioTally, Summary};

/// The plan of a failure is folded where it has more steps.
const SHOWN_STEPS: usize = 12;
/// More scenarios than these have no room beside each other: their families stand for them.
const SCENARIOS_ACROSS: usize = 24;

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
        ("Wall time", format!("{:.0} s on {}", summary.seconds, threads(summary))),
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

/// What holds whatever happens, and, folded unless it failed, what scenarios expect of their own
/// story.
fn properties(summary: &Summary) -> String {
    let (common, own): (Vec<_>, Vec<_>) = summary.properties.iter().partition(|(name, _)| {
        ALWAYS.contains(&name.as_str()) || EVENTUALLY.contains(&name.as_str())
    });
    let mut body = tallies("property", &common);
    if !own.is_empty() {
        let (failed, kept): (Vec<_>, Vec<_>) = own.into_iter().partition(|(_, one)| one.failed > 0);
        if !failed.is_empty() {
            body.push_str(&tallies("expected by a scenario", &failed));
        }
        body.push_str(&format!(
            "<details><summary>{} things that single scenarios expect, and that came</summary>\n\
             {}</details>\n",
            kept.len(),
            tallies("expected by a scenario", &kept)
        ));
    }
    section("Properties", "In how many runs each held, failed, or had nothing to speak of.", &body)
}

fn tallies(of: &str, tallies: &[(&String, &PropertyTally)]) -> String {
    let rows: String = tallies
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
    format!(
        "<div class=\"scroll\"><table>\n<tr><th>{of}</th><th></th><th class=\"num\">held</th>\
         <th class=\"num\">failed</th><th class=\"num\">not exercised</th></tr>\n{rows}</table></div>\n"
    )
}

/// A column of the matrix: runs, and in which scenarios each reason code occurred how often.
#[derive(Default)]
struct Column<'a> {
    runs: u64,
    codes: BTreeMap<&'a str, Vec<(&'a str, u64)>>,
}

impl<'a> Column<'a> {
    fn add(&mut self, scenario: &'a str, tally: &'a ScenarioTally) {
        self.runs += tally.runs;
        for (code, number) in &tally.reason_codes {
            self.codes.entry(code).or_default().push((scenario, *number));
        }
    }
}

/// A column for each scenario, or for each family where those would be too many.
fn columns(summary: &Summary) -> BTreeMap<&str, Column<'_>> {
    let by_family = summary.scenarios.len() > SCENARIOS_ACROSS;
    let mut columns: BTreeMap<&str, Column<'_>> = BTreeMap::new();
    for (scenario, tally) in &summary.scenarios {
        let family = scenario.split('-').next().unwrap_or(scenario);
        columns.entry(if by_family { family } else { scenario }).or_default().add(scenario, tally);
    }
    columns
}

/// Reason codes down, scenarios or their families across: where each occurred.
fn matrix(summary: &Summary) -> String {
    let columns = columns(summary);
    let heads: String = columns
        .keys()
        .map(|name| format!("<th class=\"tilted\"><span>{}</span></th>", escape(name)))
        .collect();
    let mut rows = String::new();
    for code in ReasonCode::ALL.iter().map(|code| code.as_str()) {
        let cells: String = columns.values().map(|column| cell(column.codes.get(code))).collect();
        let total = summary.reason_codes.get(code).copied().unwrap_or(0);
        let class = if total == 0 { " class=\"missing\"" } else { "" };
        rows.push_str(&format!(
            "<tr{class}><td><code>{code}</code></td>{cells}<td class=\"num\">{}</td></tr>\n",
            count(total)
        ));
    }
    let runs: String =
        columns.values().map(|one| format!("<td class=\"num\">{}</td>", one.runs)).collect();
    let table = format!(
        "<div class=\"scroll\"><table class=\"matrix\">\n<tr><th></th>{heads}<th class=\"num\">all</th></tr>\n\
         {rows}<tr class=\"foot\"><td>seeds</td>{runs}<td class=\"num\">{}</td></tr>\n</table></div>\n",
        count(summary.runs)
    );
    let seen = summary.reason_codes.len();
    let note = format!(
        "Which reason codes of the gateway occurred in which {}: {seen} of {} did. Darker is more \
         often, hovering tells where; a row without a colour never occurred in this sweep.",
        if summary.scenarios.len() > SCENARIOS_ACROSS { "family of scenarios" } else { "scenario" },
        ReasonCode::ALL.len()
    );
    section("Coverage", &note, &table)
}

fn cell(occurred: Option<&Vec<(&str, u64)>>) -> String {
    let Some(occurred) = occurred else { return "<td class=\"cell\"></td>".to_owned() };
    let number: u64 = occurred.iter().map(|(_, number)| number).sum();
    let shade = 1 + number.checked_ilog10().unwrap_or(0).min(3);
    let places: Vec<String> = occurred
        .iter()
        .map(|(scenario, number)| format!("{scenario} {}", count(*number)))
        .collect();
    format!("<td class=\"cell h{shade}\" title=\"{}\"></td>", escape(&places.join(", ")))
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
    fn many_scenarios_are_shown_by_their_families() {
        let tally = || ScenarioTally {
            runs: 2,
            reason_codes: BTreeMap::from([("shutdown_drain".to_owned(), 3)]),
            ..ScenarioTally::default()
        };
        let names = (0..40).map(|number| format!("reorg-{number}"));
        let scenarios = names.chain(["smoke".to_owned()]).map(|name| (name, tally())).collect();
        let page = render(&Summary { scenarios, ..Summary::default() });
        assert_eq!(page.matches("class=\"tilted\"").count(), 2, "reorg and smoke");
        assert!(page.contains("reorg-0 3, reorg-1 3"), "{page}");
    }

    #[test]
    fn a_sweep_is_a_page() {
        sample::snapshot("sweep-html", &render(&sample::sweep()));
        let empty = render(&Summary::default());
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }
}
