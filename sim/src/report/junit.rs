//! Runs as JUnit XML, which continuous integration services show.

use super::golden::Check;
use super::markup::escape;
use super::model::{Property, Verdict};
use super::{Broken, Judged, replay_command};

/// One suite a run, one case a property, and one case for the golden; and of what could not be
/// played one suite with the error.
pub fn render(runs: &[Judged], broken: &[Broken]) -> String {
    let (mut cases, mut failures, errors) = (broken.len(), 0, broken.len());
    let mut suites = String::new();
    for run in runs {
        let (tests, failed, skipped) = totals(run);
        cases += tests;
        failures += failed;
        let header = &run.report.header;
        suites.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failed}\" \
             errors=\"0\" skipped=\"{skipped}\" time=\"{}\">\n",
            escape(&header.scenario),
            time(header.duration_ms)
        ));
        for property in &run.report.properties {
            suites.push_str(&property_case(run, property));
        }
        suites.push_str(&golden_case(run));
        suites.push_str("  </testsuite>\n");
    }
    for one in broken {
        suites.push_str(&broken_suite(one));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"sim\" tests=\"{cases}\" failures=\"{failures}\" errors=\"{errors}\">\n\
         {suites}</testsuites>\n"
    )
}

fn broken_suite(broken: &Broken) -> String {
    let (name, error) = (escape(&broken.scenario), escape(&broken.error));
    format!(
        "  <testsuite name=\"{name}\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0.000\">\n\
         \x20   <testcase classname=\"{name}\" name=\"it can be played\" time=\"0.000\">\n\
         \x20     <error message=\"{error}\"/>\n    </testcase>\n  </testsuite>\n"
    )
}

fn totals(run: &Judged) -> (usize, usize, usize) {
    let count = |outcome| {
        run.report.properties.iter().filter(|property| property.outcome == outcome).count()
    };
    let failed = count(Verdict::Fail) + usize::from(run.golden.is_failure());
    let not_compared = matches!(run.golden, Check::NotChecked | Check::OtherSeed { .. });
    let skipped = count(Verdict::NotExercised) + usize::from(not_compared);
    (run.report.properties.len() + 1, failed, skipped)
}

fn property_case(run: &Judged, property: &Property) -> String {
    let body = match property.outcome {
        Verdict::Pass => String::new(),
        Verdict::NotExercised => skipped(&property.detail),
        Verdict::Fail => {
            let replay = format!("replay: {}", replay_command(&run.report));
            failure(&property.detail, &format!("{}\n{replay}", property.detail))
        }
    };
    let at = property.at_ms.unwrap_or(run.report.header.duration_ms);
    case(run, &format!("{} {}", property.kind.as_str(), property.name), at, &body)
}

fn golden_case(run: &Judged) -> String {
    let body = match &run.golden {
        Check::Same => String::new(),
        Check::NotChecked | Check::OtherSeed { .. } => skipped(&run.golden.to_string()),
        Check::Different(diff) => failure(&run.golden.to_string(), &diff.to_string()),
        Check::Missing(_) => failure(&run.golden.to_string(), "bless it after looking at it"),
    };
    case(run, "golden", run.report.header.duration_ms, &body)
}

fn case(run: &Judged, name: &str, at_ms: u64, body: &str) -> String {
    let header = &run.report.header;
    let class = format!("{}.{}", header.family, header.scenario);
    let open = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escape(&class),
        escape(name),
        time(at_ms)
    );
    if body.is_empty() {
        format!("{open}/>\n")
    } else {
        format!("{open}>\n{body}    </testcase>\n")
    }
}

fn failure(message: &str, text: &str) -> String {
    format!("      <failure message=\"{}\">{}</failure>\n", escape(message), escape(text))
}

fn skipped(message: &str) -> String {
    format!("      <skipped message=\"{}\"/>\n", escape(message))
}

fn time(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::super::{golden, sample};
    use super::*;

    #[test]
    fn failures_skips_goldens_and_errors_are_cases() {
        let different = Check::Different(golden::diff(
            &serde_json::json!({ "reason_codes": { "stale_job_submission": 3 } }),
            &serde_json::json!({ "reason_codes": { "stale_job_submission": 4 } }),
        ));
        let runs = [
            Judged { report: sample::failing(), golden: different },
            Judged { report: sample::passing(), golden: Check::Same },
        ];
        let broken = [Broken {
            scenario: "smoke".to_owned(),
            error: "configuration of the gateway: \"timing\" has no such key".to_owned(),
        }];
        sample::snapshot("junit", &render(&runs, &broken));
    }
}
