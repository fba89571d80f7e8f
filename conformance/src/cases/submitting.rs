//! Shares that a server must refuse, and how it says so.

use sv2_wire::{Message, MiningServerMessage};

use super::acknowledging::{acknowledgement, never_accepted, verdict};
use super::frame;
use super::setup::clean;
use super::shares::submit;
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Share, Want, Work, extended_miner, standard_miner};
use crate::peer::Peer;
use crate::view::Root;

/// Version bits that nothing allows to roll: the lowest one and the top three.
const FIXED_BITS: u32 = 0xe000_0001;
/// Further ahead of the wall clock than the two hours that consensus allows, in seconds.
const TOO_FAR_AHEAD_SECS: u64 = 3 * 3_600;

cases! { Shares:
    "MP-56a" Must "5.3.14" "A share above the target is refused." too_easy;
    "MP-56b" Must "5.3.14" "A share for a job that was never sent is refused."
        |bench| refused(bench, |share, _| Share { job_id: !share.job_id, ..share });
    "MP-56c" Must "5.3.14" "A share for a channel that is not open is refused."
        |bench| refused(bench, |share, _| Share { channel_id: 0x00ff_fffe, ..share });
    "MP-56d" Must "5.3.14" "A share that was accepted before is refused." duplicate;
    "MP-56e" Must "5.3.14" "A refusal echoes the sequence number 0." |bench| echoed(bench, 0);
    "MP-56f" Must "5.3.14" "A refusal echoes the sequence number of all ones."
        |bench| echoed(bench, u32::MAX);
    "MP-56g" Must "5.3.14" "Each of several bad shares has a refusal of its own." each;
    "MP-56h" Must "5.3.14" "A refusal names the channel that the share was for." named;
    "MP-56i" Should "5.3.14" "A bad share leaves the connection and the channel at work." goes_on;
    "MP-56j" Must "5.3.14" "A share for a channel of another connection is refused." foreign;
    "MP-52b" Must "5.3.11" "An ntime below min_ntime is refused."
        |bench| refused_ground(bench, too_early);
    "MP-52c" Must "5.3.11" "An ntime of 0 is refused."
        |bench| refused_ground(bench, |share, _| Share { ntime: 0, ..share });
    "MP-52d" Must "5.3.11" "An ntime of three hours ahead of the clock is refused." too_late;
    "MP-57e" Must "BIP 323" "The lowest version bit may not be rolled."
        |bench| refused_ground(bench, |share, _| rolled(share, 1));
    "MP-57f" Must "BIP 323" "The top version bit may not be rolled."
        |bench| refused_ground(bench, |share, _| rolled(share, 1 << 31));
    "MP-57g" Must "BIP 323" "Bit 29 of the version may not be rolled."
        |bench| refused_ground(bench, |share, _| rolled(share, 1 << 29));
    "MP-57h" Must "BIP 323" "A version of which all fixed bits differ is refused."
        |bench| refused_ground(bench, |share, _| rolled(share, FIXED_BITS));
    "MP-57i" Must "BIP 323" "Bit 4 of the version may not be rolled."
        |bench| refused_ground(bench, |share, _| rolled(share, 1 << 4));
    "MP-57j" Must "BIP 323" "Bit 30 of the version may not be rolled."
        |bench| refused_ground(bench, |share, _| rolled(share, 1 << 30));
    "MP-57k" Must "5.3.16" "No version bit may be rolled where the job forbids it." forbidden;
    "MP-51c" Must "5.3.12" "An extranonce of one byte less than granted is refused."
        |bench| length(bench, -1);
    "MP-51d" Must "5.3.12" "An extranonce of one byte more than granted is refused."
        |bench| length(bench, 1);
    "MP-51e" Must "5.3.12" "An empty extranonce is refused where bytes are granted."
        |bench| length(bench, -32);
    "MP-51f" Must "5.3.12" "SubmitSharesStandard is not accepted on an extended channel."
        standard_on_extended;
    "MP-50b" Must "5.3.11" "SubmitSharesExtended is not accepted on a standard channel."
        extended_on_standard;
    "OV-26c" Must "3.5" "SubmitShares.Error has a code without control characters."
        |bench| code(bench, false);
    "OV-25c" Should "3.5" "SubmitShares.Error has a code of printable ASCII."
        |bench| code(bench, true);
}

/// The share must be answered by an error, of whatever code.
async fn refusal(peer: &mut Peer, share: &Share, what: &str) -> Judged<Vec<u8>> {
    match verdict_of(peer, share).await? {
        Ok(()) => Err(Stop::Breach(format!("{what} is accepted"))),
        Err(code) => Ok(code),
    }
}

async fn verdict_of(peer: &mut Peer, share: &Share) -> Judged<Result<(), Vec<u8>>> {
    peer.send(&share.standard()).await;
    verdict(peer, share).await
}

fn too_early(share: Share, work: &Work) -> Share {
    Share { ntime: work.tip.min_ntime.saturating_sub(1), ..share }
}

async fn too_late(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let ahead = u32::try_from(bench.unix_secs() + TOO_FAR_AHEAD_SECS)
        .map_err(|_| Stop::inapplicable("the wall clock is past the year 2106"))?;
    let share = Share { ntime: ahead, ..work.blank(3) };
    let share = work.grind(bench, share, Want::Valid).await?;
    refusal(&mut peer, &share, "the share").await.map(drop)
}

