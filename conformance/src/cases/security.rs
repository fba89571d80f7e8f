//! The handshake and the certificate.

use std::time::Duration;

use sv2_noise::{ACT_1_LEN, ACT_2_LEN, Certificate, Initiator};
use sv2_wire::FrameHeader;
use sv2_wire::common::SetupConnection;

use super::frame;
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::frames::Frame;
use crate::mining::{setup, text};
use crate::peer::Peer;

/// How long a certificate should last at least, in seconds: a miner connects once and stays.
const LEAST_REMAINING_SECS: u64 = 3_600;
/// How far behind a miner's clock may be, in seconds, and still find the certificate valid.
const BACKDATED_SECS: u64 = 300;
/// As long as act 1 by itself.
const LONG_VENDOR: &str = "conformance conformance conformance conformance conformance ----";

cases! { Security:
    "SE-01a" Must "4.2" "A plaintext SetupConnection has no plaintext answer where Noise is spoken."
        plaintext;
    "SE-06a" Must "4.5.1" "Act 1 of 64 bytes is answered." acts;
    "SE-06b" Must "4.5.1" "Nothing is sent before act 1." silent_before_act_1;
    "SE-06c" Must "4.5.1" "Act 1 may come in single bytes." |bench| act_in_pieces(bench, 1);
    "SE-06d" Must "4.5.1" "Act 1 may come in two pieces." |bench| act_in_pieces(bench, 33);
    "SE-06e" Must "4.5.1" "An act 1 of 63 bytes at which the client ends is not answered."
        short_act;
    "SE-06f" Must "4.5.1" "A byte after act 1 belongs to the first frame, which then does not open."
        long_act;
    "SE-07a" Must "4.5.2" "Act 2 has 234 bytes and nothing follows it unasked." act_2_alone;
    "SE-07b" Must "4.5.2" "Every handshake has a fresh ephemeral key." fresh_ephemeral;
    "SE-07c" Must "4.5.2" "The same act 1 sent twice is answered differently." replayed_act;
    "SE-08a" Must "4.5.2" "Act 2 authenticates." handshake;
    "SE-09a" Must "4.5" "Garbage of 64 bytes for act 1 leads to no session." garbage_act;
    "SE-09b" Must "4.5" "A server survives garbage handshakes." survives_garbage;
    "SE-10a" Must "4.5.3" "The certificate's period is not upside down." period;
    "SE-11a" Must "4.5.3"
        "The certificate is signed by the authority key for the server's static key."
        signed;
    "SE-12a" Must "4.5.3" "The certificate has version 0." version;
    "SE-13a" Must "4.5.3" "The certificate is valid now." valid_now;
    "SE-13b" Should "field"
        "The certificate is backdated by minutes, for miners whose clocks are slow."
        backdated;
    "SE-13c" Should "field" "The certificate is valid for another hour." lasting;
}

async fn raw_handshake(bench: &Bench) -> Judged<(Peer, Initiator, Vec<u8>)> {
    bench.needs_noise()?;
    let (initiator, act_1) = act_1(bench)?;
    let (peer, act_2) = answered_act(bench, &act_1).await?;
    Ok((peer, initiator, act_2))
}

pub(super) fn act_1(bench: &Bench) -> Judged<(Initiator, [u8; ACT_1_LEN])> {
    let entropy = &mut |out: &mut [u8]| bench.env.rng.fill(out);
    Initiator::new(None, entropy).map_err(|error| Stop::Breach(format!("handshake: {error}")))
}

/// Sends act 1 on a new connection; tried again when the server ends the connection at once.
async fn answered_act(bench: &Bench, act_1: &[u8; ACT_1_LEN]) -> Judged<(Peer, Vec<u8>)> {
    let mut retry = Duration::from_millis(250);
    loop {
        let mut peer = bench.dial().await?;
        peer.send_raw(act_1, "act 1").await;
        let act_2 = peer.receive_raw(ACT_2_LEN, bench.waits().answer).await;
        if !act_2.is_empty() || retry > Duration::from_secs(4) {
            return Ok((peer, act_2));
        }
        tokio::time::sleep(retry).await;
        retry *= 2;
    }
}

async fn certificate(bench: &Bench) -> Judged<Certificate> {
    let (_, initiator, act_2) = raw_handshake(bench).await?;
    let act_2 = whole(&act_2)?;
    let (_, certificate) = initiator
        .act_2(&act_2, bench.unix_secs())
        .map_err(|error| Stop::Breach(format!("handshake: {error}")))?;
    Ok(certificate)
}

fn whole(act_2: &[u8]) -> Judged<[u8; ACT_2_LEN]> {
    act_2.try_into().map_err(|_| {
        Stop::Breach(format!("act 2 has {} bytes instead of {ACT_2_LEN}", act_2.len()))
    })
}

async fn plaintext(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let mut peer = bench.dial().await?;
    // Longer than act 1, so that a server which waits for that has all it needs.
    let long = SetupConnection { vendor: text(LONG_VENDOR), ..setup(0) };
    peer.send_raw(&frame(&long), "SetupConnection in plaintext").await;
    let answer = peer.receive_raw(ACT_2_LEN, bench.waits().answer).await;
    let told = plaintext_frame(&answer);
    demand(told.is_none(), || format!("it is answered by {}", told.unwrap_or_default()))
}

/// The frame that the bytes begin with, if a client without Noise could read it.
fn plaintext_frame(bytes: &[u8]) -> Option<String> {
    let (header, rest) = bytes.split_first_chunk()?;
    let header = FrameHeader::decode(*header);
    let payload = rest.get(..header.msg_length.to_u32() as usize)?.to_vec();
    let frame = Frame { header, payload };
    frame.message().is_ok().then(|| frame.in_words())
}

