//! Closing channels.

use sv2_wire::FrameHeader;
use sv2_wire::mining::CloseChannel;

use super::acknowledging::never_accepted;
use super::shares::submit;
use super::{frame, ready, still_serves};
use crate::bench::Bench;
use crate::case::{Judged, cases, demand};
use crate::mining::{Open, Work, standard_miner, text};
use crate::peer::Peer;

cases! { Channels:
    "MP-43a" Must "5.3.9" "A share for a closed channel is not accepted." closed_share;
    "MP-43b" Must "5.3.9" "After CloseChannel nothing is sent for the channel." silence;
    "MP-43c" Must "5.3.9" "Closing one channel leaves the others at work." others_go_on;
    "MP-43d" Must "5.3.9" "CloseChannel for a group closes each of its members." group;
    "MP-43e" Should "5.3.9" "CloseChannel for an unknown channel leaves the connection in use."
        unknown;
    "MP-43f" Must "5.3.9" "After the only channel is closed another can be opened." reopened;
    "MP-43g" Must "5.2"
        "A channel opened after another was closed has an id that no open channel has."
        fresh_id;
    "MP-43h" Should "5.1"
        "A channel opened after another was closed does not get its extranonce at once."
        fresh_prefix;
}

async fn two_miners(bench: &Bench) -> Judged<(Peer, Work, Work)> {
    let (mut peer, first) = standard_miner(bench, 0).await?;
    let open = Open { request_id: 2, ..Open::standard_by(&bench.target.user_identity) };
    let channel = peer.open(&open).await?;
    let second = peer.active(channel.channel_id).await?;
    Ok((peer, first, second))
}

async fn close(peer: &mut Peer, channel_id: u32) {
    peer.send(&CloseChannel { channel_id, reason_code: text("test-ends") }).await;
}

async fn closed_share(bench: &Bench) -> Judged {
    let (mut peer, first, _) = two_miners(bench).await?;
    close(&mut peer, first.channel.channel_id).await;
    let what = "a share for a closed channel is accepted";
    never_accepted(bench, &mut peer, &first, what, |share| frame(&share.standard())).await
}

async fn silence(bench: &Bench) -> Judged {
    let (mut peer, first, _) = two_miners(bench).await?;
    close(&mut peer, first.channel.channel_id).await;
    // What crossed the CloseChannel on its way is legal.
    peer.hear_quietly().await?;
    let heard = peer.hear(bench.waits().answer / 2).await?;
    let id = first.channel.channel_id.to_le_bytes();
    let addressed = heard.frames.iter().find(|frame| {
        let FrameHeader { channel_msg, .. } = frame.header;
        channel_msg && frame.payload.starts_with(&id)
    });
    match addressed {
        Some(frame) => Err(crate::case::Stop::Breach(frame.in_words())),
        None => Ok(()),
    }
}

async fn others_go_on(bench: &Bench) -> Judged {
    let (mut peer, first, second) = two_miners(bench).await?;
    close(&mut peer, first.channel.channel_id).await;
    submit(bench, &mut peer, second.channel.channel_id, 9, |share| share).await.map(drop)
}

async fn group(bench: &Bench) -> Judged {
    let (mut peer, first, second) = two_miners(bench).await?;
    close(&mut peer, first.channel.group_channel_id).await;
    for work in [&first, &second] {
        if work.channel.group_channel_id != first.channel.group_channel_id {
            continue;
        }
        let what = "a share for a member of a closed group is accepted";
        never_accepted(bench, &mut peer, work, what, |share| frame(&share.standard())).await?;
    }
    Ok(())
}

async fn unknown(bench: &Bench) -> Judged {
    let (mut peer, _) = standard_miner(bench, 0).await?;
    close(&mut peer, 0x00ff_fffe).await;
    let heard = peer.hear_quietly().await?;
    demand(!heard.closed, || "the server ended the connection".to_owned())?;
    still_serves(bench, &mut peer).await
}

async fn reopened(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let open = Open::standard_by(&bench.target.user_identity);
    let channel = peer.open(&open).await?;
    close(&mut peer, channel.channel_id).await;
    still_serves(bench, &mut peer).await
}

async fn fresh_id(bench: &Bench) -> Judged {
    let (mut peer, first, second) = two_miners(bench).await?;
    close(&mut peer, first.channel.channel_id).await;
    // The suite takes no id twice, so the view has to forget the closed channel.
    peer.view.channels.remove(&first.channel.channel_id);
    let open = Open { request_id: 3, ..Open::standard_by(&bench.target.user_identity) };
    let third = peer.open(&open).await?;
    demand(third.channel_id != second.channel.channel_id, || {
        format!("{} is the id of two open channels", third.channel_id)
    })
}

async fn fresh_prefix(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    close(&mut peer, work.channel.channel_id).await;
    peer.view.channels.remove(&work.channel.channel_id);
    let open = Open { request_id: 3, ..Open::standard_by(&bench.target.user_identity) };
    let next = peer.open(&open).await?;
    let before = &work.channel.extranonce_prefix;
    demand(next.extranonce_prefix != *before, || {
        format!("prefix {} is given out again while its jobs are valid", const_hex::encode(before))
    })
}
