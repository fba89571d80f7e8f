//! `SetupConnection`: versions, protocols, flags, and what may come before it.

use sv2_wire::common::SetupConnection;
use sv2_wire::extensions::RequestExtensions;
use sv2_wire::{MiningServerMessage, Seq064K, Str0255};

use super::{frame, is_success, raw_frame, ready, without};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Answer, Open, Share, extended_miner, setup, text};
use crate::view::Root;

/// `SetupConnection` flags that the specification defines.
const DEFINED_CLIENT_FLAGS: u32 = 0b111;
/// `SetupConnection.Success` flags that the specification defines.
const DEFINED_SERVER_FLAGS: u32 = 0b11;

cases! { Overview:
    "OV-30a" Must "3.6.1" "The server sends nothing before SetupConnection." silent_before_setup;
    "OV-30b" Must "3.6.1" "An OpenStandardMiningChannel before SetupConnection opens no channel."
        |bench| wrong_first(bench, Wrong::Open, false);
    "OV-30c" Should "3.6.1"
        "An OpenStandardMiningChannel before SetupConnection ends the connection."
        |bench| wrong_first(bench, Wrong::Open, true);
    "OV-30d" Must "3.6.1" "A share before SetupConnection is not accepted."
        |bench| wrong_first(bench, Wrong::Share, false);
    "OV-30e" Should "3.6.1" "A share before SetupConnection ends the connection."
        |bench| wrong_first(bench, Wrong::Share, true);
    "OV-30f" Should "3.6.1" "RequestExtensions before SetupConnection ends the connection."
        |bench| wrong_first(bench, Wrong::Extensions, true);
    "OV-30g" Should "3.6.1" "A message of unknown type before SetupConnection ends the connection."
        |bench| wrong_first(bench, Wrong::UnknownType, true);
    "OV-30h" Should "3.6.1" "A second SetupConnection is not accepted." second_setup;
    "OV-30i" Must "3.6.2" "An ordinary SetupConnection is answered with Success." ordinary;
    "OV-31a" Must "3.6.2" "The version used lies within those offered."
        |bench| version_used(bench, 2, 2);
    "OV-31b" Must "3.6.2" "A client that also speaks later versions is given version 2."
        |bench| version_used(bench, 2, u16::MAX);
    "OV-31c" Must "3.6.2" "A client that also speaks earlier versions is given version 2."
        |bench| version_used(bench, 0, 2);
    "OV-31d" Must "3.1" "Texts of 255 bytes are accepted." |bench| accepted(bench, long_texts());
    "OV-31e" Should "3.1" "Texts of any bytes are accepted." |bench| accepted(bench, odd_texts());
    "DF-02a" Should "field" "An empty vendor is accepted, as deployed clients send it."
        |bench| accepted(bench, SetupConnection { vendor: text(""), ..setup(0) });
    "DF-02b" Must "3.6.1" "Empty hardware, firmware and device texts are accepted."
        |bench| accepted(bench, anonymous());
    "OV-30n" Must "3.6.1" "A SetupConnection for a protocol that nobody has is answered by an error."
        |bench| refused(bench, SetupConnection { protocol: 255, ..setup(0) });
    "OV-30o" Must "3.6.1" "A SetupConnection for job declaration is answered."
        |bench| answered(bench, 1);
    "OV-30p" Must "3.6.1" "A SetupConnection for template distribution is answered."
        |bench| answered(bench, 2);
    "OV-34a" Must "3.6.3" "A client that sets all flags learns which are not supported." all_flags;
    "OV-34b" Must "3.6.3"
        "Each refused flag alone is refused with the same full set of defined flags."
        |bench| full_set(bench, DEFINED_CLIENT_FLAGS);
    "OV-34g" Should "3.6.3" "Flags that are not defined belong to that set too, whoever asks."
        |bench| full_set(bench, u32::MAX);
    "OV-34c" Must "3.6.3" "The flags that were not refused are accepted." honest_set;
    "OV-34d" Must "3.6.3" "Every connection is told the same set." same_set;
    "OV-34e" Must "3.6.3" "A refusal for the version carries no flags."
        |bench| refused_without_flags(bench, later_versions());
    "OV-34f" Must "3.6.3" "A refusal for the protocol carries no flags."
        |bench| refused_without_flags(bench, SetupConnection { protocol: 255, ..setup(0) });
    "OV-35a" Must "3.6.3" "A client of later versions only is refused with SetupConnection.Error."
        |bench| refused(bench, SetupConnection { min_version: 3, max_version: 9, ..setup(0) });
    "OV-35b" Must "3.6.3" "A client of earlier versions only is refused with SetupConnection.Error."
        |bench| refused(bench, SetupConnection { min_version: 0, max_version: 1, ..setup(0) });
    "OV-35c" Should "3.6.3"
        "A range of versions that is upside down is refused with SetupConnection.Error."
        |bench| refused(bench, SetupConnection { min_version: 3, max_version: 2, ..setup(0) });
    "OV-26a" Must "3.5" "SetupConnection.Error has a code without control characters."
        |bench| clean_code(bench, false);
    "OV-25a" Should "3.5" "SetupConnection.Error has a code of printable ASCII."
        |bench| clean_code(bench, true);
    "MP-21a" Must "5.3.1"
        "A client that requires version rolling is not answered with REQUIRES_FIXED_VERSION."
        rolling_answer;
    "MP-21b" Must "5.3.1" "A client that requires version rolling gets jobs that allow it."
        rolling_jobs;
    "MP-22a" Should "5.3.1" "The server sets no flags that are not defined." server_flags;
    "MP-22b" Must "5.3.1" "After REQUIRES_FIXED_VERSION, jobs forbid version rolling."
        fixed_version;
}

