//! What the proposal is and what it builds on.

use verifier_protocol::VerdictCode;

use crate::{Rejection, TemplateFacts, TemplateRules};

pub(crate) fn judge(rules: &TemplateRules, facts: &TemplateFacts) -> Result<(), Rejection> {
    if facts.protocol_version != rules.protocol_version {
        return Err(Rejection::new(
            VerdictCode::ProtocolVersionMismatch,
            format!(
                "version={} != protocol_version={}",
                facts.protocol_version, rules.protocol_version
            ),
        ));
    }
    let length = facts.prev_hash.chars().count();
    if length != rules.required_prevhash_len {
        return Err(Rejection::new(
            VerdictCode::PrevHashLenMismatch,
            format!(
                "prev_hash_len={length} != required_prevhash_len={}",
                rules.required_prevhash_len
            ),
        ));
    }
    if !facts.prev_hash.chars().all(|digit| digit.is_ascii_hexdigit()) {
        let detail = "prev_hash is not hexadecimal".to_owned();
        return Err(Rejection::new(VerdictCode::InvalidPrevHash, detail));
    }
    // Only the genesis block builds on nothing.
    if facts.prev_hash.chars().all(|digit| digit == '0') {
        let detail = "prev_hash is all zero".to_owned();
        return Err(Rejection::new(VerdictCode::InvalidPrevHash, detail));
    }
    Ok(())
}
