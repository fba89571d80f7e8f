use rstest::rstest;
use verifier_protocol::{FeeTier, VerdictKind};

use super::*;
use crate::{AvgFeeUnit, TemplateFacts as Facts};

/// A template that the default policy accepts without a remark.
fn good() -> TemplateFacts {
    TemplateFacts {
        protocol_version: 2,
        prev_hash: "0a".repeat(32),
        coinbase_value: 312_500_000,
        tx_count: 10,
        total_fees: 50_000,
        weight: 100_000,
        sigops_cost: 400,
        coinbase_sigops: 0,
        age_ms: 1000,
        mempool_tx: Some(100),
    }
}

type Mend = fn(&mut Facts);
type Change = fn(&mut Policy, &mut Facts);

fn judged(change: Change) -> PolicyOutcome {
    let (mut policy, mut facts) = (Policy::default(), good());
    change(&mut policy, &mut facts);
    judge(&policy, &facts)
}

#[test]
fn a_good_template_passes_without_warnings() {
    let outcome = judged(|_, _| ());
    assert_eq!(outcome.rejection, None);
    assert_eq!(outcome.warnings, []);
    assert_eq!(outcome.context, PolicyContext { fee_tier: FeeTier::High, min_avg_fee_used: 5000 });
}

#[rstest]
#[case("protocol_version_mismatch", "version=3 != protocol_version=2", |_: &mut Policy, f: &mut Facts| f.protocol_version = 3)]
#[case("prev_hash_len_mismatch", "prev_hash_len=2 != required_prevhash_len=64", |_: &mut Policy, f: &mut Facts| f.prev_hash = "0a".into())]
#[case("invalid_prev_hash", "prev_hash is not hexadecimal", |_: &mut Policy, f: &mut Facts| f.prev_hash = "0x".repeat(32))]
#[case("invalid_prev_hash", "prev_hash is all zero", |_: &mut Policy, f: &mut Facts| f.prev_hash = "0".repeat(64))]
#[case("coinbase_value_zero_rejected", "coinbase_value=0", |_: &mut Policy, f: &mut Facts| f.coinbase_value = 0)]
#[case("empty_template_rejected", "tx_count=0", |_: &mut Policy, f: &mut Facts| f.tx_count = 0)]
#[case("tx_count_exceeded", "tx_count=10001 > max_tx_count=10000", |_: &mut Policy, f: &mut Facts| f.tx_count = 10_001)]
#[case("total_fees_below_minimum", "total_fees=50000 < min_total_fees=50001", |p: &mut Policy, _: &mut Facts| p.template.min_total_fees = 50_001)]
#[case("avg_fee_below_minimum", "avg_fee=4999 < min_avg_fee_used=5000", |_: &mut Policy, f: &mut Facts| f.total_fees = 49_999)]
#[case("weight_ratio_exceeded", "weight_ratio=0.99900025 > max_weight_ratio=0.999", |_: &mut Policy, f: &mut Facts| f.weight = 3_996_001)]
#[case("template_too_old", "age_ms=30001 > max_template_age_secs=30", |_: &mut Policy, f: &mut Facts| f.age_ms = 30_001)]
#[case("sigops_budget_exceeded", "sigops_cost=80001 > max_sigops_cost=80000", |_: &mut Policy, f: &mut Facts| f.sigops_cost = 80_001)]
#[case("coinbase_sigops_exceeded", "coinbase_sigops=20001 > max_coinbase_sigops=20000", |_: &mut Policy, f: &mut Facts| f.coinbase_sigops = 20_001)]
fn each_rule_rejects_with_its_code(
    #[case] code: &str,
    #[case] detail: &str,
    #[case] change: Change,
) {
    let rejection = judged(change).rejection.expect("rejected");
    assert_eq!((rejection.code.as_str(), rejection.detail.as_str()), (code, detail));
    assert_eq!(rejection.code.kind(), VerdictKind::Policy);
}

#[rstest]
#[case(|_: &mut Policy, f: &mut Facts| f.tx_count = 10_000, 50_000_000)]
#[case(|_: &mut Policy, f: &mut Facts| f.weight = 3_996_000, 50_000)]
#[case(|_: &mut Policy, f: &mut Facts| f.age_ms = 30_000, 50_000)]
#[case(|p: &mut Policy, f: &mut Facts| { p.template.reject_coinbase_zero = false; f.coinbase_value = 0 }, 50_000)]
#[case(|p: &mut Policy, f: &mut Facts| { p.template.reject_empty_templates = false; f.tx_count = 0 }, 0)]
fn the_bounds_themselves_pass(#[case] change: Change, #[case] total_fees: u64) {
    let (mut policy, mut facts) = (Policy::default(), good());
    facts.total_fees = total_fees;
    change(&mut policy, &mut facts);
    assert_eq!(judge(&policy, &facts).rejection, None);
}

