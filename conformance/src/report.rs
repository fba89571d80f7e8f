//! What is told of a run, and the catalogue as a page.

use std::fmt::Write;

use crate::case::{Case, Section, Verdict};
use crate::cases::catalogue;
use crate::client::client_catalogue;
use crate::suite::Outcome;

/// Most lines of a record that are shown, the last ones.
const SHOWN_LINES: usize = 40;

/// How many outcomes there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The server does what the rule says.
    pub passed: usize,
    /// It breaks a rule that binds.
    pub failed: usize,
    /// It breaks a rule that recommends.
    pub deviating: usize,
    /// The rule could not be tried.
    pub skipped: usize,
}

impl Tally {
    /// Counts outcomes.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Pass => tally.passed += 1,
                Verdict::Fail(_) => tally.failed += 1,
                Verdict::Deviation(_) => tally.deviating += 1,
                Verdict::Skip(_) => tally.skipped += 1,
            }
        }
        tally
    }

    /// Whether the server is conforming; when `strict`, deviations count too.
    pub const fn is_conforming(&self, strict: bool) -> bool {
        self.failed == 0 && (!strict || self.deviating == 0)
    }

    /// The numbers in words.
    pub fn in_words(&self) -> String {
        format!(
            "{} passed, {} failed, {} deviate, {} skipped",
            self.passed, self.failed, self.deviating, self.skipped
        )
    }
}

/// What failed once more, a line each, for whoever sees the end of a log.
pub fn failures(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter_map(|outcome| match &outcome.verdict {
        Verdict::Fail(reason) => Some(format!("fail      {} {reason}\n", outcome.case.id)),
        _ => None,
    });
    failed.collect()
}

/// The lines for one outcome: its row, and for what is wrong the reason and the record.
pub fn lines(outcome: &Outcome) -> String {
    let case = outcome.case;
    let mut text = format!(
        "{:<9} {:<7} {:<6} {}\n",
        outcome.verdict.as_str(),
        case.id,
        case.level.as_str(),
        case.sentence
    );
    if let Some(reason) = outcome.verdict.reason() {
        let _ = writeln!(text, "          {reason}"); // Writing to a String cannot fail.
    }
    if matches!(outcome.verdict, Verdict::Fail(_) | Verdict::Deviation(_)) {
        let _ = writeln!(text, "          specification {}; sent and seen:", case.spec);
        for line in shown(&outcome.record) {
            let _ = writeln!(text, "            {line}");
        }
    }
    text
}

fn shown(record: &[String]) -> &[String] {
    &record[record.len().saturating_sub(SHOWN_LINES)..]
}

/// What is not a plain pass, as a table: the case, its verdict, and what the server did.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{}\n\n| id | level | verdict | a server's duty | what was seen |\n|---|---|---|---|---|\n",
        Tally::of(outcomes).in_words()
    );
    for outcome in outcomes {
        let Some(reason) = outcome.verdict.reason() else { continue };
        let case = outcome.case;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            case.id,
            case.level.as_str(),
            outcome.verdict.as_str(),
            case.sentence,
            reason.replace('|', "\\|")
        );
    }
    text
}

/// The outcomes as JUnit's XML, for continuous integration; when `strict`, deviations are failures.
pub fn junit(target: &str, outcomes: &[Outcome], strict: bool) -> String {
    let tally = Tally::of(outcomes);
    let failures = tally.failed + if strict { tally.deviating } else { 0 };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"sv2 {}\" tests=\"{}\" \
         failures=\"{}\" skipped=\"{}\">\n",
        escaped(target),
        outcomes.len(),
        failures,
        tally.skipped
    );
    for outcome in outcomes {
        let case = outcome.case;
        let _ = write!(
            xml,
            "  <testcase classname=\"{}\" name=\"{} {}\" time=\"{:.3}\"",
            case.section.as_str(),
            case.id,
            escaped(case.sentence),
            outcome.took.as_secs_f64()
        );
        let record = || escaped(&shown(&outcome.record).join("\n"));
        let body = match &outcome.verdict {
            Verdict::Pass => None,
            Verdict::Deviation(reason) if !strict => {
                let (reason, record) = (escaped(reason), record());
                Some(format!("<system-out>deviates: {reason}\n{record}</system-out>"))
            }
            Verdict::Fail(reason) | Verdict::Deviation(reason) => {
                let (reason, record) = (escaped(reason), record());
                Some(format!("<failure message=\"{reason}\">{record}</failure>"))
            }
            Verdict::Skip(reason) => Some(format!("<skipped message=\"{}\"/>", escaped(reason))),
        };
        let _ = match body {
            None => writeln!(xml, "/>"),
            Some(body) => writeln!(xml, ">{body}</testcase>"),
        };
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// Text that is safe in XML, attributes included; characters that XML cannot hold are dropped.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(character),
            control if control.is_control() => {}
            other => safe.push(other),
        }
    }
    safe
}

/// One line a case, for terminals.
pub fn list(cases: &[&Case]) -> String {
    let mut text = String::new();
    for case in cases {
        let _ = writeln!(
            text,
            "{:<7} {:<6} {:<11} {:<11} {}",
            case.id,
            case.level.as_str(),
            case.section.as_str(),
            case.spec,
            case.sentence
        );
    }
    text
}

/// The catalogue as a page.
pub fn page() -> String {
    let mut text = String::from(PREFACE);
    let (musts, all) = (
        catalogue().filter(|case| case.level == crate::case::Level::Must).count(),
        catalogue().count(),
    );
    let _ = writeln!(text, "{all} cases, {musts} of them MUST.");
    sections(&mut text, "a server's duty", catalogue);
    text.push_str(CLIENT_PREFACE);
    let _ = writeln!(text, "{} cases.", client_catalogue().count());
    sections(&mut text, "a client's duty", client_catalogue);
    text
}

fn sections<I: Iterator<Item = &'static Case>>(
    text: &mut String,
    duty: &str,
    cases: impl Fn() -> I,
) {
    for section in Section::ALL {
        let mut cases = cases().filter(|case| case.section == section).peekable();
        if cases.peek().is_none() {
            continue;
        }
        let _ = writeln!(
            text,
            "\n## {}\n\n| id | level | section | {duty} |\n|---|---|---|---|",
            section.as_str()
        );
        for case in cases {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                case.id,
                case.level.as_str(),
                case.spec,
                case.sentence
            );
        }
    }
}

const CLIENT_PREFACE: &str = "\
\n# The cases of `conformance serve`

A scripted server waits for one miner or proxy, plays a case on each connection, and judges what \
comes over it. Between cases it ends the connection, and the client is expected to come back. A \
case is skipped when no client comes, or when it does not come to the point that is judged: without \
a share, shares cannot be judged.

";

const PREFACE: &str = "\
# The cases of `conformance run`

Made from the registry by its test; do not edit. Each case opens its own connections to the server \
and judges what comes over them, nothing else. A rule's id is stable; its letter tells its cases \
apart. `field` marks what deployed clients need and the specification leaves open, `hygiene` what \
a server on the open network needs.

A server that breaks a MUST fails; one that breaks a SHOULD deviates, which counts only with \
`--strict`. A case that cannot be tried on a server as it is set up is skipped, and says why: \
shares need a target that can be met within the budget of hashes, certificates an authority key.

";
