//! Instructions that judging declared figures takes (`cargo ci bench`).
#![allow(missing_docs)] // The macros make public modules.

use gungraun::prelude::*;
use policy::{Policy, PolicyOutcome, RuleReport, TemplateFacts, explain, judge};

/// A full template that passes every rule.
fn template() -> (Policy, TemplateFacts) {
    let facts = TemplateFacts {
        protocol_version: 2,
        prev_hash: "0f".repeat(32),
        coinbase_value: 312_500_000,
        tx_count: 3_700,
        total_fees: 74_000_000,
        weight: 3_990_000,
        sigops_cost: 3_700,
        coinbase_sigops: 0,
        age_ms: 20,
        mempool_tx: Some(50_000),
    };
    (Policy::default(), facts)
}

#[library_benchmark]
#[bench::accepted(template())]
fn rules((policy, facts): (Policy, TemplateFacts)) -> PolicyOutcome {
    let outcome = judge(&policy, &facts);
    assert_eq!(outcome.rejection, None);
    outcome
}

#[library_benchmark]
#[bench::accepted(template())]
fn explained((policy, facts): (Policy, TemplateFacts)) -> Vec<RuleReport> {
    explain(&policy, &facts)
}

library_benchmark_group!(name = policy_rules, benchmarks = [rules, explained]);
main!(library_benchmark_groups = policy_rules);