async fn forbidden(bench: &Bench) -> Judged {
    let (mut peer, work) = extended_miner(bench, 0).await?;
    if let Root::Coinbase { version_rolling_allowed: true, .. } = work.job.root {
        return Err(Stop::inapplicable("the job allows version rolling"));
    }
    let share = work.grind(bench, rolled(work.blank(3), 1 << 13), Want::Valid).await?;
    peer.send(&share.extended()).await;
    match verdict(&mut peer, &share).await? {
        Ok(()) => Err(Stop::breach("a share with a rolled bit is accepted")),
        Err(_) => Ok(()),
    }
}

fn rolled(share: Share, bits: u32) -> Share {
    Share { version: share.version ^ bits, ..share }
}

async fn too_easy(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let share = work.grind(bench, work.blank(1), Want::TooEasy).await?;
    refusal(&mut peer, &share, "a share above the target").await.map(drop)
}

async fn refused(bench: &Bench, change: fn(Share, &Work) -> Share) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let share = change(work.valid(bench, 3).await?, &work);
    refusal(&mut peer, &share, "the share").await.map(drop)
}

/// As [`refused`], with a nonce that makes the changed share meet the target, so that nothing but
/// the change can be wrong.
async fn refused_ground(bench: &Bench, change: fn(Share, &Work) -> Share) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let share = change(work.blank(3), &work);
    let share = work.grind(bench, share, Want::Valid).await?;
    refusal(&mut peer, &share, "the share").await.map(drop)
}

async fn duplicate(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let share = work.valid(bench, 1).await?;
    peer.send(&share.standard()).await;
    let encode = |share: &Share, frame: &mut Vec<u8>| share.standard().encode_frame(frame);
    if let Err(code) = acknowledgement(bench, &mut peer, &work, &[1], encode).await? {
        let code = code.escape_ascii();
        return Err(Stop::Inapplicable(format!("the first one is refused already: {code}")));
    }
    let again = Share { sequence_number: 2, ..share };
    refusal(&mut peer, &again, "the same share again").await.map(drop)
}

/// A share for a job that does not exist: no search is needed for it to be wrong.
fn bad(work: &Work, sequence_number: u32) -> Share {
    let blank = work.blank(sequence_number);
    Share { job_id: !blank.job_id, ..blank }
}

async fn echoed(bench: &Bench, number: u32) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    refusal(&mut peer, &bad(&work, number), "a share of no job").await.map(drop)
}

async fn each(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let mut left = vec![11, 12, 13, 14];
    for number in &left {
        peer.send(&bad(&work, *number).standard()).await;
    }
    while !left.is_empty() {
        let number = peer
            .await_message("refusal of each share", |message| match message {
                MiningServerMessage::SubmitSharesError(error) => Some(error.sequence_number),
                _ => None,
            })
            .await?;
        let at = left.iter().position(|open| *open == number);
        let at = at.ok_or_else(|| Stop::Breach(format!("{number} is refused without cause")))?;
        left.remove(at);
    }
    Ok(())
}

async fn named(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    peer.send(&bad(&work, 4).standard()).await;
    let named = peer
        .await_message("SubmitShares.Error", |message| match message {
            MiningServerMessage::SubmitSharesError(error) => Some(error.channel_id),
            _ => None,
        })
        .await?;
    let id = work.channel.channel_id;
    demand(named == id, || format!("channel {named} is named instead of {id}"))
}

async fn goes_on(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    refusal(&mut peer, &bad(&work, 1), "a share of no job").await?;
    submit(bench, &mut peer, work.channel.channel_id, 2, |share| share).await.map(drop)
}

async fn foreign(bench: &Bench) -> Judged {
    let (_owner, theirs) = standard_miner(bench, 0).await?;
    let (mut peer, ours) = standard_miner(bench, 0).await?;
    if ours.channel.channel_id == theirs.channel.channel_id {
        return Err(Stop::inapplicable("both connections number their channels alike"));
    }
    let share = theirs.valid(bench, 1).await?;
    refusal(&mut peer, &share, "a share for another connection's channel").await.map(drop)
}

async fn length(bench: &Bench, by: isize) -> Judged {
    let (mut peer, work) = extended_miner(bench, 0).await?;
    let mut share = work.blank(6);
    let len = share.extranonce.len();
    share.extranonce.resize(len.saturating_add_signed(by), 0x5a);
    if share.extranonce.len() == len || share.extranonce.len() > 32 {
        return Err(Stop::Inapplicable(format!("the channel grants {len} bytes")));
    }
    let share = work.grind(bench, share, Want::Valid).await?;
    peer.send(&share.extended()).await;
    match verdict(&mut peer, &share).await? {
        Ok(_) => {
            Err(Stop::Breach(format!("{} bytes are accepted for {len}", share.extranonce.len())))
        }
        Err(_) => Ok(()),
    }
}

async fn standard_on_extended(bench: &Bench) -> Judged {
    let (mut peer, work) = extended_miner(bench, 0).await?;
    let what = "a standard share is accepted on an extended channel";
    never_accepted(bench, &mut peer, &work, what, |share| frame(&share.standard())).await
}

async fn extended_on_standard(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let encode = |share: Share| frame(&Share { extranonce: vec![1, 2, 3, 4], ..share }.extended());
    let what = "an extended share is accepted on a standard channel";
    never_accepted(bench, &mut peer, &work, what, encode).await
}

async fn code(bench: &Bench, printable: bool) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let code = refusal(&mut peer, &bad(&work, 1), "a share of no job").await?;
    clean(&code, printable)
}