#[test]
fn the_rules_are_asked_in_the_order_of_the_reference() {
    // Everything is wrong; what is found is mended, one after the other.
    let (policy, mut facts) = (Policy::default(), good());
    let mend: [(&str, Mend); 10] = [
        ("protocol_version_mismatch", |f| f.protocol_version = 2),
        ("prev_hash_len_mismatch", |f| f.prev_hash = "0".repeat(64)),
        ("invalid_prev_hash", |f| f.prev_hash = "1".repeat(64)),
        ("coinbase_value_zero_rejected", |f| f.coinbase_value = 1),
        ("tx_count_exceeded", |f| f.tx_count = 1),
        ("avg_fee_below_minimum", |f| f.total_fees = 5000),
        ("weight_ratio_exceeded", |f| f.weight = 800),
        ("template_too_old", |f| f.age_ms = 0),
        ("sigops_budget_exceeded", |f| f.sigops_cost = 0),
        ("coinbase_sigops_exceeded", |f| f.coinbase_sigops = 0),
    ];
    facts.protocol_version = 1;
    facts.prev_hash = String::new();
    facts.coinbase_value = 0;
    facts.tx_count = 20_000;
    facts.total_fees = 0;
    facts.weight = 5_000_000;
    facts.age_ms = 60_000;
    facts.sigops_cost = 90_000;
    facts.coinbase_sigops = 30_000;
    for (code, mend) in mend {
        let rejection = judge(&policy, &facts).rejection.expect("rejected");
        assert_eq!(rejection.code.as_str(), code);
        mend(&mut facts);
    }
    assert_eq!(judge(&policy, &facts).rejection, None);
}

#[rstest]
#[case("sigops_budget_warning", |_: &mut Policy, f: &mut Facts| f.sigops_cost = 76_000)]
#[case("coinbase_sigops_abnormal", |_: &mut Policy, f: &mut Facts| f.coinbase_sigops = 401)]
fn an_advisory_is_a_warning_of_an_accepted_template(#[case] code: &str, #[case] change: Change) {
    let outcome = judged(change);
    assert_eq!(outcome.rejection, None);
    let warnings: Vec<&str> = outcome.warnings.iter().map(|code| code.as_str()).collect();
    assert_eq!(warnings, [code]);
}

#[rstest]
#[case(Some(0), FeeTier::Low, 1)]
#[case(Some(1), FeeTier::Mid, 2000)]
#[case(Some(49), FeeTier::Mid, 2000)]
#[case(Some(50), FeeTier::High, 5000)]
#[case(None, FeeTier::High, 5000)]
fn the_tier_follows_the_mempool(
    #[case] mempool_tx: Option<u64>,
    #[case] fee_tier: FeeTier,
    #[case] min_avg_fee_used: u64,
) {
    let facts = TemplateFacts { mempool_tx, ..good() };
    let context = judge(&Policy::default(), &facts).context;
    assert_eq!(context, PolicyContext { fee_tier, min_avg_fee_used });
}

#[test]
fn an_unknown_mempool_can_be_taken_as_low() {
    let mut policy = Policy::default();
    policy.template.unknown_mempool_as_high = false;
    assert_eq!(crate::fee_tier(&policy.template, None), FeeTier::Low);
}

#[test]
fn the_average_can_be_taken_over_virtual_bytes() {
    let mut policy = Policy::default();
    policy.template.avg_fee_unit = AvgFeeUnit::Vbyte;
    policy.template.min_avg_fee_hi = 3;
    // 50 000 satoshis over 25 000 virtual bytes.
    let rejection = judge(&policy, &good()).rejection.expect("rejected");
    assert_eq!(rejection.detail, "avg_fee=2 < min_avg_fee_used=3");
}

#[test]
fn an_explanation_shows_every_rule_and_agrees_with_the_verdict() {
    use crate::{RuleResult, explain};

    let policy = Policy::default();
    let good_reports = explain(&policy, &good());
    assert!(good_reports.iter().all(|report| report.result == RuleResult::Passed));

    let bad = Facts { total_fees: 49_999, sigops_cost: 80_001, ..good() };
    let reports = explain(&policy, &bad);
    let with = |result| -> Vec<&str> {
        let found = reports.iter().filter(|report| report.result == result);
        found.map(|report| report.rule).collect()
    };
    let failed = with(RuleResult::Failed);
    assert_eq!(failed, ["avg_fee_below_minimum", "sigops_budget_exceeded"]);
    assert_eq!(with(RuleResult::Warned), ["sigops_budget_warning"]);
    assert_eq!(judge(&policy, &bad).rejection.unwrap().code.as_str(), failed[0]);
    let fee = reports.iter().find(|report| report.rule == failed[0]).unwrap();
    assert_eq!(fee.input, "avg_fee=4999");
    assert_eq!(fee.limit, "min_avg_fee_used=5000 (tier high, per tx)");
}
