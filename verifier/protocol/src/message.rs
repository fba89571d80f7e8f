//! The messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Verdict, base64_bytes, bounded, known};

/// Names a proposal on its link; the gateway counts it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProposalId(pub u64);

impl fmt::Display for ProposalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Any message of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Gateway to verifier: judge this template.
    TemplatePropose(TemplatePropose),
    /// Gateway to verifier: a piece of the proposed block.
    TemplateBody(TemplateBody),
    /// Gateway to verifier: transactions of the proposed block that it was sent before.
    TxKnown(TxKnown),
    /// Verifier to gateway: propose again with the bytes of these.
    TxNeed(TxNeed),
    /// Verifier to gateway: the judgement.
    TemplateVerdict(TemplateVerdict),
    /// Either way: are you there?
    Heartbeat(Heartbeat),
    /// The answer to a heartbeat.
    HeartbeatAck(HeartbeatAck),
}

impl Message {
    /// The message's name on the wire.
    pub fn msg_type(&self) -> &'static str {
        match self {
            Self::TemplatePropose(_) => "template_propose",
            Self::TemplateBody(_) => "template_body",
            Self::TxKnown(_) => "tx_known",
            Self::TxNeed(_) => "tx_need",
            Self::TemplateVerdict(_) => "template_verdict",
            Self::Heartbeat(_) => "heartbeat",
            Self::HeartbeatAck(_) => "heartbeat_ack",
        }
    }
}

/// Announces a template and declares what the verifier will re-derive from its bytes.
///
/// The body that follows is the whole serialized block: the 80-byte header (nonce 0, merkle root
/// for an all-zero extranonce) and the transactions, the coinbase with its witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplatePropose {
    /// Names the proposal in its body lines and its verdict.
    pub proposal_id: ProposalId,
    /// The gateway's mode: whether its miners wait for the verdict.
    pub mode: Mode,
    /// Height of the proposed block.
    pub height: u32,
    /// Hash of the parent block, 64 hex digits in the order the node's RPC prints. Of a longer text
    /// the first [`crate::MAX_PREV_HASH_CHARS`] are read.
    #[serde(deserialize_with = "bounded::prev_hash")]
    pub prev_hash: String,
    /// The header's version field.
    pub block_version: u32,
    /// The header's compact target.
    pub bits: u32,
    /// The template's time in seconds since the Unix epoch; the header's time is the same.
    pub curtime: u32,
    /// What the coinbase may pay out, in satoshis: subsidy and fees.
    pub coinbase_value: u64,
    /// Number of transactions, the coinbase **not** counted (the length of `transactions` in
    /// `getblocktemplate`).
    pub tx_count: u32,
    /// Sum of the fees in satoshis.
    pub total_fees: u64,
    /// Weight of the whole block, header and coinbase included (BIP 141).
    pub weight: u64,
    /// Signature operation cost of the whole block, the coinbase's included (BIP 141).
    pub sigops_cost: u64,
    /// Legacy signature operations of the coinbase, **not** scaled by 4.
    pub coinbase_sigops: u32,
    /// When the gateway's template source saw the template, in Unix milliseconds.
    pub observed_at_ms: u64,
    /// Which gateway proposes; [`crate::MAX_GATEWAY_INSTANCE_ID_CHARS`] are read.
    #[serde(deserialize_with = "bounded::gateway_instance_id")]
    pub gateway_instance_id: String,
    /// The body that follows.
    pub body: BodyAnnouncement,
}

/// What a gateway does with verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Templates are judged; no miner is connected.
    Shadow,
    /// Miners work at once; verdicts are recorded.
    Observe,
    /// A job needs an accepting verdict.
    Inline,
}

impl Mode {
    /// The mode's name in configuration and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Observe => "observe",
            Self::Inline => "inline",
        }
    }
}

/// Size and digest of a body, so that its lines can be checked as they come.
///
/// A body is the serialized block, less the transactions that `tx_known` lines name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyAnnouncement {
    /// Length of the whole body in bytes, 1 to [`crate::MAX_BODY_BYTES`].
    pub bytes: u64,
    /// Number of `template_body` lines, 1 to [`crate::MAX_BODY_CHUNKS`].
    pub chunks: u32,
    /// SHA-256 of the whole body, 64 hex digits in the order of the digest's bytes.
    pub sha256: String,
    /// Number of transactions that are left out of the body and named in `tx_known` lines before
    /// it, at most [`crate::MAX_KNOWN_TRANSACTIONS`]. To be used only with a verifier whose
    /// heartbeat answers say `tx_known`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub known: u32,
}

/// Transactions of a proposed block that the verifier was sent before on this link. The lines come
/// in order, before the body's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxKnown {
    /// The proposal it belongs to.
    pub proposal_id: ProposalId,
    /// Its place, from 0.
    pub index: u32,
    /// The transactions by ascending place, 1 to [`crate::MAX_KNOWN_PER_LINE`].
    #[serde(with = "known::records")]
    pub transactions: Vec<KnownTransaction>,
}

/// One transaction, named.
///
/// On the wire 36 bytes, in base64 with those of its line: the place, little-endian, and the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownTransaction {
    /// Its place in the block, the coinbase's being 0.
    pub place: u32,
    /// Its hash with the witness, internal byte order.
    pub wtxid: [u8; 32],
}

/// The verifier lacks transactions that were named. It has dropped the proposal: send it again
/// under the same id, with the bytes of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxNeed {
    /// The proposal that cannot be judged.
    pub proposal_id: ProposalId,
    /// The places of the transactions that are needed, ascending.
    pub places: Vec<u32>,
}

/// A piece of a proposed block. The pieces come in order and without other proposals' between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateBody {
    /// The proposal it belongs to.
    pub proposal_id: ProposalId,
    /// Its place, from 0.
    pub index: u32,
    /// The bytes, base64 on the wire; at most [`crate::MAX_BODY_CHUNK_BYTES`].
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
}

/// The judgement of one proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateVerdict {
    /// The proposal judged.
    pub proposal_id: ProposalId,
    /// The judgement.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Content hash of the policy it was judged by; empty when none is loaded.
    pub policy_hash: String,
    /// From the last line of the body to the verdict, in microseconds.
    pub judged_in_us: u64,
}

/// Asks whether the other end lives. Three without an answer: the link is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Counted up by the sender.
    pub seq: u64,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAck {
    /// The heartbeat's.
    pub seq: u64,
    /// A verifier that keeps transactions says so: it may be sent `tx_known`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tx_known: bool,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