async fn silent_before_setup(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let heard = peer.hear_quietly().await?;
    demand(heard.frames.is_empty(), || format!("unasked: {}", heard.frames[0].in_words()))
}

#[derive(Clone, Copy)]
enum Wrong {
    Open,
    Share,
    Extensions,
    UnknownType,
}

async fn wrong_first(bench: &Bench, wrong: Wrong, must_close: bool) -> Judged {
    let mut peer = bench.connect().await?;
    let sent = match wrong {
        Wrong::Open => frame(&Open::standard_by(&bench.target.user_identity).standard()),
        Wrong::Share => {
            let (nonce, ntime, version, extranonce) = (0, 0, 0x2000_0000, vec![]);
            let share = Share {
                channel_id: 1,
                sequence_number: 0,
                job_id: 1,
                nonce,
                ntime,
                version,
                extranonce,
            };
            frame(&share.standard())
        }
        Wrong::Extensions => {
            let requested_extensions = Seq064K::new(&[2]).expect("one item fits");
            frame(&RequestExtensions { request_id: 1, requested_extensions })
        }
        Wrong::UnknownType => raw_frame(0, false, 0x7f, &[0; 4]),
    };
    peer.send_frame(&sent).await;
    if must_close {
        return peer.await_close(bench.waits().answer, "a wrong first message").await;
    }
    let what = "a first message that is no SetupConnection is served";
    let heard = peer.hear(bench.waits().answer / 2).await?;
    without(&heard, what, is_success)?;
    if heard.closed {
        return Ok(());
    }
    // Nor may it be kept until the connection is set up.
    peer.send(&setup(0)).await;
    let heard = peer.hear(bench.waits().answer / 2).await?;
    without(&heard, what, |message| {
        let is_setup = matches!(message, MiningServerMessage::SetupConnectionSuccess(_));
        is_success(message) && !is_setup
    })
}

async fn second_setup(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    peer.send(&setup(0)).await;
    let heard = peer.hear(bench.waits().answer).await?;
    without(&heard, "the second SetupConnection is accepted", is_success)?;
    demand(heard.closed || !heard.frames.is_empty(), || {
        "the second SetupConnection is passed over in silence".to_owned()
    })
}

async fn ordinary(bench: &Bench) -> Judged {
    ready(bench).await.map(drop)
}

async fn version_used(bench: &Bench, min_version: u16, max_version: u16) -> Judged {
    let mut peer = bench.connect().await?;
    match peer.try_set_up(&SetupConnection { min_version, max_version, ..setup(0) }).await? {
        Answer::Success(success) => demand(success.used_version == 2, || {
            format!("of {min_version}..={max_version}, version {} is used", success.used_version)
        }),
        Answer::Error { code, .. } => {
            Err(Stop::Breach(format!("refused: {}", code.escape_ascii())))
        }
    }
}

fn long_texts() -> SetupConnection<'static> {
    const LONG: &[u8] = &[b'x'; 255];
    let long = Str0255::new(LONG).expect("255 bytes are the most");
    SetupConnection {
        endpoint_host: long,
        vendor: long,
        hardware_version: long,
        firmware: long,
        device_id: long,
        ..setup(0)
    }
}

fn odd_texts() -> SetupConnection<'static> {
    const ODD: &[u8] = &[0, 0xff, 0xc3, 0x28, b'\n', 0x1b];
    let odd = Str0255::new(ODD).expect("a few bytes fit");
    SetupConnection {
        vendor: odd,
        hardware_version: odd,
        firmware: odd,
        device_id: odd,
        ..setup(0)
    }
}

fn anonymous() -> SetupConnection<'static> {
    let empty = text("");
    SetupConnection { hardware_version: empty, firmware: empty, device_id: empty, ..setup(0) }
}

async fn accepted(bench: &Bench, setup: SetupConnection<'_>) -> Judged {
    let mut peer = bench.connect().await?;
    match peer.try_set_up(&setup).await? {
        Answer::Success(_) => Ok(()),
        Answer::Error { code, .. } => {
            Err(Stop::Breach(format!("refused: {}", code.escape_ascii())))
        }
    }
}

