//! Work of the client's own, asked for without the right to it (specification 5.3.18).

use bitcoin::{Transaction, TxOut, consensus};
use sv2_wire::mining::SetCustomMiningJob;
use sv2_wire::{B064K, B0255, MiningServerMessage, Seq0255, U256};

use super::setup::clean;
use super::{frame, is_success, without};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Work, extended_miner};
use crate::peer::Peer;
use crate::view::Root;

/// What the answers have to name.
const REQUEST_ID: u32 = 0xc0de;
/// Longest `coinbase_prefix`.
const MAX_PREFIX: usize = 8;

cases! { Jobs:
    "MP-71a" Must "5.3.18" "A SetCustomMiningJob without REQUIRES_WORK_SELECTION is not granted."
        custom_job;
    "MP-72a" Should "5.3.20"
        "A SetCustomMiningJob that is refused is answered under its request_id."
        custom_job_answer;
    "OV-26e" Must "3.5" "SetCustomMiningJob.Error has a code without control characters."
        |bench| custom_code(bench, false);
    "OV-25e" Should "3.5" "SetCustomMiningJob.Error has a code of printable ASCII."
        |bench| custom_code(bench, true);
    "DF-08a" Should "field"
        "A SetCustomMiningJob with the channel bit of before 2026 is read as any other."
        old_channel_bit;
}

/// A custom job's parts that a message borrows, taken from the job that the server gave itself, so
/// that nothing but the client's right to it is in doubt.
struct Parts {
    coinbase: Transaction,
    prefix: Vec<u8>,
    outputs: Vec<u8>,
    path: Vec<U256>,
}

impl Parts {
    fn of(work: &Work) -> Judged<Self> {
        let Root::Coinbase { prefix, suffix, path, .. } = &work.job.root else {
            return Err(Stop::breach("an extended channel got a NewMiningJob"));
        };
        let rolled = work.blank(0).extranonce;
        let whole = [prefix, work.channel.extranonce_prefix.as_slice(), &rolled, suffix].concat();
        let coinbase: Transaction = consensus::deserialize(&whole)
            .map_err(|error| Stop::Breach(format!("the coinbase does not decode: {error}")))?;
        let script = coinbase.input.first().map(|input| input.script_sig.to_bytes());
        let script = script.ok_or_else(|| Stop::breach("the coinbase has no input"))?;
        // The block's height: a length and so many bytes.
        let height = script.first().map_or(0, |len| 1 + usize::from(*len)).min(MAX_PREFIX);
        let prefix = script[..height.min(script.len())].to_vec();
        let outputs = consensus::serialize::<Vec<TxOut>>(&coinbase.output);
        Ok(Self { coinbase, prefix, outputs, path: path.clone() })
    }

    fn message(&self, work: &Work) -> SetCustomMiningJob<'_> {
        let input = &self.coinbase.input[0];
        SetCustomMiningJob {
            channel_id: work.channel.channel_id,
            request_id: REQUEST_ID,
            mining_job_token: B0255::new(&[0x5a; 8]).expect("a few bytes fit 255"),
            version: work.job.version,
            prev_hash: work.tip.prev_hash,
            min_ntime: work.tip.min_ntime,
            nbits: work.tip.nbits,
            coinbase_tx_version: u32::from_le_bytes(self.coinbase.version.0.to_le_bytes()),
            coinbase_prefix: B0255::new(&self.prefix).expect("it has at most 8 bytes"),
            coinbase_tx_input_n_sequence: input.sequence.0,
            coinbase_tx_outputs: B064K::new(&self.outputs).expect("they came in one message"),
            coinbase_tx_locktime: self.coinbase.lock_time.to_consensus_u32(),
            merkle_path: Seq0255::new(&self.path).expect("it came in one message"),
        }
    }
}

async fn asked(bench: &Bench) -> Judged<Peer> {
    let (mut peer, work) = extended_miner(bench, 0).await?;
    let parts = Parts::of(&work)?;
    peer.send(&parts.message(&work)).await;
    Ok(peer)
}

async fn custom_job(bench: &Bench) -> Judged {
    let heard = asked(bench).await?.hear(bench.waits().answer).await?;
    without(&heard, "work selection was not agreed on", is_success)
}

async fn refusal(peer: &mut Peer) -> Judged<(u32, Vec<u8>)> {
    peer.await_message("SetCustomMiningJob.Error", |message| match message {
        MiningServerMessage::SetCustomMiningJobError(error) => {
            Some((error.request_id, error.error_code.as_bytes().to_vec()))
        }
        _ => None,
    })
    .await
}

async fn custom_job_answer(bench: &Bench) -> Judged {
    let (request_id, _) = refusal(&mut asked(bench).await?).await?;
    demand(request_id == REQUEST_ID, || format!("its request_id is {request_id}"))
}

async fn custom_code(bench: &Bench, printable: bool) -> Judged {
    match refusal(&mut asked(bench).await?).await {
        Ok((_, code)) => clean(&code, printable),
        Err(_) => Err(Stop::inapplicable("no SetCustomMiningJob.Error comes")),
    }
}

/// The bit was unset before; the answer must be what it is with the bit.
async fn old_channel_bit(bench: &Bench) -> Judged {
    let mut answers = Vec::new();
    for is_old in [false, true] {
        let (mut peer, work) = extended_miner(bench, 0).await?;
        let parts = Parts::of(&work)?;
        let mut frame = frame(&parts.message(&work));
        if is_old {
            frame[1] &= 0x7f;
        }
        peer.send_frame(&frame).await;
        answers.push(refusal(&mut peer).await.ok());
    }
    demand(answers[0] == answers[1], || {
        format!("with the bit {:?}, without it {:?}", answers[0], answers[1])
    })
}
