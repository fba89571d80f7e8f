//! A template made ready for miners.

use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Transaction};

use super::coinbase::{Coinbase, CoinbaseSpec, push_compact_size};
use super::merkle::{merkle_path, merkle_root};
use super::template::Template;
use crate::ids::{JobRef, TemplateId, sha256};
use crate::limits::EXTRANONCE_BYTES;
use crate::target::Target;

/// A template with its coinbase laid out and its merkle path computed: made once for a template and
/// shared by every channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Work {
    template: Arc<Template>,
    coinbase: Coinbase,
    network_target: Target,
    declared: Declared,
    job_data: Arc<JobData>,
}

/// What a proposal to the verifier states about the block; each figure is computed from the bytes
/// of [`Work::proposal_block`] but for the fees, which only the node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// What the coinbase pays in all, satoshis.
    pub coinbase_value: u64,
    /// Transactions without the coinbase.
    pub tx_count: u64,
    /// Fees of those, satoshis.
    pub total_fees: u64,
    /// Weight of the whole block with header and coinbase.
    pub weight: u64,
    /// Signature operations cost of the whole block with the coinbase.
    pub sigops_cost: u64,
    /// The coinbase's part of it: 4 for each of its legacy signature operations.
    pub coinbase_sigops: u64,
}

/// What a pool needs beside a share to check it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobData {
    /// Names these data; equal data have equal names, also across restarts.
    pub job_ref: JobRef,
    /// The tip; text form is the display order that Bitcoin's RPC uses.
    pub prev_hash: BlockHash,
    /// Encoded network target.
    pub nbits: u32,
    /// Coinbase before the extranonce, without witness.
    pub coinbase_prefix: Vec<u8>,
    /// Coinbase after the extranonce, without witness.
    pub coinbase_suffix: Vec<u8>,
    /// Siblings of the coinbase from the leaves upwards, internal byte order.
    pub merkle_path: Vec<[u8; 32]>,
}

/// A template cannot become work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nobody to pay.
    #[error("no payout output has any parts; give gateway.payout_outputs at least one")]
    NoPayee,
    /// The tag leaves no room in the scriptSig.
    #[error("gateway.coinbase_tag is {excess} bytes too long for the coinbase; shorten it")]
    TagTooLong {
        /// Bytes over the limit.
        excess: usize,
    },
    /// The outputs do not fit into a job for an extended channel.
    #[error(
        "the coinbase outputs take {bytes} bytes of at most 65535; give gateway.payout_outputs fewer"
    )]
    TooManyPayees {
        /// Bytes that they take.
        bytes: usize,
    },
    /// The coinbase that was built is no transaction: a defect of the gateway.
    #[error("the coinbase built for template {0} does not decode")]
    Coinbase(TemplateId),
}

impl Work {
    /// Makes work of `template`.
    ///
    /// # Errors
    /// See [`Coinbase::build`].
    pub fn build(template: Arc<Template>, spec: &CoinbaseSpec) -> Result<Self, BuildError> {
        let coinbase = Coinbase::build(&template, spec)?;
        let merkle_path = merkle_path(template.transactions.iter().map(|tx| tx.txid));
        let declared = declare(&template, &coinbase)?;
        let job_data = JobData::new(&template, &coinbase, merkle_path);
        Ok(Self {
            network_target: Target::from_compact(template.bits),
            template,
            coinbase,
            declared,
            job_data: Arc::new(job_data),
        })
    }

    /// The template.
    pub fn template(&self) -> &Arc<Template> {
        &self.template
    }

    /// The template's id.
    pub fn template_id(&self) -> TemplateId {
        self.template.template_id
    }

    /// The tip it builds on.
    pub fn prev_hash(&self) -> BlockHash {
        self.template.prev_hash
    }

    /// The coinbase with its extranonce open.
    pub fn coinbase(&self) -> &Coinbase {
        &self.coinbase
    }

    /// What a hash must not exceed to make a block.
    pub fn network_target(&self) -> Target {
        self.network_target
    }

    /// What a proposal states about the block.
    pub fn declared(&self) -> Declared {
        self.declared
    }

    /// What a pool needs to check shares on this work.
    pub fn job_data(&self) -> &Arc<JobData> {
        &self.job_data
    }

    /// The siblings of the coinbase from the leaves upwards, internal byte order.
    pub fn merkle_path(&self) -> &[[u8; 32]] {
        &self.job_data.merkle_path
    }

