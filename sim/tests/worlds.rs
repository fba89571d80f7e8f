//! Whole worlds: the programs themselves, played through scenarios on the embedded chain.

use std::path::Path;

use sim::node::EmbeddedNode;
use sim::report::model::Verdict;
use sim::report::progress::Clock;
use sim::run::{Finished, NODE_START_UNIX_S, RunError, RunNode, run};
use sim::scenario::{Catalogue, Scenario};

fn play(scenario: &Scenario, seed: u64) -> Result<Finished, RunError> {
    let node = RunNode { node: Box::new(EmbeddedNode::new(NODE_START_UNIX_S)), kind: "embedded" };
    run(scenario, &scenario.plan(seed), node, &Clock::default())
}

fn scenario(body: &str) -> Scenario {
    let text = format!("schema = 1\nname = \"test\"\ndoc = \"A test\"\n{body}");
    Scenario::parse("test", "test", &text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Every property with its verdict.
fn verdicts(finished: &Finished) -> Vec<(String, Verdict, String)> {
    let properties = finished.outcome.report.properties.iter();
    properties.map(|p| (p.name.clone(), p.outcome, p.detail.clone())).collect()
}

#[test]
fn one_seed_is_one_story() {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let catalogue = Catalogue::load(&scenarios).unwrap();
    let smoke = catalogue.select("smoke").unwrap()[0];
    let [one, two, other] = [7, 7, 8].map(|seed| play(smoke, seed).unwrap());
    assert_eq!(one.outcome.trace, two.outcome.trace);
    assert_eq!(one.outcome.report, two.outcome.report);
    assert_eq!(one.log, two.log);
    assert_ne!(one.outcome.report.trace_digest, other.outcome.report.trace_digest);
}

#[test]
fn an_expectation_that_does_not_hold_fails() {
    let scenario = scenario(
        "sim = { duration = \"12s\" }\ntopology = { miners = 2 }\n[[miners]]\nkind = \"standard\"\n\
         [[at]]\nt = \"8s\"\ndo = \"mine\"\n\
         [[expect]]\nsometimes = \"crash\"\n\
         [[expect]]\nwithin = { after = \"mine\", event = \"miner_switched\", min = \"1s\", max = \"2s\" }\n\
         [[expect]]\nlatency = { metric = \"share_ack\", p50 = \"0s\" }\n\
         [[expect]]\neventually = \"all_miners_on_tip\"\n",
    );
    let verdicts = verdicts(&play(&scenario, 1).unwrap());
    let outcomes: Vec<_> = verdicts.iter().map(|(_, outcome, _)| *outcome).collect();
    let (fail, pass) = (Verdict::Fail, Verdict::Pass);
    // The last is what every scenario expects.
    let expected = [fail, fail, fail, pass, pass];
    assert_eq!(outcomes, expected, "{verdicts:?}");
}

#[test]
fn a_wrong_key_of_a_program_is_named() {
    let scenario = scenario(
        "sim = { duration = \"9s\" }\n[config.timing]\nprevhash_stale_hold = 5\n\
         [[expect]]\nalways = \"share_join\"\n",
    );
    let Err(error) = play(&scenario, 1) else { panic!("it ran") };
    let error = error.to_string();
    assert!(error.contains("config.timing.prevhash_stale_hold"), "{error}");
    assert!(error.contains("prevhash_stale_hold_ms"), "{error}");
}

/// Faults of every family, drawn anew for each seed: whatever comes, the promises hold.
#[test]
fn promises_survive_chaos() {
    let scenario = scenario(
        "sim = { duration = \"60s\" }\ntopology = { miners = 6 }\n\
         chaos = { families = [\"all\"], \
         rate = \"0.3/s\", quiet_tail = \"20s\" }\n\
         links = { default = { latency = { uniform = [\"300us\", \"8ms\"] }, chunk = \"1..1460\" } }\n\
         [[miners]]\nkind = \"standard\"\n\
         [[at]]\nt = \"10s..20s\"\ndo = \"mine\"\n\
         [[at]]\nt = \"20s..30s\"\ndo = \"reorg\"\ndepth = \"1..=3\"\n\
         [[at]]\nt = \"45s\"\ndo = \"mine\"\n\
         [[expect]]\nalways = \"share_join\"\n\
         [[expect]]\nalways = \"no_unverified_job\"\n\
         [[expect]]\nalways = \"one_active_prevhash\"\n\
         [[expect]]\nalways = \"conservation\"\n\
         [[expect]]\nalways = \"hmac_valid\"\n\
         [[expect]]\nalways = \"stale_work\"\n\
         [[expect]]\nalways = \"no_double_credit\"\n\
         [[expect]]\nalways = \"every_reject_has_reason\"\n\
         [[expect]]\neventually = \"all_miners_on_tip\"\n\
         [[expect]]\neventually = \"tasks_and_sockets_return\"\n",
    );
    for seed in 0..8 {
        let finished = play(&scenario, seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let failed: Vec<_> = verdicts(&finished)
            .into_iter()
            .filter(|(_, outcome, _)| *outcome == Verdict::Fail)
            .collect();
        assert!(failed.is_empty(), "seed {seed}: {failed:?}");
    }
}
