//! Templates to propose: a small one, and a full one from the embedded chain.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bitcoin::hashes::Hash;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use gateway_core::ids::TemplateId;
use gateway_core::job::{CoinbaseSpec, PayoutOutput, Template, TemplateTransaction, Work};
use serde_json::json;
use templates::gbt::BlockTemplate;
use verifier_protocol::{
    BodyAnnouncement, KnownTransaction, Message, Mode, ProposalId, TemplatePropose, body_lines,
    encode, known_lines,
};

use crate::node::{ChainScript, EmbeddedNode, Node};

/// The chain's clock, seconds since the Unix epoch.
const CHAIN_TIME: u64 = 1_700_000_000;
/// Enough blocks that the first coinbases can be spent.
const BLOCKS: u32 = 120;
/// What a full template is made of: near 4 000 000 weight units.
const FULL_TRANSACTIONS: usize = 3_700;
const FULL_OUTPUTS: u64 = 5;
const FULL_WEIGHT: std::ops::RangeInclusive<u64> = 3_800_000..=4_000_000;
/// What each transaction is said to pay: no default rule objects.
const FEES_PER_TRANSACTION: u64 = 20_000;

/// A template of one transaction.
pub(super) fn small() -> Result<Work> {
    made(1, 1)
}

/// A template of as many transactions as fit, about.
pub(super) fn full() -> Result<Work> {
    let work = made(FULL_TRANSACTIONS, FULL_OUTPUTS)?;
    let weight = work.declared().weight;
    ensure!(FULL_WEIGHT.contains(&weight), "the full template has a weight of {weight}");
    Ok(work)
}

fn made(transactions: usize, outputs: u64) -> Result<Work> {
    let mut node = EmbeddedNode::new(CHAIN_TIME);
    let node: &mut dyn Node = &mut node;
    let mut script = ChainScript::new(1, CHAIN_TIME);
    script.premine(node, BLOCKS, transactions)?;
    script.fill_mempool_with(node, transactions, outputs)?;
    script.advance(node, 6)?;
    let answer = node.call("getblocktemplate", &json!([{ "rules": ["segwit"] }]))?;
    let block = BlockTemplate::parse(answer.get().as_bytes())?;
    ensure!(block.transactions.len() == transactions, "the chain left transactions out");
    let anyone = Builder::new().push_opcode(OP_TRUE).into_script().to_p2wsh();
    let payout = PayoutOutput { script_pubkey: anyone, parts: 1 };
    let spec = CoinbaseSpec { tag: b"load".to_vec(), payouts: vec![payout] };
    Ok(Work::build(Arc::new(template(block)), &spec)?)
}

fn template(block: BlockTemplate) -> Template {
    let paid: u64 = block.transactions.iter().map(|tx| tx.fee.to_sat()).sum();
    let fees = FEES_PER_TRANSACTION * block.transactions.len() as u64;
    let transactions = block.transactions.into_iter().map(|tx| TemplateTransaction {
        data: tx.data,
        txid: tx.txid,
        wtxid: tx.wtxid,
        fee: FEES_PER_TRANSACTION,
        sigops: tx.sigops,
        weight: tx.weight,
    });
    Template {
        template_id: TemplateId(1),
        source: "embedded".to_owned(),
        observed_at_ms: 0,
        height: block.height,
        prev_hash: block.previous_block_hash,
        version: block.version.cast_unsigned(),
        bits: block.bits,
        curtime: block.curtime,
        mintime: block.mintime,
        coinbase_value: block.coinbase_value.to_sat() - paid + fees,
        transactions: transactions.collect(),
        witness_commitment: block.default_witness_commitment.map(|script| script.to_bytes()),
        mempool_tx: None,
    }
}

/// A template's lines but for what differs from proposal to proposal.
pub(super) struct Proposer {
    propose: TemplatePropose,
    body: Vec<u8>,
    known: Vec<KnownTransaction>,
}

impl Proposer {
    /// Sends every byte.
    pub(super) fn whole(work: &Work) -> Self {
        Self::new(work, work.proposal_block(), Vec::new())
    }

    /// Names every transaction but the coinbase.
    pub(super) fn named(work: &Work) -> Self {
        let transactions = work.template().transactions.iter().zip(1..);
        let known = transactions
            .map(|(tx, place)| KnownTransaction { place, wtxid: tx.wtxid.to_byte_array() })
            .collect();
        Self::new(work, work.proposal_block_without(|_| true), known)
    }

    fn new(work: &Work, body: Vec<u8>, known: Vec<KnownTransaction>) -> Self {
        let (template, declared) = (work.template(), work.declared());
        let tx_count = u32::try_from(declared.tx_count).unwrap_or(u32::MAX);
        let propose = TemplatePropose {
            proposal_id: ProposalId(0),
            mode: Mode::Inline,
            height: template.height,
            prev_hash: template.prev_hash.to_string(),
            block_version: template.version,
            bits: template.bits.to_consensus(),
            curtime: template.curtime,
            coinbase_value: declared.coinbase_value,
            tx_count,
            total_fees: declared.total_fees,
            weight: declared.weight,
            sigops_cost: declared.sigops_cost,
            coinbase_sigops: u32::try_from(declared.coinbase_sigops / 4).unwrap_or(u32::MAX),
            observed_at_ms: 0,
            gateway_instance_id: "verify-load".to_owned(),
            body: BodyAnnouncement::beside(&body, &known),
        };
        Self { propose, body, known }
    }

    /// The lines under this id, of a template that was seen at `observed_at_ms`.
    pub(super) fn lines(&self, id: u64, observed_at_ms: u64) -> Vec<u8> {
        let proposal_id = ProposalId(id);
        let propose = TemplatePropose { proposal_id, observed_at_ms, ..self.propose.clone() };
        let mut lines = encode(&Message::TemplatePropose(propose));
        for line in known_lines(proposal_id, &self.known).chain(body_lines(proposal_id, &self.body))
        {
            lines.extend_from_slice(&line);
        }
        lines
    }
}
