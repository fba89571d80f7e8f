//! The catalogue.

mod acknowledging;
mod channels;
mod closing;
mod custom;
mod extensions;
mod jobs;
mod opening;
mod overview;
mod robustness;
mod security;
mod setup;
mod shares;
mod submitting;
mod targets;
mod timing;
mod transport;

use sv2_wire::{FrameHeader, Message, MiningServerMessage, U24};

use crate::bench::Bench;
use crate::case::{Case, Judged, Stop};
use crate::mining::Open;
use crate::peer::{Heard, Peer};

/// All cases, in the order in which they run.
pub fn catalogue() -> impl Iterator<Item = &'static Case> {
    [
        overview::CASES,
        setup::CASES,
        security::CASES,
        transport::CASES,
        opening::CASES,
        channels::CASES,
        closing::CASES,
        jobs::CASES,
        custom::CASES,
        shares::CASES,
        submitting::CASES,
        targets::CASES,
        extensions::CASES,
        timing::CASES,
        robustness::CASES,
    ]
    .into_iter()
    .flatten()
}

/// A message as a frame.
fn frame<'m>(message: &impl Message<'m>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    frame
}

/// A frame of any kind.
fn raw_frame(extension_type: u16, channel_msg: bool, msg_type: u8, payload: &[u8]) -> Vec<u8> {
    let msg_length = U24::from_len(payload.len()).expect("the suite's payloads fit a frame");
    let header = FrameHeader { extension_type, channel_msg, msg_type, msg_length };
    [header.encode().as_slice(), payload].concat()
}

/// A message's frame with other bytes for its payload's end: `cut` taken off, `added` put on.
fn spoilt<'m>(message: &impl Message<'m>, cut: usize, added: &[u8]) -> Vec<u8> {
    let whole = frame(message);
    let header = FrameHeader::decode(*whole.first_chunk().expect("a frame has a header"));
    let payload = [&whole[FrameHeader::LEN..whole.len() - cut], added].concat();
    raw_frame(header.extension_type, header.channel_msg, header.msg_type, &payload)
}

/// A connection that is set up without flags.
async fn ready(bench: &Bench) -> Judged<Peer> {
    let mut peer = bench.connect().await?;
    peer.set_up(0).await?;
    Ok(peer)
}

/// The server must open one more standard channel on the connection.
async fn still_serves(bench: &Bench, peer: &mut Peer) -> Judged {
    let open = Open { request_id: 0x7777, ..Open::standard_by(&bench.target.user_identity) };
    peer.open(&open).await.map(drop)
}

/// The server must not have sent a message of the kind that `is_forbidden` picks.
fn without(
    heard: &Heard,
    what: &str,
    is_forbidden: impl Fn(&MiningServerMessage<'_>) -> bool,
) -> Judged {
    match heard.messages()?.iter().find(|message| is_forbidden(message)) {
        Some(message) => Err(Stop::Breach(format!("the server sent {}: {what}", message.name()))),
        None => Ok(()),
    }
}

/// Whether a message grants something: a connection, a channel, a share.
fn is_success(message: &MiningServerMessage<'_>) -> bool {
    matches!(
        message,
        MiningServerMessage::SetupConnectionSuccess(_)
            | MiningServerMessage::OpenStandardMiningChannelSuccess(_)
            | MiningServerMessage::OpenExtendedMiningChannelSuccess(_)
            | MiningServerMessage::SubmitSharesSuccess(_)
            | MiningServerMessage::SetCustomMiningJobSuccess(_)
    )
}
