//! What networks and hurried clients do.

use std::time::Duration;

use sv2_wire::MiningServerMessage;

use super::{frame, raw_frame, ready, still_serves};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Answer, Open, Share, setup, standard_miner};

/// How many bad shares the slow reader sends before it reads: more than fit a receive buffer when
/// they are answered, and so few that no server can mind.
const UNREAD_SHARES: [u32; 2] = [4_000, 200];

/// How long the slow reader lets the answers wait.
const LATE: Duration = Duration::from_secs(2);

cases! { Robustness:
    "OV-10a" Must "3" "Frames may come in single bytes." |bench| in_pieces(bench, 1);
    "OV-10b" Must "3" "Frames may come in pieces of 7 bytes, which never meet a frame's bounds."
        |bench| in_pieces(bench, 7);
    "OV-10c" Must "3" "Frames may come in pieces of 22 bytes." |bench| in_pieces(bench, 22);
    "OV-10d" Must "3" "SetupConnection and a request may come in one segment." coalesced;
    "OV-10e" Must "3" "A frame and the start of the next may come together." straddling;
    "OV-10f" Must "3" "A frame may come with a pause within." pause;
    "OV-10g" Should "3" "After the client's end of sending, what it asked before is answered."
        half_closed_answer;
    "OV-10h" Should "3" "After the client's end of sending, the server ends the connection too."
        half_closed_end;
    "OV-10i" Must "3" "Connections do not disturb each other." two_connections;
    "OV-10j" Should "3" "A connection that is dropped amid work does not disturb the next." dropped;
    "MP-56k" Should "5.3.14" "A client that reads late gets every refusal, in order." slow_reader;
    "HY-06a" Should "hygiene" "A message of unknown type after setup does not crash the server."
        |bench| survives(bench, raw_frame(0, false, 0x7f, &[0; 4]));
    "HY-06b" Should "hygiene" "A message that only servers send does not crash the server."
        |bench| survives(bench, raw_frame(0, true, 0x20, &[0; 48]));
    "HY-06c" Should "hygiene" "A message of another protocol does not crash the server."
        |bench| survives(bench, raw_frame(0, false, 0x57, &[0; 32]));
    "HY-06d" Should "hygiene" "An empty message of each known type does not crash the server."
        empty_messages;
}

async fn in_pieces(bench: &Bench, size: usize) -> Judged {
    let mut peer = bench.connect().await?;
    let sealed = peer.seal(&frame(&setup(0)));
    peer.send_in_pieces(&sealed, size).await;
    expect_success(peer.setup_answer().await?)?;
    let open = Open { request_id: 5, ..Open::standard_by(&bench.target.user_identity) };
    let sealed = peer.seal(&frame(&open.standard()));
    peer.send_in_pieces(&sealed, size).await;
    expect_channel(peer.open_answer(5).await?)
}

fn expect_success(answer: Answer) -> Judged {
    match answer {
        Answer::Success(_) => Ok(()),
        Answer::Error { code, .. } => {
            Err(Stop::Breach(format!("refused: {}", code.escape_ascii())))
        }
    }
}

fn expect_channel<T>(answer: Result<T, Vec<u8>>) -> Judged {
    answer.map(drop).map_err(|code| Stop::Breach(format!("no channel: {}", code.escape_ascii())))
}

async fn coalesced(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let open = Open { request_id: 5, ..Open::standard_by(&bench.target.user_identity) };
    let mut sealed = peer.seal(&frame(&setup(0)));
    sealed.extend(peer.seal(&frame(&open.standard())));
    peer.send_raw(&sealed, "both at once").await;
    expect_success(peer.setup_answer().await?)?;
    expect_channel(peer.open_answer(5).await?)
}

async fn straddling(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let open = Open { request_id: 5, ..Open::standard_by(&bench.target.user_identity) };
    let mut sealed = peer.seal(&frame(&setup(0)));
    let first = sealed.len();
    sealed.extend(peer.seal(&frame(&open.standard())));
    let (start, rest) = sealed.split_at(first + 9);
    peer.send_raw(start, "the first and a part of the second").await;
    expect_success(peer.setup_answer().await?)?;
    peer.send_raw(rest, "the rest").await;
    expect_channel(peer.open_answer(5).await?)
}

async fn pause(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let sealed = peer.seal(&frame(&setup(0)));
    let (start, rest) = sealed.split_at(sealed.len() / 2);
    peer.send_raw(start, "half of it").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    peer.send_raw(rest, "the other half").await;
    expect_success(peer.setup_answer().await?)
}

async fn half_closed_answer(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    peer.send(&setup(0)).await;
    peer.finish().await;
    expect_success(peer.setup_answer().await?)
}

async fn half_closed_end(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    peer.finish().await;
    peer.await_close(bench.waits().answer, "the client's end").await
}

async fn two_connections(bench: &Bench) -> Judged {
    let (mut first, _) = standard_miner(bench, 0).await?;
    let mut second = ready(bench).await?;
    second.send_frame(&raw_frame(0, false, 0x10, &[0xff])).await;
    drop(second);
    first.hear_quietly().await?;
    still_serves(bench, &mut first).await
}

async fn dropped(bench: &Bench) -> Judged {
    for _ in 0..3 {
        drop(standard_miner(bench, 0).await?);
    }
    standard_miner(bench, 0).await.map(drop)
}

async fn slow_reader(bench: &Bench) -> Judged {
    for count in UNREAD_SHARES {
        if refused_late(bench, count).await? {
            return Ok(());
        }
    }
    Err(Stop::inapplicable("the server ends connections that send many bad shares at once"))
}

/// Whether as many refusals come as shares were sent; false when the server ends the connection,
/// as one may that limits what it holds for a client.
async fn refused_late(bench: &Bench, count: u32) -> Judged<bool> {
    let (mut peer, work) = standard_miner(bench, 0).await?;
    let mut sealed = Vec::new();
    for number in 0..count {
        let blank = work.blank(number);
        let share = Share { job_id: !blank.job_id, ..blank };
        sealed.extend(peer.seal(&frame(&share.standard())));
    }
    peer.send_raw(&sealed, "all of them at once").await;
    tokio::time::sleep(LATE).await;
    let heard = peer.hear(bench.waits().answer).await?;
    let refused: Vec<u32> = heard
        .messages()?
        .iter()
        .filter_map(|message| match message {
            MiningServerMessage::SubmitSharesError(error) => Some(error.sequence_number),
            _ => None,
        })
        .collect();
    if heard.closed && refused.len() < count as usize {
        return Ok(false);
    }
    demand(refused.iter().copied().eq(0..count), || {
        format!("{} of {count} refusals come, or in another order", refused.len())
    })?;
    Ok(true)
}

/// Whatever the server makes of the frame, it must serve the next connection.
async fn survives(bench: &Bench, frame: Vec<u8>) -> Judged {
    let mut peer = ready(bench).await?;
    peer.send_frame(&frame).await;
    peer.hear_quietly().await?;
    drop(peer);
    ready(bench).await.map(drop)
}

async fn empty_messages(bench: &Bench) -> Judged {
    for msg_type in [0x00, 0x03, 0x10, 0x13, 0x16, 0x18, 0x1a, 0x1b, 0x22] {
        let mut peer = ready(bench).await?;
        let is_channel = !matches!(msg_type, 0x00 | 0x10 | 0x13);
        peer.send_frame(&raw_frame(0, is_channel, msg_type, &[])).await;
        let heard = peer.hear_quietly().await?;
        super::without(&heard, "an empty message is served", super::is_success)?;
    }
    ready(bench).await.map(drop)
}
