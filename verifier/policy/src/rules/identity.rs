//! What the proposal is and what it builds on.

use verifier_protocol::VerdictCode;

use super::{Question, Rule};

pub(super) const VERSION: Rule = Rule {
    code: VerdictCode::ProtocolVersionMismatch,
    objection: |on| {
        let (version, required) = (on.facts.protocol_version, on.rules.protocol_version);
        (version != required).then(|| format!("version={version} != protocol_version={required}"))
    },
    input: |on| format!("version={}", on.facts.protocol_version),
    limit: |on| format!("protocol_version={}", on.rules.protocol_version),
};

pub(super) const PREV_HASH_LENGTH: Rule = Rule {
    code: VerdictCode::PrevHashLenMismatch,
    objection: |on| {
        let (length, required) = (prev_hash_length(on), on.rules.required_prevhash_len);
        (length != required)
            .then(|| format!("prev_hash_len={length} != required_prevhash_len={required}"))
    },
    input: |on| format!("prev_hash_len={}", prev_hash_length(on)),
    limit: |on| format!("required_prevhash_len={}", on.rules.required_prevhash_len),
};

pub(super) const PREV_HASH: Rule = Rule {
    code: VerdictCode::InvalidPrevHash,
    objection: |on| {
        let prev_hash = &on.facts.prev_hash;
        if !prev_hash.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Some("prev_hash is not hexadecimal".to_owned());
        }
        // Only the genesis block builds on nothing.
        prev_hash.chars().all(|digit| digit == '0').then(|| "prev_hash is all zero".to_owned())
    },
    input: |on| format!("prev_hash={}", on.facts.prev_hash),
    limit: |_| "hexadecimal, not all zero".to_owned(),
};

fn prev_hash_length(on: &Question<'_>) -> usize {
    on.facts.prev_hash.chars().count()
}
