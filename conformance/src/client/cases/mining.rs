//! Channels and jobs.

use sv2_wire::mining::{CloseChannel, OpenMiningChannelError, SetExtranoncePrefix};
use sv2_wire::{B032, U256};

use super::connecting::still_works;
use super::{over_messages, over_opening, over_shares, unbroken};
use crate::case::{Judged, Stop, cases, demand};
use crate::client::counter::Counter;
use crate::client::play::{GROUP, Start};
use crate::client::visitor::Visitor;
use crate::mining::text;

cases! { Client Channels:
    "CL-MP-33a" Should "5.2" "A channel is asked for once the connection is set up." opens;
    "CL-MP-31a" Must "5.3.2" "No request_id is used twice." |c| over_shares(c, "MP-31");
    "CL-MP-38a" Must "5.3.2" "nominal_hash_rate is a number, and not negative."
        |c| over_opening(c, "MP-38");
    "CL-MP-37a" Must "5.3.6" "A channel that is refused is not mined on." refused;
    "CL-MP-40a" Must "5.3.7" "UpdateChannel is sent for channels that are open."
        |c| over_messages(c, "MP-40");
    "CL-MP-42a" Should "5.3.7" "UpdateChannel is sent once a second at most."
        |c| over_messages(c, "MP-42");
    "CL-MP-43a" Must "5.3.9" "Nothing is sent for a channel that was closed." closed;
    "CL-MP-61a" Must "5.3.15" "No share is sent before the first SetNewPrevHash." before_tip;
    "CL-MP-62a" Should "5.3.15" "A job with min_ntime is begun at once." begins_now;
    "CL-MP-62b" Must "5.3.15" "A future job is not worked on before its SetNewPrevHash." future;
    "CL-MP-67a" Must "5.3.17" "After SetNewPrevHash only the job it names is worked on." new_tip;
    "CL-MP-64a" Should "5.3.16" "A job for the group of the channel is worked on." group_job;
    "CL-MP-44a" Must "5.3.10" "A new extranonce prefix holds for the jobs after it." new_prefix;
    "CL-MP-80a" Must "5.3.21" "A harder target holds for the jobs after SetTarget." harder_target;
    "CL-MP-81a" Must "5.3.21" "A harder target holds for a future job that was sent before it."
        harder_future;
}

async fn opens(counter: &Counter) -> Judged {
    counter.set_up().await?.await_opening().await.map(drop).map_err(|stop| match stop {
        Stop::Breach(why) | Stop::Inapplicable(why) => Stop::Breach(why),
    })
}

async fn refused(counter: &Counter) -> Judged {
    let mut visitor = counter.set_up().await?;
    let request_id = visitor.await_opening().await?.request_id;
    let error_code = text("no-more-rooms");
    visitor.send(&OpenMiningChannelError { request_id, error_code }).await;
    // It may end the connection or ask again, and neither is a breach.
    let _ = visitor.let_work(counter.waits().quiet).await;
    unbroken(&visitor, "MP-50")
}

async fn closed(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    visitor.send(&CloseChannel { channel_id, reason_code: text("closing-time") }).await;
    // What is under way is not counted.
    let _ = visitor.let_work(counter.waits().quiet).await;
    if let Some(channel) = visitor.watch.channels.get_mut(&channel_id) {
        channel.is_closed = true;
    }
    let _ = visitor.let_work(counter.waits().quiet).await;
    unbroken(&visitor, "MP-43")
}

async fn before_tip(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.opened().await?;
    visitor.future_job(channel_id).await;
    visitor.let_work(counter.waits().quiet).await?;
    unbroken(&visitor, "MP-62")
}

async fn begins_now(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    let job_id = visitor.job(channel_id, channel_id, Start::Now, true).await;
    visitor.await_share_of(|share| share.job_id == job_id).await.map(drop).map_err(needed)
}

async fn future(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    visitor.future_job(channel_id).await;
    for _ in 0..3 {
        visitor.await_share().await?;
        unbroken(&visitor, "MP-62")?;
    }
    Ok(())
}

async fn new_tip(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    let job_id = visitor.future_job(channel_id).await;
    visitor.tip(channel_id, job_id).await;
    for _ in 0..3 {
        visitor.await_share_of(|share| share.job_id == job_id).await.map_err(needed)?;
    }
    visitor.let_work(counter.waits().quiet).await?;
    unbroken(&visitor, "MP-67")
}

async fn group_job(counter: &Counter) -> Judged {
    let mut visitor = counter.guest().await?;
    let setup = visitor.await_setup().await?;
    if setup.flags & 1 != 0 {
        return Err(Stop::inapplicable("the client requires standard jobs"));
    }
    visitor.grant_setup(0).await;
    let opening = visitor.await_opening().await?;
    if opening.min_extranonce_size.is_none() {
        return Err(Stop::inapplicable("the client opens standard channels"));
    }
    let channel_id = visitor.grant(&opening).await;
    let job_id = visitor.job(channel_id, GROUP, Start::Later, true).await;
    visitor.tip_at(channel_id, GROUP, job_id).await;
    still_works(&mut visitor, "a job for the group").await
}

async fn new_prefix(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    let channel = visitor.watch.channels.get_mut(&channel_id).expect("the channel is open");
    if channel.rolled.is_none() {
        return Err(Stop::inapplicable("nothing of it is seen on a standard channel"));
    }
    channel.prefix.iter_mut().for_each(|byte| *byte ^= 0x55);
    let prefix = channel.prefix.clone();
    let extranonce_prefix = B032::new(&prefix).expect("it is as long as the one before");
    visitor.send(&SetExtranoncePrefix { channel_id, extranonce_prefix }).await;
    let job_id = visitor.future_job(channel_id).await;
    visitor.tip(channel_id, job_id).await;
    let share = visitor.await_share_of(|share| share.job_id == job_id).await?;
    demand(share.fault.is_none(), || {
        let (_, how) = share.fault.clone().unwrap_or_default();
        format!("the first share after it: {how}")
    })
}

/// Halves the target a few times, and holds the shares of the next job against it.
async fn harder_target(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    harden(&mut visitor, channel_id).await;
    let job_id = visitor.future_job(channel_id).await;
    visitor.tip(channel_id, job_id).await;
    meets(&mut visitor, job_id).await
}

async fn harder_future(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    let job_id = visitor.future_job(channel_id).await;
    harden(&mut visitor, channel_id).await;
    visitor.tip(channel_id, job_id).await;
    meets(&mut visitor, job_id).await
}

async fn harden(visitor: &mut Visitor, channel_id: u32) {
    let channel = &visitor.watch.channels[&channel_id];
    let harder = quartered(channel.target);
    visitor.set_target(channel_id, harder).await;
}

/// A fourth of a target.
fn quartered(target: U256) -> U256 {
    let mut bytes = target.0;
    let mut carry = 0;
    for byte in bytes.iter_mut().rev() {
        let low = *byte & 0b11;
        *byte = *byte >> 2 | carry << 6;
        carry = low;
    }
    U256(bytes)
}

async fn meets(visitor: &mut Visitor, job_id: u32) -> Judged {
    for _ in 0..3 {
        let share = visitor.await_share_of(|share| share.job_id == job_id).await?;
        if let Some((rule @ "MP-80", how)) = share.fault {
            return Err(Stop::Breach(format!("{rule}: {how}")));
        }
    }
    Ok(())
}

/// A share that had to come did not.
fn needed(stop: Stop) -> Stop {
    match stop {
        Stop::Breach(why) | Stop::Inapplicable(why) => Stop::Breach(why),
    }
}
