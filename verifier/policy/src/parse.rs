//! `policy.toml` to [`Policy`].

use crate::table::{self, Problem, TableReader};
use crate::{AvgFeeUnit, ConsensusRules, MempoolRules, NodeRules, Policy, TemplateRules};

/// Output scripts are bounded by consensus (`MAX_SCRIPT_SIZE`).
const MAX_SCRIPT_BYTES: usize = 10_000;

pub(crate) fn policy(text: &str) -> Result<Policy, Vec<Problem>> {
    let table = table::parse(text).map_err(|problem| vec![problem])?;
    let mut root = TableReader::root(table);
    let mut section = root.section("policy");
    let policy = Policy {
        template: template(&mut section),
        consensus: subsection(&mut section, "consensus", consensus),
        mempool: subsection(&mut section, "mempool", mempool),
        node: subsection(&mut section, "node", node),
    };
    root.absorb(section);
    let problems = root.finish();
    if problems.is_empty() { Ok(policy) } else { Err(problems) }
}

fn subsection<T>(
    parent: &mut TableReader,
    key: &'static str,
    read: impl FnOnce(&mut TableReader) -> T,
) -> T {
    let mut section = parent.section(key);
    let value = read(&mut section);
    parent.absorb(section);
    value
}

fn template(from: &mut TableReader) -> TemplateRules {
    let default = TemplateRules::default();
    let any = 0..=u64::MAX;
    let rules = TemplateRules {
        protocol_version: narrow(from, "protocol_version", default.protocol_version, 1..=u32::MAX),
        required_prevhash_len: usize::from(narrow(
            from,
            "required_prevhash_len",
            64_u8,
            1..=u8::MAX,
        )),
        min_avg_fee_lo: from.integer("min_avg_fee_lo", default.min_avg_fee_lo, any.clone()),
        min_avg_fee_mid: from.integer("min_avg_fee_mid", default.min_avg_fee_mid, any.clone()),
        min_avg_fee_hi: from.integer("min_avg_fee_hi", default.min_avg_fee_hi, any.clone()),
        avg_fee_unit: from
            .choice("avg_fee_unit", &[("tx", AvgFeeUnit::Tx), ("vbyte", AvgFeeUnit::Vbyte)]),
        low_mempool_tx: from.integer("low_mempool_tx", default.low_mempool_tx, any.clone()),
        high_mempool_tx: from.integer("high_mempool_tx", default.high_mempool_tx, any.clone()),
        unknown_mempool_as_high: from
            .boolean("unknown_mempool_as_high", default.unknown_mempool_as_high),
        min_total_fees: from.integer("min_total_fees", default.min_total_fees, any),
        max_tx_count: narrow(from, "max_tx_count", default.max_tx_count, 0..=u32::MAX),
        reject_empty_templates: from
            .boolean("reject_empty_templates", default.reject_empty_templates),
        reject_coinbase_zero: from.boolean("reject_coinbase_zero", default.reject_coinbase_zero),
        max_weight_ratio: from.number("max_weight_ratio", default.max_weight_ratio, 0.0..=1.0),
        max_template_age_secs: from.integer(
            "max_template_age_secs",
            default.max_template_age_secs,
            1..=86_400,
        ),
        max_sigops_cost: from.integer("max_sigops_cost", default.max_sigops_cost, 0..=80_000),
        max_coinbase_sigops: narrow(
            from,
            "max_coinbase_sigops",
            default.max_coinbase_sigops,
            0..=20_000,
        ),
        warn_sigops_ratio: from.number("warn_sigops_ratio", default.warn_sigops_ratio, 0.0..=1.0),
        warn_coinbase_sigops: narrow(
            from,
            "warn_coinbase_sigops",
            default.warn_coinbase_sigops,
            0..=u32::MAX,
        ),
    };
    if rules.low_mempool_tx > rules.high_mempool_tx {
        let high = rules.high_mempool_tx;
        let low = rules.low_mempool_tx;
        from.problem("low_mempool_tx", format!("{low} is over high_mempool_tx ({high}); lower it"));
    }
    rules
}

fn consensus(from: &mut TableReader) -> ConsensusRules {
    let default = ConsensusRules::default();
    let enforce = from.boolean("enforce", default.enforce);
    let mut payout_scripts = Vec::new();
    for (index, script) in from.texts("payout_scripts").into_iter().enumerate() {
        match const_hex::decode(&script) {
            Ok(bytes) if (1..=MAX_SCRIPT_BYTES).contains(&bytes.len()) => {
                payout_scripts.push(bytes);
            }
            _ => from.problem(
                "payout_scripts",
                format!("item {index} is no output script; write its bytes as hex"),
            ),
        }
    }
    let min_payout_share =
        from.number("min_payout_share", default.min_payout_share, f64::MIN_POSITIVE..=1.0);
    if !enforce && !payout_scripts.is_empty() {
        from.problem(
            "payout_scripts",
            "no payout is judged while enforce is false; set enforce = true or remove them",
        );
    }
    ConsensusRules { enforce, payout_scripts, min_payout_share }
}

