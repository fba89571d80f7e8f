//! Targets that change under a job (specification 5.3.21).

use sv2_wire::{Message, U256};

use super::acknowledging::{ATTEMPTS, acknowledgement, has_moved, tip_moves, verdict};
use super::channels::{half, updated};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases};
use crate::mining::{Share, Want, Work, standard_miner};
use crate::peer::Peer;

cases! { Shares:
    "MP-81a" Must "5.3.21" "A job that was active before SetTarget keeps its target." old_job;
    "MP-81b" Must "5.3.21" "A job that is sent after SetTarget has the new target." new_job;
}

/// Has the server halve the target of a channel at work. The work before, and its target and the
/// new one.
async fn halved(bench: &Bench) -> Judged<(Peer, Work, [U256; 2])> {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let old = *work.channel.targets.last().expect("a channel opens with a target");
    match updated(&mut peer, work.channel.channel_id, half(old)).await? {
        Some(new) if new < old => Ok((peer, work, [old, new])),
        Some(_) => Err(Stop::inapplicable("the target did not become harder")),
        None => Err(Stop::inapplicable("the server refuses to halve the target")),
    }
}

/// A share that meets the old target only, for the job that came with it.
async fn old_job(bench: &Bench) -> Judged {
    for attempt in (1..).take(ATTEMPTS) {
        let (mut peer, work, [old, new]) = halved(bench).await?;
        let want = Want::Between { above: new, at_most: old };
        let share = work.grind(bench, work.numbered(attempt), want).await?;
        peer.send(&share.standard()).await;
        let encode = |share: &Share, frame: &mut Vec<u8>| share.standard().encode_frame(frame);
        match acknowledgement(bench, &mut peer, &work, &[attempt], encode).await? {
            Ok(_) => return Ok(()),
            Err(code) if !has_moved(&mut peer, &work).await? => {
                let code = code.escape_ascii();
                return Err(Stop::Breach(format!("a share for the job before is refused: {code}")));
            }
            Err(_) => {}
        }
    }
    Err(tip_moves())
}

/// A share that meets the old target only, for a job that came after the new one.
async fn new_job(bench: &Bench) -> Judged {
    let (mut peer, work, [old, new]) = halved(bench).await?;
    peer.hear_quietly().await?;
    let later = peer.active(work.channel.channel_id).await?;
    if later.job.job_id == work.job.job_id {
        return Err(Stop::inapplicable("no job followed SetTarget"));
    }
    let want = Want::Between { above: new, at_most: old };
    let share = later.grind(bench, later.numbered(1), want).await?;
    peer.send(&share.standard()).await;
    match verdict(&mut peer, &share).await? {
        Ok(()) => Err(Stop::breach("a share above the new target is accepted")),
        Err(_) => Ok(()),
    }
}
