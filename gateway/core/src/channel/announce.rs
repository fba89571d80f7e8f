//! How a job is told to the miner.

use bitcoin::hashes::Hash as _;
use sv2_wire::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};
use sv2_wire::{B064K, Message as _, Seq0255, U256};

use crate::ids::{ChannelId, JobId};
use crate::job::Work;

/// A job on its way to a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) channel_id: ChannelId,
    pub(super) job_id: JobId,
    pub(super) min_ntime: u32,
    /// It waits for its SetNewPrevHash; else it starts at once.
    pub(super) is_future: bool,
}

impl Announced {
    fn first_ntime(self) -> Option<u32> {
        (!self.is_future).then_some(self.min_ntime)
    }

    /// NewMiningJob: the coinbase is settled.
    pub(super) fn standard(self, work: &Work, merkle_root: [u8; 32], out: &mut Vec<u8>) {
        NewMiningJob {
            channel_id: self.channel_id.0,
            job_id: self.job_id.0,
            min_ntime: self.first_ntime(),
            version: work.template().version,
            merkle_root: U256(merkle_root),
        }
        .encode_frame(out);
    }

    /// NewExtendedMiningJob: the coinbase around a space for the extranonce, without its witness
    /// (SV2 §3.7), and the way from its txid to the merkle root.
    pub(super) fn extended(self, work: &Work, version_rolling_allowed: bool, out: &mut Vec<u8>) {
        let path: Vec<U256> = work.merkle_path().iter().copied().map(U256).collect();
        let coinbase = work.coinbase();
        let fits = |bytes| B064K::new(bytes).expect("a coinbase is built to fit the wire");
        NewExtendedMiningJob {
            channel_id: self.channel_id.0,
            job_id: self.job_id.0,
            min_ntime: self.first_ntime(),
            version: work.template().version,
            version_rolling_allowed,
            merkle_path: Seq0255::new(&path).expect("a block has no 2^255 transactions"),
            coinbase_tx_prefix: fits(coinbase.prefix()),
            coinbase_tx_suffix: fits(coinbase.suffix()),
        }
        .encode_frame(out);
    }

    /// SetNewPrevHash: starts a future job on its tip.
    pub(super) fn start(self, work: &Work, out: &mut Vec<u8>) {
        let template = work.template();
        let tip = template.prev_hash.to_byte_array();
        SetNewPrevHash {
            channel_id: self.channel_id.0,
            job_id: mutant::pick!(JobBeforeStarted, self.job_id.0 - 1, self.job_id.0),
            prev_hash: U256(mutant::pick!(
                PrevHashReversed,
                std::array::from_fn(|i| tip[31 - i]),
                tip
            )),
            min_ntime: self.min_ntime,
            nbits: template.bits.to_consensus(),
        }
        .encode_frame(out);
    }
}
