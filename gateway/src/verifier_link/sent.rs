//! Proposals as lines, and the memory of what the verifier was sent in them.

use std::collections::HashSet;

use bitcoin::Wtxid;
use bitcoin::hashes::Hash;
use gateway_core::ids::InstanceId;
use gateway_core::job::Work;
use verifier_protocol::{
    BodyAnnouncement, KnownTransaction, Message, Mode, ProposalId, TemplatePropose, body_lines,
    encode, known_lines,
};

use crate::limits::TRANSACTIONS_REMEMBERED;

/// The transactions that a verifier was sent on one connection, those used lately.
#[derive(Debug, Default)]
pub(super) struct Sent {
    young: HashSet<Wtxid>,
    old: HashSet<Wtxid>,
}

impl Sent {
    /// Whether it was sent; from now on it was.
    fn send(&mut self, wtxid: Wtxid) -> bool {
        if !self.young.insert(wtxid) {
            return true;
        }
        let known = self.old.contains(&wtxid);
        if self.young.len() > TRANSACTIONS_REMEMBERED {
            self.old = std::mem::take(&mut self.young);
            self.young.insert(wtxid);
        }
        known
    }

    /// The verifier has not got it.
    pub(super) fn forget(&mut self, wtxid: &Wtxid) {
        self.young.remove(wtxid);
        self.old.remove(wtxid);
    }
}

/// Who proposes.
#[derive(Clone, Debug)]
pub(super) struct Proposer {
    pub(super) mode: gateway_core::mode::Mode,
    pub(super) instance: InstanceId,
}

/// The lines of a proposal. With `sent`, transactions that are in it are named instead of sent, and
/// it learns the others.
pub(super) fn proposal_lines(
    proposal_id: ProposalId,
    work: &Work,
    proposer: &Proposer,
    sent: Option<&mut Sent>,
) -> Vec<u8> {
    let known = sent.map(|sent| known(work, sent)).unwrap_or_default();
    let body = match known.is_empty() {
        true => work.proposal_block(),
        // In the block, the coinbase stands before the template's transactions.
        false => work.proposal_block_without(|place| {
            known.binary_search_by_key(&(place + 1), |known| known.place as usize).is_ok()
        }),
    };
    let announced = BodyAnnouncement::beside(&body, &known);
    let propose = propose(proposal_id, work, proposer, announced);
    let mut lines = encode(&Message::TemplatePropose(propose));
    for line in known_lines(proposal_id, &known).chain(body_lines(proposal_id, &body)) {
        lines.extend_from_slice(&line);
    }
    lines
}

fn known(work: &Work, sent: &mut Sent) -> Vec<KnownTransaction> {
    let transactions = work.template().transactions.iter().zip(1..);
    let known = transactions.filter(|(tx, _)| sent.send(tx.wtxid));
    known.map(|(tx, place)| KnownTransaction { place, wtxid: tx.wtxid.to_byte_array() }).collect()
}

fn propose(
    proposal_id: ProposalId,
    work: &Work,
    proposer: &Proposer,
    body: BodyAnnouncement,
) -> TemplatePropose {
    let (template, declared) = (work.template(), work.declared());
    TemplatePropose {
        proposal_id,
        mode: match proposer.mode {
            gateway_core::mode::Mode::Shadow => Mode::Shadow,
            gateway_core::mode::Mode::Observe => Mode::Observe,
            gateway_core::mode::Mode::Inline => Mode::Inline,
        },
        height: template.height,
        prev_hash: template.prev_hash.to_string(),
        block_version: template.version,
        bits: template.bits.to_consensus(),
        curtime: template.curtime,
        coinbase_value: declared.coinbase_value,
        tx_count: u32::try_from(declared.tx_count).unwrap_or(u32::MAX),
        total_fees: declared.total_fees,
        weight: declared.weight,
        sigops_cost: declared.sigops_cost,
        // The cost of a legacy operation is 4 (BIP 141); a coinbase has no others.
        coinbase_sigops: u32::try_from(declared.coinbase_sigops / 4).unwrap_or(u32::MAX),
        observed_at_ms: template.observed_at_ms,
        gateway_instance_id: proposer.instance.as_str().to_owned(),
        body,
    }
}
