//! Opening channels: what is answered.

use sv2_wire::{MiningServerMessage, U256};

use super::setup::clean;
use super::{ready, still_serves};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::Open;
use crate::view::Channel;

/// Longest full extranonce that fits the field it is sent in.
const MAX_EXTRANONCE: usize = 32;

cases! { Channels:
    "MP-10a" Must "5.2" "A server that provides work opens standard channels."
        |bench| opens(bench, None);
    "MP-10b" Must "5.2" "A server that provides work opens extended channels." extended_is_served;
    "MP-30a" Must "5.3.2" "An identity of 255 bytes is answered."
        |bench| identity(bench, &[b'w'; 255]);
    "MP-30b" Must "5.3.2" "An empty identity is answered." |bench| identity(bench, b"");
    "MP-30c" Must "5.3.2" "An identity of any bytes is answered."
        |bench| identity(bench, &[0, 0xff, b'\n', 0xc3]);
    "MP-30d" Should "field"
        "The next frame after a request is its answer, as deployed firmware expects."
        answer_first;
    "MP-31a" Must "5.3.2" "The request_id 0 is echoed." |bench| echoed(bench, 0, None);
    "MP-31b" Must "5.3.2" "The request_id of all ones is echoed."
        |bench| echoed(bench, u32::MAX, None);
    "MP-31c" Must "5.3.4" "The request_id is echoed for an extended channel."
        |bench| echoed(bench, 0x0102_0304, Some(4));
    "MP-31d" Must "5.3.2" "Several requests in one go are each answered under their own request_id."
        several;
    "MP-32a" Must "5.3.3" "No target is above a max_target of all ones."
        |bench| within(bench, U256::MAX, None);
    "MP-32b" Must "5.3.3"
        "The target is not above a max_target of 2^224, or the request is refused."
        |bench| within(bench, bit(224), None);
    "MP-32c" Must "5.3.3"
        "The target is not above a max_target of 2^240, or the request is refused."
        |bench| within(bench, bit(240), None);
    "MP-32d" Must "5.3.3"
        "The target is not above a max_target of 2^160, or the request is refused."
        |bench| within(bench, bit(160), None);
    "MP-32e" Must "5.3.5" "The target of an extended channel is not above its max_target of 2^224."
        |bench| within(bench, bit(224), Some(4));
    "MP-32f" Must "5.3.3" "A max_target of 0 cannot be met and is refused."
        |bench| no_target(bench, None);
    "MP-32g" Must "5.3.5" "A max_target of 0 is refused for an extended channel."
        |bench| no_target(bench, Some(4));
    "MP-36a" Must "5.3.5" "At least 1 byte of extranonce is granted to one who asks it."
        |bench| granted(bench, 1);
    "MP-36b" Must "5.3.5" "At least 8 bytes of extranonce are granted, or the request is refused."
        |bench| granted(bench, 8);
    "MP-36c" Must "5.3.5" "At least 16 bytes of extranonce are granted, or the request is refused."
        |bench| granted(bench, 16);
    "MP-36d" Must "5.3.5" "A client that asks for no extranonce bytes is answered."
        |bench| granted(bench, 0);
    "MP-36e" Must "5.3.5" "33 bytes of extranonce cannot be granted and are refused."
        |bench| too_much(bench, 33);
    "MP-36f" Must "5.3.5" "65535 bytes of extranonce are refused."
        |bench| too_much(bench, u16::MAX);
    "MP-37a" Must "5.3.6" "A refusal echoes the request_id and leaves the connection in use."
        refusal;
    "MP-38a" Must "5.3.2"
        "A nominal_hash_rate of 0 is answered, as proxies without devices send it."
        |bench| hash_rate(bench, 0.0, true);
    "MP-38b" Should "5.3.2" "A nominal_hash_rate that is no number is answered."
        |bench| hash_rate(bench, f32::NAN, false);
    "MP-38c" Should "5.3.2" "An infinite nominal_hash_rate is answered."
        |bench| hash_rate(bench, f32::INFINITY, false);
    "MP-38d" Should "5.3.2" "A negative nominal_hash_rate is answered."
        |bench| hash_rate(bench, -1.0, false);
    "MP-38e" Should "5.3.2" "The largest nominal_hash_rate is answered."
        |bench| hash_rate(bench, f32::MAX, false);
    "OV-26b" Must "3.5" "OpenMiningChannel.Error has a code without control characters."
        |bench| code(bench, false);
    "OV-25b" Should "3.5" "OpenMiningChannel.Error has a code of printable ASCII."
        |bench| code(bench, true);
}

/// The number with that bit alone.
fn bit(exponent: usize) -> U256 {
    let mut bytes = [0; 32];
    bytes[exponent / 8] = 1 << (exponent % 8);
    U256(bytes)
}

fn request(bench: &Bench, min_extranonce_size: Option<u16>) -> Open<'_> {
    Open { min_extranonce_size, ..Open::standard_by(&bench.target.user_identity) }
}

async fn opens(bench: &Bench, min_extranonce_size: Option<u16>) -> Judged {
    let mut peer = ready(bench).await?;
    peer.open(&request(bench, min_extranonce_size)).await.map(drop)
}

