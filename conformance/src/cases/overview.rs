//! Frames, data types, and what may come at all.

use sv2_wire::mining::{SubmitSharesExtended, SubmitSharesStandard};
use sv2_wire::{B032, B064K, Message, MiningServerMessage, Tlv};

use super::acknowledging::never_accepted;
use super::jobs::second_jobs;
use super::shares::submit;
use super::{frame, is_success, raw_frame, ready, spoilt, still_serves, without};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Open, Share, extended_miner, setup, standard_miner, text};
use crate::view::Root;

cases! { Overview:
    "OV-04a" Should "3.1" "A BOOL is sent as 0 or 1." bools_are_clean;
    "OV-05a" Must "3.1" "A string that runs past its payload is refused in SetupConnection."
        |bench| refused_setup(bench, spoilt(&setup(0), 1, &[]));
    "OV-05b" Must "3.1" "A SetupConnection without a payload is refused."
        |bench| refused_setup(bench, raw_frame(0, false, 0, &[]));
    "OV-05c" Must "3.1" "An OpenStandardMiningChannel that is cut short opens no channel."
        |bench| refused_open(bench, 1, &[]);
    "OV-05d" Must "3.1" "An extranonce of more than 32 bytes is refused." long_extranonce;
    "OV-05e" Must "3.1" "A share that is cut short is not accepted."
        |bench| refused_share(bench, 1, &[]);
    "OV-06a" Must "3.2" "Messages of the core protocols have extension_type 0." core_extension;
    "OV-07a" Must "3.2.1"
        "The channel bit is set on exactly the messages that the specification lists."
        channel_bits;
    "OV-07b" Should "3.2.1" "A SetupConnection with the channel bit set is refused."
        |bench| refused_setup(bench, with_channel_bit(frame(&setup(0))));
    "OV-08a" Must "3.2.1" "Every channel message names a channel or group that is open." addressed;
    "OV-12a" Must "3.2" "A message of an unknown extension is discarded and the connection goes on."
        |bench| unknown_extension(bench, false, vec![1, 2, 3]);
    "OV-12b" Must "3.2" "A channel message of an unknown extension is discarded as well."
        |bench| unknown_extension(bench, true, vec![1, 0, 0, 0, 9]);
    "OV-12c" Must "3.2" "A message of an unknown extension may be empty."
        |bench| unknown_extension(bench, false, vec![]);
    "OV-12d" Must "3.2" "A message of an unknown extension may be a few kilobytes long."
        |bench| unknown_extension(bench, false, vec![0xa5; 4_096]);
    "OV-12e" Must "3.2" "A message of an unknown extension is discarded between shares too."
        unknown_extension_at_work;
    "OV-14a" Must "3.4.2" "No message of an extension comes before extensions are negotiated."
        no_extension_unasked;
    "OV-16a" Must "3.4.3" "A SetupConnection with trailing bytes that are no TLV is refused."
        |bench| refused_setup(bench, spoilt(&setup(0), 0, &[0xff]));
    "OV-16b" Must "3.4.3"
        "An OpenStandardMiningChannel with trailing bytes that are no TLV opens no channel."
        |bench| refused_open(bench, 0, &[0xff, 0xff]);
    "OV-16c" Must "3.4.3" "A share with a trailing byte that is no TLV is not accepted."
        |bench| refused_share(bench, 0, &[0]);
    "OV-16d" Must "3.4.3" "A TLV whose length runs past the payload is refused."
        |bench| refused_open(bench, 0, &[2, 0, 1, 9, 0, b'w']);
    "OV-17a" Should "3.4.3" "A TLV in big-endian order is malformed."
        |bench| refused_open(bench, 0, &[0, 2, 1, 0, 3, b'w', b'x', b'y']);
    "EX-11a" Must "extension 2" "A TLV of an extension that is not negotiated is ignored."
        unknown_tlv;
}

async fn bools_are_clean(bench: &Bench) -> Judged {
    let (_peer, work) = extended_miner(bench, 0).await?;
    match work.job.root {
        Root::Coinbase { rolling_byte, .. } => demand(rolling_byte <= 1, || {
            format!("version_rolling_allowed is the byte 0x{rolling_byte:02x}")
        }),
        Root::Given(_) => Err(Stop::breach("an extended channel got a NewMiningJob")),
    }
}

/// The connection must end, or `SetupConnection.Error` come.
pub(super) async fn refused_setup(bench: &Bench, frame: Vec<u8>) -> Judged {
    let mut peer = bench.connect().await?;
    peer.send_frame(&frame).await;
    let heard = peer.hear(bench.waits().answer).await?;
    without(&heard, "a spoilt SetupConnection is accepted", is_success)?;
    demand(heard.closed || !heard.frames.is_empty(), || {
        "a spoilt SetupConnection is neither refused nor is the connection ended".to_owned()
    })
}

