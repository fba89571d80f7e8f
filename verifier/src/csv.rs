//! Verdicts as comma-separated values (RFC 4180).

use std::fmt::Write;

use crate::history::Entry;

const HEAD: &str = "seq,judged_at_ms,gateway_instance_id,height,prev_hash,proposal_id,accepted,\
                    reason_code,reason_detail,fee_tier,min_avg_fee_used,warnings,policy,consensus,\
                    mempool,node,policy_hash,judged_in_us";

/// A table with a head line.
pub(crate) fn table(entries: &[Entry]) -> String {
    let mut text = format!("{HEAD}\r\n");
    for entry in entries {
        let row = row(entry).map(|field| quoted(&field));
        write!(text, "{}\r\n", row.join(",")).expect("a String takes any text");
    }
    text
}

fn row(entry: &Entry) -> [String; 18] {
    let judged = &entry.verdict;
    let verdict = &judged.verdict;
    let context = verdict.policy_context;
    let warnings: Vec<&str> = verdict.warnings.iter().map(|code| code.as_str()).collect();
    [
        entry.seq.to_string(),
        entry.judged_at_ms.to_string(),
        entry.gateway_instance_id.clone(),
        entry.height.to_string(),
        entry.prev_hash.clone(),
        judged.proposal_id.to_string(),
        verdict.accepted.to_string(),
        verdict.reason_code.as_str().to_owned(),
        verdict.reason_detail.clone().unwrap_or_default(),
        context.map_or("", |context| context.fee_tier.as_str()).to_owned(),
        context.map(|context| context.min_avg_fee_used.to_string()).unwrap_or_default(),
        warnings.join(" "),
        verdict.checks.policy.as_str().to_owned(),
        verdict.checks.consensus.as_str().to_owned(),
        verdict.checks.mempool.as_str().to_owned(),
        verdict.checks.node.as_str().to_owned(),
        judged.policy_hash.clone(),
        judged.judged_in_us.to_string(),
    ]
}

/// A field that no reader takes for something else: spreadsheets run what begins like a formula,
/// and some of these texts come from peers.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !formula && !field.contains(['"', ',', '\r', '\n']) {
        return field.to_owned();
    }
    format!("\"{}{}\"", if formula { "'" } else { "" }, field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::history::tests::entry;

    #[rstest]
    #[case("plain", "plain")]
    #[case("a,b", "\"a,b\"")]
    #[case("say \"yes\"", "\"say \"\"yes\"\"\"")]
    #[case("=1+1", "\"'=1+1\"")]
    #[case("two\nlines", "\"two\nlines\"")]
    fn a_field_stays_one_field(#[case] field: &str, #[case] expect: &str) {
        assert_eq!(quoted(field), expect);
    }

    #[test]
    fn a_row_has_a_field_for_each_head() {
        let table = table(&[entry(7)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0].split(',').count(), 18);
        let expect = format!(
            "7,7,gw,101,{},7,false,protocol_version_mismatch,version=3 != protocol_version=2,,,,\
             failed,skipped,skipped,skipped,,700",
            "0a".repeat(32)
        );
        assert_eq!(lines[1], expect);
    }
}
