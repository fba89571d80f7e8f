//! A policy as text of one possible form.

use std::fmt::Write;

use ring::digest::{SHA256, digest};

use crate::Policy;

pub(crate) fn hash(policy: &Policy) -> String {
    const_hex::encode(digest(&SHA256, text(policy).as_bytes()))
}

pub(crate) fn text(policy: &Policy) -> String {
    let mut text = String::from("[policy]\n");
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key} = {value}").expect("a String takes any text");
    };
    let rules = &policy.template;
    line("protocol_version", &rules.protocol_version);
    line("required_prevhash_len", &rules.required_prevhash_len);
    line("min_avg_fee_lo", &rules.min_avg_fee_lo);
    line("min_avg_fee_mid", &rules.min_avg_fee_mid);
    line("min_avg_fee_hi", &rules.min_avg_fee_hi);
    line("avg_fee_unit", &format_args!("\"{}\"", rules.avg_fee_unit.as_str()));
    line("low_mempool_tx", &rules.low_mempool_tx);
    line("high_mempool_tx", &rules.high_mempool_tx);
    line("unknown_mempool_as_high", &rules.unknown_mempool_as_high);
    line("min_total_fees", &rules.min_total_fees);
    line("max_tx_count", &rules.max_tx_count);
    line("reject_empty_templates", &rules.reject_empty_templates);
    line("reject_coinbase_zero", &rules.reject_coinbase_zero);
    line("max_weight_ratio", &float(rules.max_weight_ratio));
    line("max_template_age_secs", &rules.max_template_age_secs);
    line("max_sigops_cost", &rules.max_sigops_cost);
    line("max_coinbase_sigops", &rules.max_coinbase_sigops);
    line("warn_sigops_ratio", &float(rules.warn_sigops_ratio));
    line("warn_coinbase_sigops", &rules.warn_coinbase_sigops);

    let scripts: Vec<String> = policy
        .consensus
        .payout_scripts
        .iter()
        .map(|script| format!("\"{}\"", const_hex::encode(script)))
        .collect();
    line("consensus.enforce", &policy.consensus.enforce);
    line("consensus.payout_scripts", &format_args!("[{}]", scripts.join(", ")));
    line("consensus.min_payout_share", &float(policy.consensus.min_payout_share));
    line("mempool.enforce", &policy.mempool.enforce);
    line("mempool.tolerance_pct", &float(policy.mempool.tolerance_pct));
    line("mempool.poll_interval_secs", &policy.mempool.poll_interval_secs);
    line("mempool.max_stale_secs", &policy.mempool.max_stale_secs);
    line("mempool.per_tx_detail", &policy.mempool.per_tx_detail);
    line("node.proposal_check", &policy.node.proposal_check);
    text
}

/// Shortest form that reads back the same, always with a point: TOML tells 1 from 1.0.
fn float(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_and_defaults_are_the_published_ones() {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/verifier"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!("policy-defaults", text(&Policy::default()));
        });
    }

    #[test]
    fn the_page_has_every_key_with_its_default_and_every_code() {
        let page = include_str!("../../../docs/policy.md");
        let (keys, codes) = page.split_once("## Verdict codes").unwrap();
        let cells = |row: &str| row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let listed: Vec<String> = keys
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|row| {
                let cells: Vec<String> = cells(row);
                format!("{} = {}", cells[1], cells[3])
            })
            .collect();
        let defaults = text(&Policy::default());
        assert_eq!(listed, defaults.lines().skip(1).collect::<Vec<_>>());

        let rows: Vec<String> = verifier_protocol::VerdictCode::ALL
            .iter()
            .map(|code| format!("| `{code}` | {} | {} |", code.kind().as_str(), code.description()))
            .collect();
        let listed: Vec<&str> = codes.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(listed, rows);
    }

    #[test]
    fn the_example_of_the_page_is_a_policy() {
        let page = include_str!("../../../docs/policy.md");
        let (_, example) = page.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let policy = Policy::from_toml(example).unwrap();
        assert_eq!(policy.consensus.payout_scripts.len(), 1);
    }

    #[test]
    fn the_text_reads_back_to_the_same_policy() {
        let mut policy = Policy::default();
        policy.template.max_weight_ratio = 0.5;
        policy.template.unknown_mempool_as_high = false;
        policy.consensus.payout_scripts = vec![vec![0x51], vec![0x00, 0x14]];
        policy.mempool.enforce = true;
        assert_eq!(Policy::from_toml(&text(&policy)), Ok(policy));
    }

    #[test]
    fn the_hash_follows_the_values_and_nothing_else() {
        let spelled_out = Policy::from_toml("# a comment\n[policy]\nmax_tx_count = 10000\n");
        let default = Policy::default();
        assert_eq!(spelled_out.unwrap().content_hash(), default.content_hash());
        let other = Policy::from_toml("[policy]\nmax_tx_count = 10001\n").unwrap();
        assert_ne!(other.content_hash(), default.content_hash());
    }
}
