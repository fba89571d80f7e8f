//! Ids, groups, extranonces, and changing a channel.

use std::collections::BTreeSet;

use sv2_wire::common::ChannelEndpointChanged;
use sv2_wire::mining::{SetCustomMiningJob, UpdateChannel};
use sv2_wire::{B064K, B0255, MiningServerMessage, Seq0255, U256};

use super::{is_success, ready, still_serves, without};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{HASH_RATE, Open, standard_miner};
use crate::peer::Peer;
use crate::view::Channel;

cases! { Channels:
    "MP-02a" Must "5.1" "Standard channels of one connection have different extranonce prefixes."
        disjoint;
    "MP-02b" Must "5.1" "Channels of two connections have different extranonce prefixes."
        disjoint_connections;
    "MP-02c" Must "5.1" "No prefix of an extended channel begins the prefix of another channel."
        disjoint_extended;
    "MP-11a" Must "5.2" "Channel ids are unique on the connection." unique_ids;
    "MP-12a" Must "5.2" "No group id is a channel id of the connection." group_ids;
    "MP-12b" Should "field"
        "No id of a channel or group is all ones, which proxies use for themselves."
        sentinel;
    "MP-14a" Must "5.2" "The members of a group have one full extranonce length." group_lengths;
    "MP-15a" Must "5.3.3" "A standard channel's extranonce prefix is not empty." prefix;
    "MP-33a" Should "field"
        "A connection may wait 6 seconds before it opens a channel, as deployed miners do."
        patient;
    "MP-33b" Should "5.2" "A connection that opens no channel is ended in time." no_channel;
    "MP-40a" Must "5.3.7" "An UpdateChannel that changes nothing has no answer." unchanged;
    "MP-40b" Must "5.3.8"
        "An UpdateChannel for an unknown channel is answered by UpdateChannel.Error."
        unknown_update;
    "MP-40c" Must "5.3.7"
        "An UpdateChannel with a hash rate of 0 is taken, as proxies without miners send it."
        |bench| updated_rate(bench, 0.0, true);
    "MP-40d" Should "5.3.7"
        "An UpdateChannel with a hash rate that is no number leaves the connection in use."
        |bench| updated_rate(bench, f32::NAN, false);
    "MP-40e" Must "5.3.8" "UpdateChannel.Error names the channel that was to be updated."
        |bench| update_error(bench, 0xdead_beef);
    "MP-41a" Must "5.3.7"
        "A maximum_target below the current target is followed by SetTarget or refused."
        harder;
    "MP-41b" Must "5.3.7" "A maximum_target of 0 is refused or followed, and never exceeded."
        impossible_update;
    "OV-36a" Must "3.6.4" "A ChannelEndpointChanged is tolerated." endpoint_changed;
    "MP-71a" Must "5.3.18" "A SetCustomMiningJob without REQUIRES_WORK_SELECTION is not granted."
        custom_job;
    "MP-72a" Should "5.3.20"
        "A SetCustomMiningJob that is refused is answered under its request_id."
        custom_job_answer;
}

async fn open_several(bench: &Bench, count: u32, extended: bool) -> Judged<(Peer, Vec<Channel>)> {
    let mut peer = ready(bench).await?;
    let mut channels = Vec::new();
    for request_id in 0..count {
        let min_extranonce_size = (extended && request_id % 2 == 0).then_some(4);
        let identity = &bench.target.user_identity;
        let open = Open { request_id, min_extranonce_size, ..Open::standard_by(identity) };
        channels.push(peer.open(&open).await?);
    }
    Ok((peer, channels))
}

fn all_disjoint(channels: &[Channel]) -> Judged {
    for (at, one) in channels.iter().enumerate() {
        for other in &channels[at + 1..] {
            let (a, b) = (&one.extranonce_prefix, &other.extranonce_prefix);
            demand(!a.starts_with(b) && !b.starts_with(a), || {
                format!("prefixes {} and {} overlap", const_hex::encode(a), const_hex::encode(b))
            })?;
        }
    }
    Ok(())
}

async fn disjoint(bench: &Bench) -> Judged {
    let (_peer, channels) = open_several(bench, 4, false).await?;
    all_disjoint(&channels)
}

async fn disjoint_connections(bench: &Bench) -> Judged {
    let (_first, mut channels) = open_several(bench, 2, false).await?;
    let (_second, others) = open_several(bench, 2, false).await?;
    channels.extend(others);
    all_disjoint(&channels)
}

async fn disjoint_extended(bench: &Bench) -> Judged {
    let (_peer, channels) = open_several(bench, 4, true).await?;
    all_disjoint(&channels)
}

async fn unique_ids(bench: &Bench) -> Judged {
    let (peer, channels) = open_several(bench, 5, false).await?;
    let ids: BTreeSet<u32> = channels.iter().map(|channel| channel.channel_id).collect();
    demand(ids.len() == channels.len(), || format!("the ids are {ids:?}"))?;
    passing(&peer, "MP-11")
}

/// Ends the case when the connection broke the rule in passing.
fn passing(peer: &Peer, rule: &str) -> Judged {
    match peer.view.breach(rule) {
        Some(how) => Err(Stop::breach(how)),
        None => Ok(()),
    }
}

async fn group_ids(bench: &Bench) -> Judged {
    let (peer, _) = open_several(bench, 5, false).await?;
    passing(&peer, "MP-12")
}

async fn sentinel(bench: &Bench) -> Judged {
    let (_peer, channels) = open_several(bench, 2, false).await?;
    let mut ids =
        channels.iter().flat_map(|channel| [channel.channel_id, channel.group_channel_id]);
    demand(ids.all(|id| id != u32::MAX), || "an id is all ones".to_owned())
}

