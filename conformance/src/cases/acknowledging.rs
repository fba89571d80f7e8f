//! How a server answers shares: one by one, or many at once, as specification 5.3.13 allows.

use std::time::Duration;

use sv2_wire::MiningServerMessage;
use sv2_wire::mining::SubmitSharesSuccess;

use super::{is_success, without};
use crate::bench::Bench;
use crate::case::{Judged, Stop};
use crate::mining::{Share, Want, Work};
use crate::peer::Peer;

/// Shares that a server may gather for one acknowledgement: several times what deployed ones do.
const FULL_BATCH: u32 = 64;
/// How often a share is tried while the tip moves.
pub(super) const ATTEMPTS: usize = 4;

/// The acknowledgement of a share.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    pub(super) success: SubmitSharesSuccess,
    /// Sequence numbers of the good shares from the judged one on, as they were sent.
    numbers: Vec<u32>,
    /// Good shares sent before those, and not acknowledged before.
    owed: u64,
}

impl Acknowledged {
    /// How many shares it has to count: those up to the one that it names. None if it names none
    /// that was sent.
    pub(super) fn due(&self) -> Option<u64> {
        let last = self.success.last_sequence_number;
        let before = self.numbers.iter().zip(0u64..).find(|(number, _)| **number == last)?.1;
        Some(self.owed + before + 1)
    }
}

/// What came of the shares of these sequence numbers: the acknowledgement that covers the last of
/// them, or the first refusal.
type Answer = Result<SubmitSharesSuccess, (u32, Vec<u8>)>;

/// Waits for the answer to shares just sent; none when nothing comes in time.
///
/// An acknowledgement covers them when all that came on the channel count more shares than there
/// were good ones before.
async fn answer(
    peer: &mut Peer,
    channel_id: u32,
    numbers: &[u32],
    covered: u64,
    within: Duration,
) -> Judged<Option<Answer>> {
    let mut acknowledged = peer.view.acknowledged(channel_id);
    peer.seek("the answer to the share", within, |message| match message {
        MiningServerMessage::SubmitSharesSuccess(success) if success.channel_id == channel_id => {
            acknowledged += u64::from(success.new_submits_accepted_count);
            (acknowledged >= covered).then_some(Ok(*success))
        }
        MiningServerMessage::SubmitSharesError(error)
            if numbers.contains(&error.sequence_number) =>
        {
            Some(Err((error.sequence_number, error.error_code.as_bytes().to_vec())))
        }
        _ => None,
    })
    .await
}

/// The answer to a share just sent that has to be refused: nothing excuses a delay.
pub(super) async fn verdict(peer: &mut Peer, share: &Share) -> Judged<Result<(), Vec<u8>>> {
    let (id, within) = (share.channel_id, peer.answer_wait());
    let covered = peer.good_shares(id) + 1;
    match answer(peer, id, &[share.sequence_number], covered, within).await? {
        Some(answer) => Ok(answer.map(drop).map_err(|(_, code)| code)),
        None => {
            let waited = within.as_millis();
            Err(Stop::Breach(format!("no answer to the share came within {waited} ms")))
        }
    }
}

/// Whether a good share just sent is acknowledged although no other follows.
pub(super) async fn acknowledged_alone(
    peer: &mut Peer,
    share: &Share,
    within: Duration,
) -> Judged<Result<(), Vec<u8>>> {
    let id = share.channel_id;
    let covered = peer.good_shares(id) + 1;
    match answer(peer, id, &[share.sequence_number], covered, within).await? {
        Some(Ok(_)) => {
            peer.note_good_shares(id, 1);
            Ok(Ok(()))
        }
        Some(Err((_, code))) => Ok(Err(code)),
        None => {
            let waited = within.as_secs();
            Err(Stop::Breach(format!("a share alone is not acknowledged within {waited} s")))
        }
    }
}