async fn acts(bench: &Bench) -> Judged {
    let (_, _, act_2) = raw_handshake(bench).await?;
    whole(&act_2).map(drop)
}

async fn silent_before_act_1(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let mut peer = bench.dial().await?;
    let early = peer.receive_raw(1, bench.waits().quiet).await;
    demand(early.is_empty(), || "the server speaks first".to_owned())
}

async fn act_in_pieces(bench: &Bench, size: usize) -> Judged {
    bench.needs_noise()?;
    let (initiator, act_1) = act_1(bench)?;
    let mut peer = bench.dial().await?;
    peer.send_in_pieces(&act_1, size).await;
    let act_2 = peer.receive_raw(ACT_2_LEN, bench.waits().answer).await;
    initiator
        .act_2(&whole(&act_2)?, bench.unix_secs())
        .map(drop)
        .map_err(|error| Stop::Breach(format!("handshake: {error}")))
}

async fn short_act(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let (_, act_1) = act_1(bench)?;
    let mut peer = bench.dial().await?;
    peer.send_raw(&act_1[..ACT_1_LEN - 1], "act 1 less one byte").await;
    peer.finish().await;
    let answer = peer.receive_raw(ACT_2_LEN, bench.waits().quiet).await;
    demand(answer.is_empty(), || "it is answered".to_owned())
}

async fn long_act(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let (initiator, act_1) = act_1(bench)?;
    let mut peer = bench.dial().await?;
    peer.send_raw(&[act_1.as_slice(), &[0]].concat(), "act 1 and one more byte").await;
    let act_2 = peer.receive_raw(ACT_2_LEN, bench.waits().answer).await;
    if act_2.is_empty() {
        return Ok(());
    }
    let (transport, _) = initiator
        .act_2(&whole(&act_2)?, bench.unix_secs())
        .map_err(|error| Stop::Breach(format!("handshake: {error}")))?;
    peer.speak(transport);
    peer.send(&setup(0)).await;
    peer.await_close(bench.waits().answer, "a frame that is one byte off").await
}

async fn act_2_alone(bench: &Bench) -> Judged {
    let (mut peer, _, act_2) = raw_handshake(bench).await?;
    whole(&act_2)?;
    let more = peer.receive_raw(1, bench.waits().quiet).await;
    demand(more.is_empty(), || "bytes follow act 2".to_owned())
}

async fn fresh_ephemeral(bench: &Bench) -> Judged {
    let (_, _, first) = raw_handshake(bench).await?;
    let (_, _, second) = raw_handshake(bench).await?;
    let (first, second) = (whole(&first)?, whole(&second)?);
    demand(first[..64] != second[..64], || "two connections have one ephemeral key".to_owned())
}

async fn replayed_act(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let (_, act_1) = act_1(bench)?;
    let (_, first) = answered_act(bench, &act_1).await?;
    let (_, second) = answered_act(bench, &act_1).await?;
    demand(whole(&first)? != whole(&second)?, || "act 2 is the same both times".to_owned())
}

async fn handshake(bench: &Bench) -> Judged {
    certificate(bench).await.map(drop)
}

async fn garbage(bench: &Bench) -> Judged<Peer> {
    bench.needs_noise()?;
    let mut peer = bench.dial().await?;
    peer.send_raw(&bench.random::<ACT_1_LEN>(), "garbage for act 1").await;
    // Any 64 bytes are a key: an answer is legal, a session is not.
    peer.receive_raw(ACT_2_LEN, bench.waits().answer).await;
    peer.send_raw(&bench.random::<22>(), "garbage for a sealed header").await;
    Ok(peer)
}

async fn garbage_act(bench: &Bench) -> Judged {
    garbage(bench).await?.await_close(bench.waits().answer, "garbage").await
}

async fn survives_garbage(bench: &Bench) -> Judged {
    for _ in 0..3 {
        drop(garbage(bench).await?);
    }
    bench.connect().await?.set_up(0).await.map(drop)
}

async fn period(bench: &Bench) -> Judged {
    let validity = certificate(bench).await?.validity();
    demand(validity.valid_from <= validity.not_valid_after, || format!("{validity:?}"))
}

async fn signed(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let Some(authority) = bench.target.authority else {
        return Err(Stop::inapplicable("no authority key is given; use --authority-key"));
    };
    let mut peer = bench.dial().await?;
    match peer.shake_hands(bench, Some(authority)).await? {
        Some(_) => Ok(()),
        None => Err(Stop::breach("the server ended the connection before act 2")),
    }
}

async fn version(bench: &Bench) -> Judged {
    let bytes = certificate(bench).await?.to_bytes();
    let version = u16::from_le_bytes([bytes[0], bytes[1]]);
    demand(version == 0, || format!("the version is {version}"))
}

async fn valid_now(bench: &Bench) -> Judged {
    let validity = certificate(bench).await?.validity();
    let now = bench.unix_secs();
    let is_valid = (validity.valid_from.into()..=validity.not_valid_after.into()).contains(&now);
    demand(is_valid, || format!("{validity:?}, and now is {now}"))
}

async fn backdated(bench: &Bench) -> Judged {
    let valid_from = u64::from(certificate(bench).await?.validity().valid_from);
    let now = bench.unix_secs();
    demand(valid_from + BACKDATED_SECS <= now, || {
        format!("valid from {valid_from}, and now is {now}")
    })
}

async fn lasting(bench: &Bench) -> Judged {
    let end = u64::from(certificate(bench).await?.validity().not_valid_after);
    let now = bench.unix_secs();
    demand(end >= now + LEAST_REMAINING_SECS, || format!("valid until {end}, and now is {now}"))
}