fn mempool(from: &mut TableReader) -> MempoolRules {
    let default = MempoolRules::default();
    let rules = MempoolRules {
        enforce: from.boolean("enforce", default.enforce),
        tolerance_pct: from.number("tolerance_pct", default.tolerance_pct, 0.0..=100.0),
        poll_interval_secs: from.integer(
            "poll_interval_secs",
            default.poll_interval_secs,
            1..=3600,
        ),
        max_stale_secs: from.integer("max_stale_secs", default.max_stale_secs, 1..=86_400),
        per_tx_detail: from.boolean("per_tx_detail", default.per_tx_detail),
    };
    let MempoolRules { enforce, poll_interval_secs, max_stale_secs, .. } = rules;
    if enforce && max_stale_secs <= poll_interval_secs {
        from.problem(
            "max_stale_secs",
            format!(
                "{max_stale_secs} is not over poll_interval_secs ({poll_interval_secs}): the view \
                 would be stale before the next poll; raise it"
            ),
        );
    }
    rules
}

fn node(from: &mut TableReader) -> NodeRules {
    NodeRules { proposal_check: from.boolean("proposal_check", false) }
}

/// An integer of a narrower type than TOML's.
fn narrow<T>(
    from: &mut TableReader,
    key: &'static str,
    default: T,
    range: std::ops::RangeInclusive<T>,
) -> T
where
    T: Copy + Into<u64> + TryFrom<u64>,
{
    let range = (*range.start()).into()..=(*range.end()).into();
    T::try_from(from.integer(key, default.into(), range)).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let problems = policy(text).expect_err("refused");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_view_that_is_not_enforced_may_be_polled_seldom() {
        let policy = policy("[policy.mempool]\npoll_interval_secs = 3600\n").unwrap();
        assert_eq!(policy.mempool.poll_interval_secs, 3600);
    }

    #[test]
    fn an_empty_file_is_the_default_policy() {
        assert_eq!(policy(""), Ok(Policy::default()));
        assert_eq!(policy("[policy]\n[policy.mempool]\n"), Ok(Policy::default()));
    }

    #[rstest]
    #[case(
        "[policy]\nmax_tx_cuont = 1",
        "policy.max_tx_cuont: unknown key; did you mean \"max_tx_count\"?"
    )]
    #[case("[polcy]", "polcy: unknown key; did you mean \"policy\"?")]
    #[case("[policy.node]\nx = 1", "policy.node.x: unknown key; known here: proposal_check")]
    #[case(
        "[policy]\nmax_tx_count = \"7\"",
        "policy.max_tx_count: expected a whole number, found string"
    )]
    #[case(
        "[policy]\nmax_tx_count = -1",
        "policy.max_tx_count: -1 is out of range; use 0 to 4294967295"
    )]
    #[case(
        "[policy]\nreject_coinbase_zero = 1",
        "policy.reject_coinbase_zero: expected true or false, found integer"
    )]
    #[case(
        "[policy]\nmax_weight_ratio = 1.5",
        "policy.max_weight_ratio: 1.5 is out of range; use 0 to 1"
    )]
    #[case(
        "[policy]\nmax_weight_ratio = nan",
        "policy.max_weight_ratio: NaN is out of range; use 0 to 1"
    )]
    #[case(
        "[policy]\nmax_template_age_secs = 0",
        "policy.max_template_age_secs: 0 is out of range; use 1 to 86400"
    )]
    #[case(
        "[policy]\navg_fee_unit = \"byte\"",
        "policy.avg_fee_unit: unknown value \"byte\"; use tx or vbyte"
    )]
    #[case(
        "[policy]\nlow_mempool_tx = 51",
        "policy.low_mempool_tx: 51 is over high_mempool_tx (50); lower it"
    )]
    #[case(
        "[policy.consensus]\npayout_scripts = [\"51\", \"bc1q\"]",
        "policy.consensus.payout_scripts: item 1 is no output script; write its bytes as hex"
    )]
    #[case(
        "[policy.consensus]\nenforce = false\npayout_scripts = [\"51\"]",
        "policy.consensus.payout_scripts: no payout is judged while enforce is false; set enforce = \
         true or remove them"
    )]
    #[case(
        "[policy.mempool]\nenforce = true\npoll_interval_secs = 60",
        "policy.mempool.max_stale_secs: 60 is not over poll_interval_secs (60): the view would be \
         stale before the next poll; raise it"
    )]
    #[case("[policy]\nconsensus = true", "policy.consensus: expected a table, found boolean")]
    fn a_problem_names_its_key_and_the_fix(#[case] text: &str, #[case] expect: &str) {
        assert_eq!(problems(text), [expect]);
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let problems = problems("[policy]\nmax_tx_count = \n");
        assert!(problems[0].starts_with("line 2, column "), "{problems:?}");
        assert!(problems[0].ends_with(", in: max_tx_count ="), "{problems:?}");
    }

    #[test]
    fn all_problems_come_at_once() {
        let text =
            "[policy]\nmax_tx_count = true\nmin_fees = 1\n[policy.mempool]\nenforce = 1\n[x]";
        assert_eq!(problems(text).len(), 4, "{:?}", problems(text));
    }
}
