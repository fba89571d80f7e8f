//! Shares that a server must accept, and how it says so.

use std::time::Duration;

use sv2_wire::{B064K, Message, Tlv, U256};

use super::acknowledging::{
    ATTEMPTS, Acknowledged, acknowledged_alone, acknowledgement, has_moved, refused, submit_as,
    tip_moves,
};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Share, Work, extended_miner, standard_miner};
use crate::peer::Peer;

/// How far ahead of the wall clock a deployed miner's `ntime` runs, in seconds.
const DEPLOYED_LEAD_SECS: u64 = 60;
/// After what time `ntime` may be a second further on, a little more than that second.
const ROLLED: Duration = Duration::from_millis(1_100);
/// The target of difficulty 1: below it, sums of difficulties are all fractions.
const DIFFICULTY_ONE: U256 = {
    let mut bytes = [0; 32];
    (bytes[26], bytes[27]) = (0xff, 0xff);
    U256(bytes)
};

cases! { Shares:
    "MP-50a" Must "5.3.11" "A valid share of a standard channel is accepted."
        |bench| accepted(bench, unchanged);
    "MP-51a" Must "5.3.12" "A valid share of an extended channel is accepted." extended;
    "MP-51b" Must "5.3.12" "Any extranonce of the granted length is accepted." extended_zeros;
    "MP-52a" Must "5.3.11" "An ntime one second above min_ntime is accepted once a second has passed."
        rolled_time;
    "DF-01a" Should "field" "An ntime of a minute ahead is accepted, as a deployed miner sends it."
        ahead;
    "MP-53a" Must "5.3.13" "SubmitShares.Success names the last sequence number it answers."
        |bench| answer(bench, Part::Last);
    "MP-53b" Must "5.3.13" "SubmitShares.Success counts the shares up to that one."
        |bench| answer(bench, Part::Count);
    "MP-53c" Should "5.3.13" "SubmitShares.Success sums their difficulty to more than 0."
        |bench| answer(bench, Part::Sum);
    "DF-07a" Should "field" "A single share is acknowledged in time, not only a full batch." alone;
    "MP-54a" Must "5.3.13" "The counters start again with each SubmitShares.Success." counters;
    "MP-55a" Must "5.3.11" "Sequence numbers need not increase." |bench| numbers(bench, [9, 3]);
    "MP-55b" Must "5.3.11" "Sequence numbers may be 0 and all ones."
        |bench| numbers(bench, [0, u32::MAX]);
    "MP-57b" Should "BIP 320"
        "A rolled bit of BIP 320 is accepted where version rolling is allowed."
        |bench| rolled(bench, 1 << 13);
    "MP-57c" Should "BIP 320" "The top rolled bit of BIP 320 is accepted."
        |bench| rolled(bench, 1 << 28);
    "MP-57d" Should "BIP 323" "The lowest rolled bit of BIP 323 is accepted."
        |bench| rolled(bench, 1 << 5);
    "MP-53e" Must "5.3.13" "Several shares sent at once are all accounted for." several;
    "EX-11b" Must "extension 2" "A TLV that is not negotiated leaves a share valid." with_tlv;
}

/// Submits a standard share that `change` makes of a blank one, until the tip holds still.
pub(super) async fn submit(
    bench: &Bench,
    peer: &mut Peer,
    channel_id: u32,
    sequence_number: u32,
    change: impl Fn(Share) -> Share + Send + Sync,
) -> Judged<Acknowledged> {
    let make = |work: &Work| change(work.numbered(sequence_number));
    submit_as(bench, peer, channel_id, make, |share, frame| share.standard().encode_frame(frame))
        .await
}

/// A share that `change` makes of a blank one, ground to be valid.
async fn accepted(bench: &Bench, change: fn(Share) -> Share) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    submit(bench, &mut peer, work.channel.channel_id, 1, change).await.map(drop)
}

fn unchanged(share: Share) -> Share {
    share
}

async fn extended_share(bench: &Bench, byte: u8) -> Judged {
    let (mut peer, work) = extended_miner(bench, 0).await?;
    let make = |work: &Work| {
        let mut share = work.blank(1);
        share.extranonce.fill(byte);
        share
    };
    let encode = |share: &Share, frame: &mut Vec<u8>| share.extended().encode_frame(frame);
    submit_as(bench, &mut peer, work.channel.channel_id, make, encode).await.map(drop)
}

async fn extended(bench: &Bench) -> Judged {
    extended_share(bench, 0x5a).await
}

