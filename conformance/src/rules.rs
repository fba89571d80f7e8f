//! The rules that cases are held against, and why some have none.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::RangeInclusive;

use crate::case::Case;
use crate::cases::catalogue;
use crate::client::client_catalogue;

/// The rules by family and number. Specification 3 is `OV`, 4 `SE`, 5 `MP`, 6 `JD`, 7 `TD`, the
/// extensions `EX`; `DF` is what deployed programs need, and `HY` what sense demands.
const RULES: [(&str, &[RangeInclusive<u8>]); 8] = [
    ("OV", &[1..=18, 22..=27, 30..=37, 40..=42]),
    ("SE", &[1..=18]),
    ("MP", &[1..=5, 10..=16, 20..=23, 30..=38, 40..=44, 50..=57, 60..=73, 80..=82]),
    ("EX", &[1..=7, 10..=12]),
    ("JD", &[1..=8]),
    ("TD", &[1..=8, 10..=13]),
    ("DF", &[1..=8]),
    ("HY", &[1..=8]),
];

/// Rules that no case judges, each with the reason.
const UNJUDGED: &[(&str, &str)] = &[
    (
        "OV-01",
        "A fact of the encoding: every case reads and writes it, `vectors/frames.json` holds it.",
    ),
    (
        "OV-02",
        "A fact of the encoding: every case reads and writes it, `vectors/frames.json` holds it.",
    ),
    (
        "OV-03",
        "A fact of the encoding: every case reads and writes it, `vectors/frames.json` holds it.",
    ),
    ("OV-09", "Of job declaration and template distribution, which the suite does not judge."),
    ("OV-11", "OV-06a judges it for core messages, EX-05a for those of extension 1."),
    ("OV-13", "Which extensions are registered is not seen on the wire."),
    ("OV-15", "A fact of the encoding: `vectors/tlvs.json` and the cases of OV-16 hold it."),
    ("OV-22", "A fact: a code may be any string. OV-25 and OV-26 judge its characters."),
    ("OV-27", "A client cannot bring a server to close a channel."),
    ("OV-33", "A fact of the encoding: the cases of OV-30 to OV-35 read it."),
    ("OV-41", "Of job declaration, which the suite does not judge."),
    ("OV-42", "Of template distribution, which the suite does not judge."),
    (
        "SE-02",
        "A fact of the handshake: SE-08a and every other case need it right; `vectors/handshakes.json` holds it.",
    ),
    (
        "SE-03",
        "A fact of the handshake: SE-08a and every other case need it right; `vectors/handshakes.json` holds it.",
    ),
    (
        "SE-04",
        "A fact of the handshake: SE-08a and every other case need it right; `vectors/handshakes.json` holds it.",
    ),
    (
        "SE-05",
        "A fact of the handshake: SE-08a and every other case need it right; `vectors/handshakes.json` holds it.",
    ),
    (
        "SE-17",
        "The text form of a key is not sent; `vectors/keys.json` holds it, and `--authority-key` reads it.",
    ),
    ("MP-01", "What a pool makes its templates of is not seen by a miner."),
    ("MP-03", "A fact: how much work a header holds."),
    ("MP-05", "Whether jobs conflict needs the transactions, which a miner does not see."),
    ("MP-13", "A fact of the encoding: the cases of MP-12 and MP-14 read the group."),
    ("MP-16", "Either way of addressing is legal; the suite follows both."),
    ("MP-34", "A fact of the encoding: the cases of MP-31 and MP-32 read it."),
    ("MP-35", "A fact of the encoding: the cases of MP-36 read it."),
    ("MP-65", "MP-51a: a share for the root so made is accepted."),
    ("MP-66", "Of proxies; the suite has no server behind the one that it judges."),
    ("MP-69", "A fact: the message has no such field."),
    ("MP-70", "A fact of the encoding: the cases of MP-71 and MP-72 send it."),
    ("MP-73", "Of clients that select work, which `serve` does not offer."),
    (
        "MP-82",
        "A client cannot bring a server to regroup; where one does, MP-12, MP-14 and MP-23b judge it.",
    ),
    ("EX-07", "A slip in the text of the extension."),
    ("EX-12", "What difficulty suits many workers is for the operator."),
    ("DF-03", "Reconnect and ChannelEndpointChanged may come any time; none can be waited out."),
    ("DF-04", "What one client does not survive; its cases are those of `conformance serve`."),
    ("DF-05", "A setting of the server; OV-08a judges either."),
];
/// As [`UNJUDGED`], for whole families.
const OTHER_PROTOCOLS: [(&str, &str); 2] = [
    ("JD", "Of job declaration, which the suite does not judge."),
    ("TD", "Of template distribution, which the suite does not judge."),
];

/// One rule, with its cases.
struct Rule {
    id: String,
    server: Vec<&'static str>,
    client: Vec<&'static str>,
    reason: Option<&'static str>,
}

fn rules() -> Vec<Rule> {
    let (server, client) = (by_rule(catalogue()), by_rule(client_catalogue()));
    let ids = RULES.iter().flat_map(|(family, ranges)| {
        ranges.iter().cloned().flatten().map(move |number| format!("{family}-{number:02}"))
    });
    ids.map(|id| {
        let cases = |of: &BTreeMap<&str, Vec<_>>| of.get(id.as_str()).cloned().unwrap_or_default();
        let reasons = UNJUDGED.iter().chain(&OTHER_PROTOCOLS);
        let reason = reasons.clone().find(|(rule, _)| id.starts_with(rule)).map(|(_, why)| *why);
        Rule { server: cases(&server), client: cases(&client), reason, id }
    })
    .collect()
}

/// The ids of cases by their rule.
fn by_rule(
    cases: impl Iterator<Item = &'static Case>,
) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut by_rule = BTreeMap::<_, Vec<_>>::new();
    for case in cases {
        let id = case.id.strip_prefix("CL-").unwrap_or(case.id);
        by_rule
            .entry(id.trim_end_matches(|c: char| c.is_ascii_lowercase()))
            .or_default()
            .push(case.id);
    }
    by_rule
}

/// Every rule with its cases, or why it has none, as a page.
pub fn rules_page() -> String {
    let mut text = String::from(PREFACE);
    for rule in rules() {
        let cases = [rule.server, rule.client].concat().join(" ");
        let told = if cases.is_empty() { rule.reason.unwrap_or_default() } else { &cases };
        let _ = writeln!(text, "| {} | {told} |", rule.id); // Writing to a String cannot fail.
    }
    text
}

const PREFACE: &str = "\
# The rules, and the cases that judge them

Made from the registry by its test; do not edit. `OV` is specification 3, `SE` 4, `MP` 5, `JD` 6, \
`TD` 7, `EX` the extensions; `DF` is what deployed programs need and no text says, `HY` what sense \
demands of a server on the open network. Cases that begin with `CL` judge clients. What a case asks \
stands in [CASES.md](CASES.md).

| rule | cases, or why there is none |
|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_case_or_a_reason_and_not_both() {
        for rule in rules() {
            let is_judged = !rule.server.is_empty() || !rule.client.is_empty();
            assert!(is_judged != rule.reason.is_some(), "{}", rule.id);
        }
    }

    #[test]
    fn every_case_is_of_a_rule() {
        let rules: Vec<String> = rules().into_iter().map(|rule| rule.id).collect();
        for id in by_rule(catalogue()).keys().chain(by_rule(client_catalogue()).keys()) {
            assert!(rules.iter().any(|rule| rule == id), "{id} is no rule");
        }
        for (id, _) in UNJUDGED {
            assert!(rules.iter().any(|rule| rule == id), "{id} is no rule");
        }
    }
}