async fn refused_open(bench: &Bench, cut: usize, added: &'static [u8]) -> Judged {
    let mut peer = ready(bench).await?;
    let open = Open::standard_by(&bench.target.user_identity).standard();
    peer.send_frame(&spoilt(&open, cut, added)).await;
    let heard = peer.hear(bench.waits().answer).await?;
    without(&heard, "a spoilt request opens a channel", is_success)?;
    demand(heard.closed || !heard.frames.is_empty(), || {
        "a spoilt request is passed over in silence".to_owned()
    })
}

async fn refused_share(bench: &Bench, cut: usize, added: &'static [u8]) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let encode = |share: Share| spoilt(&share.standard(), cut, added);
    never_accepted(bench, &mut peer, &work, "a spoilt share is accepted", encode).await
}

async fn long_extranonce(bench: &Bench) -> Judged {
    let (mut peer, work) = extended_miner(bench, 0).await?;
    let share = work.blank(1);
    let empty = SubmitSharesExtended { extranonce: B032::default(), ..share.extended() };
    let mut extranonce = vec![33];
    extranonce.extend([0x5a; 33]);
    peer.send_frame(&spoilt(&empty, 1, &extranonce)).await;
    let heard = peer.hear(bench.waits().answer / 2).await?;
    without(&heard, "an extranonce of 33 bytes is accepted", is_success)?;
    demand(heard.closed || !heard.frames.is_empty(), || {
        "an extranonce of 33 bytes is passed over in silence".to_owned()
    })
}

/// The opening of a connection and a channel, which must read strictly.
async fn opening(bench: &Bench) -> Judged<Vec<crate::frames::Frame>> {
    let mut peer = bench.connect().await?;
    peer.send(&setup(0)).await;
    let mut frames = peer.hear_quietly().await?.frames;
    peer.send(&Open::standard_by(&bench.target.user_identity).standard()).await;
    frames.extend(peer.hear_quietly().await?.frames);
    demand(!frames.is_empty(), || "nothing is answered".to_owned())?;
    Ok(frames)
}

async fn core_extension(bench: &Bench) -> Judged {
    for frame in opening(bench).await? {
        demand(frame.header.extension_type == 0, || frame.in_words())?;
    }
    Ok(())
}

async fn channel_bits(bench: &Bench) -> Judged {
    for frame in opening(bench).await? {
        let decoded = frame.message().map_err(|error| Stop::Breach(error.to_string()))?;
        demand(!decoded.wrong_channel_bit, || {
            format!("{} has the wrong channel bit", decoded.message.name())
        })?;
    }
    Ok(())
}

fn with_channel_bit(mut frame: Vec<u8>) -> Vec<u8> {
    frame[1] |= 0x80;
    frame
}

async fn addressed(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    submit(bench, &mut peer, work.channel.channel_id, 1, |share| share).await?;
    second_jobs(bench, &mut peer, "OV-08").await?;
    match peer.view.breach("OV-08") {
        Some(how) => Err(Stop::breach(how)),
        None => Ok(()),
    }
}

async fn unknown_extension(bench: &Bench, channel_msg: bool, payload: Vec<u8>) -> Judged {
    let mut peer = ready(bench).await?;
    peer.send_frame(&raw_frame(0x4242, channel_msg, 0x01, &payload)).await;
    let heard = peer.hear_quietly().await?;
    demand(!heard.closed, || "the server ended the connection".to_owned())?;
    demand(heard.frames.is_empty(), || format!("answered by {}", heard.frames[0].in_words()))?;
    still_serves(bench, &mut peer).await
}

async fn unknown_extension_at_work(bench: &Bench) -> Judged {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let mut payload = work.channel.channel_id.to_le_bytes().to_vec();
    payload.push(1);
    peer.send_frame(&raw_frame(0x4242, true, 0x7f, &payload)).await;
    let unknown = SubmitSharesStandard { job_id: !work.job.job_id, ..work.blank(5).standard() };
    peer.send(&unknown).await;
    peer.await_message("SubmitShares.Error", |message| match message {
        MiningServerMessage::SubmitSharesError(error) if error.sequence_number == 5 => Some(()),
        _ => None,
    })
    .await
}

async fn no_extension_unasked(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let mut frames = peer.hear_quietly().await?.frames;
    still_serves(bench, &mut peer).await?;
    frames.extend(peer.hear_quietly().await?.frames);
    match frames.iter().find(|frame| frame.header.extension_type != 0) {
        Some(frame) => Err(Stop::Breach(frame.in_words())),
        None => Ok(()),
    }
}

async fn unknown_tlv(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let open = Open { request_id: 4, ..Open::standard_by(&bench.target.user_identity) };
    let value = B064K::new(text("worker").as_bytes()).expect("a few bytes fit 65 535");
    let tlv = Tlv { extension_type: 0x4242, field_type: 1, value };
    let mut frame = Vec::new();
    open.standard().encode_frame_with_tlvs(&[tlv], &mut frame);
    peer.send_frame(&frame).await;
    match peer.open_answer(4).await? {
        Ok(_) => Ok(()),
        Err(code) => Err(Stop::Breach(format!("refused: {}", code.escape_ascii()))),
    }
}