/// Waits until good shares just sent are acknowledged, or one is refused. A server that gathers its
/// acknowledgements is sent further shares of the same work, up to a full batch.
///
/// # Errors
/// [`Stop::Breach`] when nothing acknowledges them.
pub(super) async fn acknowledgement(
    bench: &Bench,
    peer: &mut Peer,
    work: &Work,
    sent: &[u32],
    encode: impl Fn(&Share, &mut Vec<u8>),
) -> Judged<Result<Acknowledged, Vec<u8>>> {
    let id = work.channel.channel_id;
    let good = peer.good_shares(id);
    let covered = good + sent.len() as u64;
    let mut numbers = sent.to_vec();
    let mut within = bench.waits().answer;
    for _ in 0..FULL_BATCH {
        match answer(peer, id, &numbers, covered, within).await? {
            Some(Ok(success)) => {
                peer.note_good_shares(id, numbers.len() as u64);
                let counted = u64::from(success.new_submits_accepted_count);
                let owed = good.saturating_sub(peer.view.acknowledged(id) - counted);
                return Ok(Ok(Acknowledged { success, numbers, owed }));
            }
            Some(Err((_, code))) => {
                peer.note_good_shares(id, numbers.len() as u64 - 1);
                return Ok(Err(code));
            }
            None => {}
        }
        let further = peer.further_share(work.blank(0));
        let share = work.grind(bench, further, Want::Valid).await?;
        peer.note_further_share(&share);
        numbers.push(share.sequence_number);
        let mut frame = Vec::new();
        encode(&share, &mut frame);
        peer.send_frame(&frame).await;
        within = bench.waits().quiet;
    }
    Err(Stop::Breach(format!(
        "no SubmitShares.Success covers the share, nor after {FULL_BATCH} further ones"
    )))
}

/// Submits what `make` makes of the work, as `encode` writes it; again when the tip moved
/// meanwhile, as it does on a test network where every share is a block.
pub(super) async fn submit_as(
    bench: &Bench,
    peer: &mut Peer,
    channel_id: u32,
    make: impl Fn(&Work) -> Share + Send + Sync,
    encode: impl Fn(&Share, &mut Vec<u8>) + Send + Sync,
) -> Judged<Acknowledged> {
    for _ in 0..ATTEMPTS {
        let work = peer.active(channel_id).await?;
        let share = work.grind(bench, make(&work), Want::Valid).await?;
        let mut frame = Vec::new();
        encode(&share, &mut frame);
        peer.send_frame(&frame).await;
        let numbers = [share.sequence_number];
        match acknowledgement(bench, peer, &work, &numbers, &encode).await? {
            Ok(acknowledged) => return Ok(acknowledged),
            Err(code) if !has_moved(peer, &work).await? => return Err(refused(&code)),
            Err(_) => {}
        }
    }
    Err(tip_moves())
}

/// A good share is refused.
pub(super) fn refused(code: &[u8]) -> Stop {
    Stop::Breach(format!("a valid share is refused: {}", code.escape_ascii()))
}

/// No attempt met a tip that held still.
pub(super) fn tip_moves() -> Stop {
    Stop::inapplicable("the tip moves faster than shares are found")
}

/// Whether the channel has another tip than the work.
pub(super) async fn has_moved(peer: &mut Peer, work: &Work) -> Judged<bool> {
    peer.hear_quietly().await?;
    let now = peer.active(work.channel.channel_id).await?;
    Ok(now.tip.prev_hash != work.tip.prev_hash)
}

/// Sends a share of which only its form is wrong, as `encode` writes it. It must not be accepted; a
/// server that says nothing of it is sent a full batch, which it then would have to acknowledge.
pub(super) async fn never_accepted(
    bench: &Bench,
    peer: &mut Peer,
    work: &Work,
    what: &str,
    encode: impl Fn(Share) -> Vec<u8> + Send + Sync,
) -> Judged {
    for number in 1..=FULL_BATCH {
        let share = work.valid(bench, number).await?;
        peer.send_frame(&encode(share)).await;
        if number == 1 && is_refused(bench, peer, what).await? {
            return Ok(());
        }
    }
    is_refused(bench, peer, what).await.map(drop)
}

/// Whether the server refuses the share or ends the connection; what it accepts is a breach.
async fn is_refused(bench: &Bench, peer: &mut Peer, what: &str) -> Judged<bool> {
    let heard = peer.hear(bench.waits().answer / 2).await?;
    without(&heard, what, is_success)?;
    let is_error = |message: &MiningServerMessage<'_>| {
        matches!(message, MiningServerMessage::SubmitSharesError(_))
    };
    Ok(heard.closed || heard.messages()?.iter().any(is_error))
}