async fn extended_is_served(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    match peer.try_open(&request(bench, Some(2))).await? {
        Ok(_) => Ok(()),
        Err(code) => Err(Stop::Breach(format!("refused: {}", code.escape_ascii()))),
    }
}

async fn answered(bench: &Bench, open: &Open<'_>) -> Judged<Result<Channel, Vec<u8>>> {
    let mut peer = ready(bench).await?;
    peer.try_open(open).await
}

async fn identity(bench: &Bench, user_identity: &'static [u8]) -> Judged {
    let open = Open { user_identity, ..request(bench, None) };
    answered(bench, &open).await.map(drop)
}

async fn answer_first(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    for request_id in [1, 2] {
        // Whatever the channel before still brings comes first.
        peer.hear_quietly().await?;
        peer.send(&Open { request_id, ..request(bench, None) }.standard()).await;
        peer.await_message("answer", |message| Some(is_answer(message)))
            .await
            .and_then(|is_answer| demand(is_answer, || "something else comes first".to_owned()))?;
    }
    Ok(())
}

fn is_answer(message: &MiningServerMessage<'_>) -> bool {
    matches!(
        message,
        MiningServerMessage::OpenStandardMiningChannelSuccess(_)
            | MiningServerMessage::OpenMiningChannelError(_)
    )
}

async fn echoed(bench: &Bench, request_id: u32, min_extranonce_size: Option<u16>) -> Judged {
    let mut peer = ready(bench).await?;
    let open = Open { request_id, ..request(bench, min_extranonce_size) };
    peer.open(&open).await.map(drop)
}

async fn several(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let ids = [3, 1, 2];
    let mut sealed = Vec::new();
    for request_id in ids {
        let open = Open { request_id, ..request(bench, None) };
        sealed.extend(peer.seal(&super::frame(&open.standard())));
    }
    peer.send_raw(&sealed, "all of them at once").await;
    let mut left = ids.to_vec();
    while !left.is_empty() {
        let answered = peer
            .await_message("answer to each request", |message| match message {
                MiningServerMessage::OpenStandardMiningChannelSuccess(open) => {
                    Some(open.request_id)
                }
                MiningServerMessage::OpenMiningChannelError(error) => Some(error.request_id),
                _ => None,
            })
            .await?;
        let at = left.iter().position(|id| *id == answered);
        let at = at.ok_or_else(|| Stop::Breach(format!("request_id {answered} is not open")))?;
        left.remove(at);
    }
    Ok(())
}

async fn within(bench: &Bench, max_target: U256, min_extranonce_size: Option<u16>) -> Judged {
    let open = Open { max_target, ..request(bench, min_extranonce_size) };
    match answered(bench, &open).await? {
        Ok(channel) => demand(channel.targets[0] <= max_target, || {
            format!("max_target is {max_target:?}, and target {:?}", channel.targets[0])
        }),
        Err(_) => Ok(()),
    }
}

async fn no_target(bench: &Bench, min_extranonce_size: Option<u16>) -> Judged {
    let open = Open { max_target: U256::default(), ..request(bench, min_extranonce_size) };
    match answered(bench, &open).await? {
        Ok(channel) => {
            Err(Stop::Breach(format!("a channel is opened with target {:?}", channel.targets[0])))
        }
        Err(_) => Ok(()),
    }
}

async fn granted(bench: &Bench, least: u16) -> Judged {
    match answered(bench, &request(bench, Some(least))).await? {
        Ok(channel) => {
            let size = channel
                .extranonce_size
                .ok_or_else(|| Stop::breach("an extended channel is answered as a standard one"))?;
            demand(size >= least, || format!("{size} bytes are granted of {least}"))?;
            let len = channel.full_extranonce_len();
            demand(len <= MAX_EXTRANONCE, || format!("the full extranonce has {len} bytes"))
        }
        Err(code) if least <= 1 => {
            Err(Stop::Inapplicable(format!("no extended channels here: {}", code.escape_ascii())))
        }
        Err(_) => Ok(()),
    }
}

async fn too_much(bench: &Bench, least: u16) -> Judged {
    match answered(bench, &request(bench, Some(least))).await? {
        Ok(channel) => {
            Err(Stop::Breach(format!("opened, with {:?} bytes", channel.extranonce_size)))
        }
        Err(_) => Ok(()),
    }
}

async fn refusal(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let impossible =
        Open { request_id: 0xfeed, max_target: U256::default(), ..request(bench, None) };
    match peer.try_open(&impossible).await? {
        Ok(_) => Err(Stop::inapplicable("the impossible request was not refused")),
        Err(_) => still_serves(bench, &mut peer).await,
    }
}

async fn hash_rate(bench: &Bench, nominal_hash_rate: f32, accepted: bool) -> Judged {
    let open = Open { nominal_hash_rate, ..request(bench, None) };
    match answered(bench, &open).await? {
        Err(code) if accepted => Err(Stop::Breach(format!("refused: {}", code.escape_ascii()))),
        _ => Ok(()),
    }
}

async fn code(bench: &Bench, printable: bool) -> Judged {
    let impossible = Open { max_target: U256::default(), ..request(bench, None) };
    match answered(bench, &impossible).await? {
        Ok(_) => Err(Stop::inapplicable("the impossible request was not refused")),
        Err(code) => clean(&code, printable),
    }
}
