//! `sim golden`.

use anyhow::Result;

use super::play::{Request, play, processors};
use super::{FAILED, GoldenArgs, GoldenVerb, HARNESS, root};
use crate::report::golden::{self, Check};
use crate::scenario::Catalogue;

/// Plays the scenarios and compares them with their goldens, or makes them the goldens.
pub(super) fn run(catalogue: &Catalogue, verb: &GoldenVerb) -> Result<u8> {
    let (GoldenVerb::Check(args) | GoldenVerb::Diff(args) | GoldenVerb::Bless(args)) = verb;
    let GoldenArgs { scenario, node } = args;
    let request = Request {
        scenarios: catalogue.select(scenario)?,
        seed: None,
        node: node.map(super::NodeArg::choice),
        record: false,
        jobs: processors(),
    };
    let mut code = 0;
    play(&request, &mut |name, played| {
        let compared = played.and_then(|played| {
            let report = played.outcome.report;
            let bless = matches!(verb, GoldenVerb::Bless(_));
            // What fails must not become what is expected.
            if let (true, Some(failed)) = (bless, report.first_failure()) {
                anyhow::bail!("not blessed: {} failed: {}", failed.name, failed.detail);
            }
            Ok(if bless {
                golden::bless(&root(), &report)?
            } else {
                golden::check(&root(), &report)?
            })
        });
        match compared {
            Err(error) => {
                code = HARNESS;
                format!("{name}: {}", platform::in_full(error.as_ref()))
            }
            Ok(check) => {
                let (text, failed) = show(name, &check, verb);
                if failed && code == 0 {
                    code = FAILED;
                }
                text
            }
        }
    })?;
    Ok(code)
}

fn show(name: &str, check: &Check, verb: &GoldenVerb) -> (String, bool) {
    match (verb, check) {
        (GoldenVerb::Bless(_), Check::Same) => (format!("{name}: same as before"), false),
        (GoldenVerb::Bless(_), Check::Different(diff)) => {
            (format!("{name}: blessed; what changed:\n{diff}"), false)
        }
        (GoldenVerb::Bless(_), _) => (format!("{name}: blessed for the first time"), false),
        (GoldenVerb::Diff(_), Check::Different(diff)) => (format!("{name}:\n{diff}"), true),
        _ => (format!("{name}: {check}"), check.is_failure()),
    }
}