async fn group_lengths(bench: &Bench) -> Judged {
    let mixed = open_several(bench, 4, true).await;
    let (_peer, channels) = match mixed {
        Err(Stop::Inapplicable(_)) => open_several(bench, 4, false).await?,
        other => other?,
    };
    for one in &channels {
        for other in channels.iter().filter(|other| other.group_channel_id == one.group_channel_id)
        {
            let lengths = (one.full_extranonce_len(), other.full_extranonce_len());
            demand(lengths.0 == lengths.1, || {
                format!(
                    "channels {} and {} of group {} have {} and {} bytes",
                    one.channel_id, other.channel_id, one.group_channel_id, lengths.0, lengths.1
                )
            })?;
        }
    }
    Ok(())
}

async fn prefix(bench: &Bench) -> Judged {
    let (_peer, channels) = open_several(bench, 1, false).await?;
    demand(!channels[0].extranonce_prefix.is_empty(), || {
        "the extranonce prefix is empty, so that channels cannot differ".to_owned()
    })
}

async fn patient(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    peer.hear(std::time::Duration::from_secs(6)).await?;
    still_serves(bench, &mut peer).await
}

async fn no_channel(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    peer.await_close(bench.waits().stall, "no channel was opened").await
}

fn update(channel_id: u32, nominal_hash_rate: f32, maximum_target: U256) -> UpdateChannel {
    UpdateChannel { channel_id, nominal_hash_rate, maximum_target }
}

async fn unchanged(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    peer.hear_quietly().await?;
    peer.send(&update(work.channel.channel_id, HASH_RATE, U256::MAX)).await;
    let heard = peer.hear_quietly().await?;
    demand(!heard.closed, || "the server ended the connection".to_owned())?;
    without(&heard, "nothing was changed", |message| {
        matches!(message, MiningServerMessage::UpdateChannelError(_))
    })
}

async fn update_error(bench: &Bench, channel_id: u32) -> Judged {
    let (mut peer, _) = standard_miner(bench, 0).await?;
    peer.send(&update(channel_id, HASH_RATE, U256::MAX)).await;
    let named = peer
        .await_message("UpdateChannel.Error", |message| match message {
            MiningServerMessage::UpdateChannelError(error) => Some(error.channel_id),
            _ => None,
        })
        .await?;
    demand(named == channel_id, || format!("it names {named} instead of {channel_id}"))
}

async fn unknown_update(bench: &Bench) -> Judged {
    update_error(bench, 0x00ff_fffe).await
}

async fn updated_rate(bench: &Bench, rate: f32, accepted: bool) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    peer.send(&update(work.channel.channel_id, rate, U256::MAX)).await;
    let heard = peer.hear_quietly().await?;
    demand(!heard.closed, || "the server ended the connection".to_owned())?;
    if accepted {
        without(&heard, "the hash rate is refused", |message| {
            matches!(message, MiningServerMessage::UpdateChannelError(_))
        })?;
    }
    still_serves(bench, &mut peer).await
}

/// Half of a target, roughly: it loses its lowest bits.
fn half(target: U256) -> U256 {
    let mut bytes = target.0;
    let mut carry = 0;
    for byte in bytes.iter_mut().rev() {
        (*byte, carry) = (*byte >> 1 | carry, (*byte & 1) << 7);
    }
    U256(bytes)
}

async fn harder(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let wanted = half(work.channel.targets[0]);
    followed(&mut peer, work.channel.channel_id, wanted).await
}

async fn impossible_update(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    followed(&mut peer, work.channel.channel_id, U256::default()).await
}

async fn followed(peer: &mut Peer, channel_id: u32, wanted: U256) -> Judged {
    match updated(peer, channel_id, wanted).await? {
        Some(set) => demand(set <= wanted, || format!("wanted {wanted:?}, and got {set:?}")),
        None => Ok(()),
    }
}

/// What the server sets after it was told of another `maximum_target`; none where it refuses.
pub(super) async fn updated(
    peer: &mut Peer,
    channel_id: u32,
    wanted: U256,
) -> Judged<Option<U256>> {
    peer.send(&update(channel_id, HASH_RATE, wanted)).await;
    peer.await_message("SetTarget or UpdateChannel.Error", |message| match message {
        MiningServerMessage::SetTarget(set) => Some(Some(set.maximum_target)),
        MiningServerMessage::UpdateChannelError(_) => Some(None),
        _ => None,
    })
    .await
}

async fn endpoint_changed(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    peer.send(&ChannelEndpointChanged { channel_id: work.channel.channel_id }).await;
    let heard = peer.hear_quietly().await?;
    demand(!heard.closed, || "the server ended the connection".to_owned())?;
    still_serves(bench, &mut peer).await
}

fn custom(channel_id: u32, prev_hash: U256) -> SetCustomMiningJob<'static> {
    SetCustomMiningJob {
        channel_id,
        request_id: 0xc0de,
        mining_job_token: B0255::default(),
        version: 0x2000_0000,
        prev_hash,
        min_ntime: 0,
        nbits: 0,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::default(),
        coinbase_tx_input_n_sequence: u32::MAX,
        coinbase_tx_outputs: B064K::default(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::default(),
    }
}

async fn custom_job(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    peer.send(&custom(work.channel.channel_id, work.tip.prev_hash)).await;
    let heard = peer.hear_quietly().await?;
    without(&heard, "work selection was not agreed on", is_success)
}

async fn custom_job_answer(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    peer.send(&custom(work.channel.channel_id, work.tip.prev_hash)).await;
    let request_id = peer
        .await_message("SetCustomMiningJob.Error", |message| match message {
            MiningServerMessage::SetCustomMiningJobError(error) => Some(error.request_id),
            _ => None,
        })
        .await?;
    demand(request_id == 0xc0de, || format!("its request_id is {request_id}"))
}