async fn refusal(bench: &Bench, setup: SetupConnection<'_>) -> Judged<(u32, Vec<u8>)> {
    let mut peer = bench.connect().await?;
    match peer.try_set_up(&setup).await? {
        Answer::Success(success) => {
            Err(Stop::Breach(format!("accepted, with version {}", success.used_version)))
        }
        Answer::Error { flags, code } => Ok((flags, code)),
    }
}

async fn refused(bench: &Bench, setup: SetupConnection<'_>) -> Judged {
    refusal(bench, setup).await.map(drop)
}

fn later_versions() -> SetupConnection<'static> {
    SetupConnection { min_version: 3, max_version: 3, ..setup(0) }
}

async fn refused_without_flags(bench: &Bench, setup: SetupConnection<'_>) -> Judged {
    let (flags, _) = refusal(bench, setup).await?;
    demand(flags == 0, || format!("the cause is not the flags, and flags is {flags:#b}"))
}

async fn answered(bench: &Bench, protocol: u8) -> Judged {
    let mut peer = bench.connect().await?;
    peer.try_set_up(&SetupConnection { protocol, ..setup(0) }).await.map(drop)
}

/// What a client is told that sets all flags; none when the server takes them all.
async fn refused_flags(bench: &Bench) -> Judged<u32> {
    let mut peer = bench.connect().await?;
    match peer.try_set_up(&setup(u32::MAX)).await? {
        Answer::Success(_) => Err(Stop::inapplicable("the server accepts all flags")),
        Answer::Error { flags, .. } => Ok(flags),
    }
}

async fn all_flags(bench: &Bench) -> Judged {
    let flags = refused_flags(bench).await?;
    demand(flags != 0, || {
        "flags were the only cause, and SetupConnection.Error has none".to_owned()
    })
}

/// Compares what is told of the flags in `mask`.
async fn full_set(bench: &Bench, mask: u32) -> Judged {
    let full = refused_flags(bench).await?;
    // The first and the last that are not defined stand for all of those.
    let asked = mask & (DEFINED_CLIENT_FLAGS | 1 << 3 | 1 << 31);
    if full & asked == 0 {
        return Err(Stop::inapplicable("no flag of these is refused"));
    }
    for bit in (0..u32::BITS).filter(|bit| full & asked & (1 << bit) != 0) {
        let (told, _) = refusal(bench, setup(1 << bit)).await?;
        demand(told & mask == full & mask, || {
            format!("flag {:#b} alone is refused with {told:#b} instead of {full:#b}", 1 << bit)
        })?;
    }
    Ok(())
}

async fn honest_set(bench: &Bench) -> Judged {
    let served = match refused_flags(bench).await {
        Ok(refused) => DEFINED_CLIENT_FLAGS & !refused,
        Err(Stop::Inapplicable(_)) => DEFINED_CLIENT_FLAGS,
        Err(stop) => return Err(stop),
    };
    accepted(bench, setup(served)).await
}

async fn same_set(bench: &Bench) -> Judged {
    let (first, second) = (refused_flags(bench).await?, refused_flags(bench).await?);
    demand(first == second, || format!("first {first:#b}, then {second:#b}"))
}

async fn clean_code(bench: &Bench, printable: bool) -> Judged {
    let (_, code) = refusal(bench, later_versions()).await?;
    clean(&code, printable)
}

/// Judges the characters of an error code.
pub(super) fn clean(code: &[u8], printable: bool) -> Judged {
    let is_clean = |byte: &u8| {
        if printable { matches!(byte, b' '..=b'~') } else { !byte.is_ascii_control() }
    };
    demand(!printable || !code.is_empty(), || "the error code is empty".to_owned())?;
    demand(code.iter().all(is_clean), || format!("the error code is {}", code.escape_ascii()))
}

async fn rolling_answer(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let success = peer.set_up(0b100).await?;
    demand(success.flags & 1 == 0, || "REQUIRES_FIXED_VERSION is set".to_owned())
}

async fn rolling_jobs(bench: &Bench) -> Judged {
    let (_peer, work) = extended_miner(bench, 0b100).await?;
    match work.job.root {
        Root::Coinbase { version_rolling_allowed: true, .. } => Ok(()),
        _ => Err(Stop::breach("the job forbids version rolling")),
    }
}

async fn server_flags(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let flags = peer.set_up(0).await?.flags;
    demand(flags & !DEFINED_SERVER_FLAGS == 0, || format!("flags is {flags:#b}"))
}

async fn fixed_version(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    if peer.set_up(0).await?.flags & 1 == 0 {
        return Err(Stop::inapplicable("the server does not set REQUIRES_FIXED_VERSION"));
    }
    let channel = peer.open(&Open::extended_by(&bench.target.user_identity)).await?;
    match peer.active(channel.channel_id).await?.job.root {
        Root::Coinbase { version_rolling_allowed: false, .. } => Ok(()),
        _ => Err(Stop::breach("the job allows version rolling")),
    }
}