    /// The merkle root with this extranonce, internal byte order.
    pub fn merkle_root(&self, extranonce: &[u8; EXTRANONCE_BYTES]) -> [u8; 32] {
        merkle_root(self.coinbase.txid(extranonce), self.merkle_path())
    }

    /// The block as it is proposed to the verifier: an all-zero extranonce and a zero nonce.
    pub fn proposal_block(&self) -> Vec<u8> {
        self.proposal_block_without(|_| false)
    }

    /// The same less the bytes of every transaction for which `is_left_out` holds; its argument is
    /// the place among the template's transactions.
    pub fn proposal_block_without(&self, is_left_out: impl Fn(usize) -> bool) -> Vec<u8> {
        let extranonce = [0; EXTRANONCE_BYTES];
        let header = Header {
            version: self.template.version,
            prev_hash: self.template.prev_hash,
            merkle_root: self.merkle_root(&extranonce),
            ntime: self.template.curtime,
            nbits: self.template.bits.to_consensus(),
            nonce: 0,
        };
        self.serialize(&header.serialize(), &extranonce, is_left_out)
    }

    /// The whole block under this header, with every witness.
    pub fn block(&self, header: &[u8; 80], extranonce: &[u8; EXTRANONCE_BYTES]) -> Vec<u8> {
        self.serialize(header, extranonce, |_| false)
    }

    fn serialize(
        &self,
        header: &[u8; 80],
        extranonce: &[u8; EXTRANONCE_BYTES],
        is_left_out: impl Fn(usize) -> bool,
    ) -> Vec<u8> {
        let transactions = &self.template.transactions;
        let included = || {
            transactions.iter().zip(0..).filter(|(_, place)| !is_left_out(*place)).map(|(tx, _)| tx)
        };
        let size: usize = included().map(|tx| tx.data.len()).sum();
        let mut bytes = Vec::with_capacity(80 + 9 + 512 + size);
        bytes.extend(header);
        push_compact_size(&mut bytes, transactions.len() + 1);
        bytes.extend(self.coinbase.transaction(extranonce));
        for tx in included() {
            bytes.extend(&tx.data);
        }
        bytes
    }
}

impl JobData {
    fn new(template: &Template, coinbase: &Coinbase, merkle_path: Vec<[u8; 32]>) -> Self {
        let nbits = template.bits.to_consensus();
        let digest = sha256(&[
            template.prev_hash.as_byte_array(),
            &nbits.to_le_bytes(),
            &(coinbase.prefix().len() as u64).to_le_bytes(),
            coinbase.prefix(),
            &(coinbase.suffix().len() as u64).to_le_bytes(),
            coinbase.suffix(),
            merkle_path.as_flattened(),
        ]);
        Self {
            job_ref: JobRef(digest[..16].try_into().expect("half of 32 bytes")),
            prev_hash: template.prev_hash,
            nbits,
            coinbase_prefix: coinbase.prefix().to_vec(),
            coinbase_suffix: coinbase.suffix().to_vec(),
            merkle_path,
        }
    }
}

fn declare(template: &Template, coinbase: &Coinbase) -> Result<Declared, BuildError> {
    let bytes = coinbase.transaction(&[0; EXTRANONCE_BYTES]);
    let transaction: Transaction =
        deserialize(&bytes).map_err(|_| BuildError::Coinbase(template.template_id))?;
    let coinbase_sigops = transaction.total_sigop_cost(|_| None) as u64;
    let mut around = vec![0; 80];
    push_compact_size(&mut around, template.transactions.len() + 1);
    let weights = template.transactions.iter().map(|tx| tx.weight);
    let sigops = template.transactions.iter().map(|tx| tx.sigops);
    Ok(Declared {
        coinbase_value: transaction.output.iter().map(|output| output.value.to_sat()).sum(),
        tx_count: template.transactions.len() as u64,
        total_fees: template.total_fees(),
        weight: weights
            .fold(4 * around.len() as u64 + transaction.weight().to_wu(), u64::saturating_add),
        sigops_cost: sigops.fold(coinbase_sigops, u64::saturating_add),
        coinbase_sigops,
    })
}

/// A block header in parts, for shares as for proposals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) prev_hash: BlockHash,
    pub(crate) merkle_root: [u8; 32],
    pub(crate) ntime: u32,
    pub(crate) nbits: u32,
    pub(crate) nonce: u32,
}

impl Header {
    /// The 80 bytes that miners hash.
    pub(crate) fn serialize(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(self.prev_hash.as_byte_array());
        bytes[36..68].copy_from_slice(&self.merkle_root);
        bytes[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }
}
