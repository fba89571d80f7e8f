//! Ids, groups, extranonces, and changing a channel.

use std::collections::BTreeSet;

use sv2_wire::common::ChannelEndpointChanged;
use sv2_wire::mining::UpdateChannel;
use sv2_wire::{MiningServerMessage, U256};

use super::setup::clean;
use super::{ready, still_serves, without};
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
    "MP-02d" Must "5.1" "A standard channel's extranonce prefix is not empty." prefix;
    "MP-11a" Must "5.2" "Channel ids are unique on the connection." unique_ids;
    "MP-12a" Must "5.2" "No group id is a channel id of the connection." group_ids;
    "DF-06b" Should "field"
        "No id of a channel or group is all ones, which proxies use for themselves."
        sentinel;
    "MP-14a" Must "5.2" "The members of a group have one full extranonce length." group_lengths;
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
        "A maximum_target below the current target is followed by SetTarget."
        harder;
    "MP-41b" Must "5.3.7" "A maximum_target of 0 is refused or followed, and never exceeded."
        impossible_update;
    "OV-26d" Must "3.5" "UpdateChannel.Error has a code without control characters."
        |bench| update_code(bench, false);
    "OV-25d" Should "3.5" "UpdateChannel.Error has a code of printable ASCII."
        |bench| update_code(bench, true);
    "OV-36a" Must "3.6.4" "A ChannelEndpointChanged is tolerated." endpoint_changed;
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

pub(super) fn update(
    channel_id: u32,
    nominal_hash_rate: f32,
    maximum_target: U256,
) -> UpdateChannel {
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

async fn update_code(bench: &Bench, printable: bool) -> Judged {
    let (mut peer, _) = standard_miner(bench, 0).await?;
    peer.send(&update(0x00ff_fffe, HASH_RATE, U256::MAX)).await;
    let code = peer
        .await_message("UpdateChannel.Error", |message| match message {
            MiningServerMessage::UpdateChannelError(error) => {
                Some(error.error_code.as_bytes().to_vec())
            }
            _ => None,
        })
        .await?;
    clean(&code, printable)
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

/// Half of a target.
pub(super) fn half(target: U256) -> U256 {
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
    match updated(&mut peer, work.channel.channel_id, wanted).await? {
        Some(set) => demand(set <= wanted, || format!("wanted {wanted:?}, and got {set:?}")),
        None => Err(Stop::breach("half the target is refused")),
    }
}

async fn impossible_update(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let wanted = U256::default();
    match updated(&mut peer, work.channel.channel_id, wanted).await? {
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