async fn extended_zeros(bench: &Bench) -> Judged {
    extended_share(bench, 0).await
}

async fn rolled_time(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    tokio::time::sleep(ROLLED).await;
    let change = |share: Share| Share { ntime: share.ntime.saturating_add(1), ..share };
    submit(bench, &mut peer, work.channel.channel_id, 1, change).await.map(drop)
}

async fn ahead(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let ahead = u32::try_from(bench.unix_secs() + DEPLOYED_LEAD_SECS)
        .map_err(|_| Stop::inapplicable("the wall clock is past the year 2106"))?;
    let change = |share: Share| Share { ntime: share.ntime.max(ahead), ..share };
    submit(bench, &mut peer, work.channel.channel_id, 1, change).await.map(drop)
}

#[derive(Clone, Copy)]
enum Part {
    Last,
    Count,
    Sum,
}

async fn answer(bench: &Bench, part: Part) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    if matches!(part, Part::Sum) && work.channel.targets[0] > DIFFICULTY_ONE {
        return Err(Stop::inapplicable("the channel's difficulty is below 1"));
    }
    let id = work.channel.channel_id;
    let acknowledged = submit(bench, &mut peer, id, 0x0bad_cafe, unchanged).await?;
    let (success, due) = (acknowledged.success, acknowledged.due());
    let holds = match part {
        Part::Last => due.is_some(),
        Part::Count => due.is_none_or(|due| u64::from(success.new_submits_accepted_count) == due),
        Part::Sum => success.new_shares_sum > 0,
    };
    demand(holds, || format!("{due:?} are due: {success:?}"))
}

async fn counters(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    for number in [1, 2] {
        let id = work.channel.channel_id;
        let acknowledged = submit(bench, &mut peer, id, number, unchanged).await?;
        let (success, due) = (acknowledged.success, acknowledged.due());
        let counted = u64::from(success.new_submits_accepted_count);
        demand(due.is_none_or(|due| counted == due), || {
            format!("for share {number}, {due:?} are due: {success:?}")
        })?;
    }
    Ok(())
}

/// A share that no other follows.
async fn alone(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let id = work.channel.channel_id;
    for number in (1..).take(ATTEMPTS) {
        let work = peer.active(id).await?;
        let share = work.valid(bench, number).await?;
        peer.send(&share.standard()).await;
        match acknowledged_alone(&mut peer, &share, bench.waits().stall).await? {
            Ok(()) => return Ok(()),
            Err(code) if !has_moved(&mut peer, &work).await? => return Err(refused(&code)),
            Err(_) => {}
        }
    }
    Err(tip_moves())
}

async fn numbers(bench: &Bench, numbers: [u32; 2]) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    for number in numbers {
        submit(bench, &mut peer, work.channel.channel_id, number, unchanged).await?;
    }
    Ok(())
}

async fn rolled(bench: &Bench, bit: u32) -> Judged {
    let mut peer = bench.connect().await?;
    if peer.set_up(0).await?.flags & 1 != 0 {
        return Err(Stop::inapplicable("the server requires fixed versions"));
    }
    let identity = &bench.target.user_identity;
    let channel = peer.open(&crate::mining::Open::standard_by(identity)).await?;
    let change = |share: Share| Share { version: share.version ^ bit, ..share };
    submit(bench, &mut peer, channel.channel_id, 1, change).await.map(drop)
}

async fn several(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let numbers = [1, 2, 3, 4, 5];
    let mut sealed = Vec::new();
    for number in numbers {
        let share = work.valid(bench, number).await?;
        sealed.extend(peer.seal(&super::frame(&share.standard())));
    }
    peer.send_raw(&sealed, "all of them at once").await;
    let encode = |share: &Share, frame: &mut Vec<u8>| share.standard().encode_frame(frame);
    match acknowledgement(bench, &mut peer, &work, &numbers, encode).await? {
        Ok(_) => Ok(()),
        Err(_) if has_moved(&mut peer, &work).await? => {
            Err(Stop::inapplicable("the tip moved meanwhile"))
        }
        Err(code) => Err(refused(&code)),
    }
}

async fn with_tlv(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let value = B064K::new(b"worker").expect("a few bytes fit 65 535");
    let tlv = Tlv { extension_type: 0x4242, field_type: 1, value };
    let encode = |share: &Share, frame: &mut Vec<u8>| {
        share.standard().encode_frame_with_tlvs(&[tlv], frame);
    };
    let make = |work: &Work| work.numbered(1);
    submit_as(bench, &mut peer, work.channel.channel_id, make, encode).await.map(drop)
}
