//! What a channel is given to work on.

use bitcoin::{Transaction, consensus};
use sv2_wire::{MiningServerMessage, U256};
use tokio::time::Instant;

use super::channels::{half, update};
use super::ready;
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{HASH_RATE, Open, Work, extended_miner, standard_miner};
use crate::peer::{Event, Heard, Peer};
use crate::view::{Root, View};

/// How far a tip's `min_ntime` may be from the wall clock, in seconds: consensus refuses blocks of
/// two hours ahead, and the median of the past lags by about an hour, or by days on a test network.
const MAX_AHEAD_SECS: u64 = 7_200;
/// Most bytes of a coinbase's input script that consensus allows.
const MAX_SCRIPT_SIG: usize = 100;
/// More satoshis than there will ever be.
const MAX_MONEY: u64 = 21_000_000 * 100_000_000;

cases! { Jobs:
    "MP-61a" Must "5.3.15" "The first message for a standard channel is a future NewMiningJob."
        |bench| first_job(bench, false, 1);
    "MP-61b" Must "5.3.17" "It is followed by a SetNewPrevHash that names it."
        |bench| activated(bench, false);
    "MP-61c" Should "5.3.16"
        "The first message for an extended channel is a future NewExtendedMiningJob."
        |bench| first_job(bench, true, 1);
    "MP-61d" Should "5.3.17" "It too is followed by a SetNewPrevHash that names it."
        |bench| activated(bench, true);
    "MP-61e" Must "5.3.15" "A second channel of the connection gets a first job of its own."
        |bench| first_job(bench, false, 2);
    "MP-60a" Must "5.3.15" "NewMiningJob is sent to standard channels only."
        |bench| never(bench, "MP-60");
    "MP-63a" Must "5.3.15" "A job id that is valid on a channel is not given to another job."
        |bench| never(bench, "MP-63");
    "MP-68a" Must "5.3.17" "SetNewPrevHash names a job that was sent as a future job."
        |bench| never(bench, "MP-68");
    "MP-64a" Must "5.3.16" "Every job is for a channel or a group that is open."
        |bench| never(bench, "MP-64");
    "MP-23a" Must "5.3.22" "A client that requires standard jobs gets no NewExtendedMiningJob."
        standard_only;
    "MP-23b" Must "5.3.22" "A client that requires standard jobs gets no SetGroupChannel." no_group;
    "MP-23c" Must "5.3.22"
        "Nor does it get one when it asks for an extended channel." standard_only_extended;
    "MP-04a" Must "5.1" "Coinbase prefix, extranonce and suffix are one transaction."
        |bench| coinbase(bench, Part::Whole);
    "OV-40a" Must "3.7" "The coinbase of an extended job has no segwit marker, flag and witness."
        |bench| coinbase(bench, Part::Stripped);
    "MP-15b" Must "5.1" "The coinbase's input script has at most 100 bytes."
        |bench| coinbase(bench, Part::Script);
    "MP-04b" Must "5.1" "The coinbase spends nothing and is the only input of its kind."
        |bench| coinbase(bench, Part::Input);
    "MP-04c" Must "5.1" "The extranonce lies within the coinbase's input script."
        |bench| coinbase(bench, Part::Extranonce);
    "HY-01a" Should "hygiene" "The coinbase pays someone, and no more than there is."
        |bench| coinbase(bench, Part::Outputs);
    "HY-02a" Should "field" "The merkle path has at most 20 nodes, as deployed firmware expects."
        path;
    "HY-03a" Should "BIP 9" "The job's version has the top bits 001." version;
    "MP-67a" Must "5.3.17" "The prev-hash carries a compact target that stands for a target." nbits;
    "HY-04a" Should "hygiene" "The tip's min_ntime is not ahead of what consensus allows." min_ntime;
    "MP-67c" Should "5.3.17" "Channels of one connection work on one tip." one_tip;
    "HY-05a" Should "hygiene" "The channel's target is not 0." target;
    "DF-06a" Should "field" "Extended jobs allow version rolling, as the reference proxy needs."
        rolling;
}

async fn opened(bench: &Bench, extended: bool, channels: u32) -> Judged<Heard> {
    let mut peer = ready(bench).await?;
    let mut heard = Heard { frames: Vec::new(), closed: false };
    for request_id in 0..channels {
        let identity = &bench.target.user_identity;
        let open = match extended {
            true => Open::extended_by(identity),
            false => Open::standard_by(identity),
        };
        let channel = peer.open(&Open { request_id, ..open }).await?;
        heard = peer.hear_quietly().await?;
        // What is not for this channel, or its group, is not judged here.
        let ids = [channel.channel_id, channel.group_channel_id].map(u32::to_le_bytes);
        heard.frames.retain(|frame| ids.iter().any(|id| frame.payload.starts_with(id)));
    }
    demand(!heard.frames.is_empty(), || "the channel gets nothing".to_owned())?;
    Ok(heard)
}

async fn first_job(bench: &Bench, extended: bool, channels: u32) -> Judged {
    let heard = opened(bench, extended, channels).await?;
    let messages = heard.messages()?;
    let is_future = match (&messages[0], extended) {
        (MiningServerMessage::NewMiningJob(job), false) => job.min_ntime.is_none(),
        (MiningServerMessage::NewExtendedMiningJob(job), true) => job.min_ntime.is_none(),
        (other, _) => return Err(Stop::Breach(format!("{} comes first", other.name()))),
    };
    demand(is_future, || "the first job has a min_ntime".to_owned())
}

async fn activated(bench: &Bench, extended: bool) -> Judged {
    let heard = opened(bench, extended, 1).await?;
    let messages = heard.messages()?;
    let job_id = messages.iter().find_map(|message| match message {
        MiningServerMessage::NewMiningJob(job) => Some(job.job_id),
        MiningServerMessage::NewExtendedMiningJob(job) => Some(job.job_id),
        _ => None,
    });
    let named = messages.iter().find_map(|message| match message {
        MiningServerMessage::SetNewPrevHash(tip) => Some(tip.job_id),
        _ => None,
    });
    match (job_id, named) {
        (Some(job_id), Some(named)) => {
            demand(job_id == named, || format!("job {job_id} was sent, and {named} is named"))
        }
        (None, _) => Err(Stop::breach("no job comes")),
        (_, None) => Err(Stop::breach("no SetNewPrevHash comes")),
    }
}

/// Watches a standard and an extended channel until each has had a second job.
async fn never(bench: &Bench, rule: &'static str) -> Judged {
    let (mut peer, _) = standard_miner(bench, 0).await?;
    let identity = &bench.target.user_identity;
    peer.try_open(&Open { request_id: 2, ..Open::extended_by(identity) }).await?.ok();
    second_jobs(bench, &mut peer, rule).await?;
    match peer.view.breach(rule) {
        Some(how) => Err(Stop::breach(how)),
        None => Ok(()),
    }
}

/// Asks for harder targets, which may bring jobs, and waits until every channel of the connection
/// has had a second one, or the rule is broken.
///
/// # Errors
/// [`Stop::Inapplicable`] when the server has no other job in all that time.
pub(super) async fn second_jobs(bench: &Bench, peer: &mut Peer, rule: &str) -> Judged {
    peer.hear_quietly().await?;
    for channel in peer.view.channels.values().cloned().collect::<Vec<_>>() {
        let target = *channel.targets.last().expect("a channel opens with a target");
        peer.send(&update(channel.channel_id, HASH_RATE, half(target))).await;
    }
    let within = bench.waits().stall;
    let deadline = Instant::now() + within;
    let is_done = |view: &View| {
        view.breach(rule).is_some() || view.channels.values().all(|channel| channel.jobs_sent > 1)
    };
    while !is_done(&peer.view) {
        match peer.receive(deadline.saturating_duration_since(Instant::now())).await {
            Event::Frame(_) => {}
            Event::Quiet => {
                let waited = within.as_secs();
                let why = format!("no second job comes within {waited} s");
                return Err(Stop::Inapplicable(why));
            }
            other => return Err(Stop::Breach(format!("instead of a second job: {other:?}"))),
        }
    }
    Ok(())
}

async fn with_standard_jobs(
    bench: &Bench,
    is_forbidden: impl Fn(&MiningServerMessage<'_>) -> bool,
) -> Judged {
    let mut peer = bench.connect().await?;
    peer.set_up(0b001).await?;
    peer.send(&Open::standard_by(&bench.target.user_identity).standard()).await;
    let heard = peer.hear(bench.waits().answer / 2).await?;
    demand(!heard.frames.is_empty(), || "nothing is answered".to_owned())?;
    super::without(&heard, "the client requires standard jobs", is_forbidden)
}

async fn standard_only(bench: &Bench) -> Judged {
    with_standard_jobs(bench, |message| {
        matches!(message, MiningServerMessage::NewExtendedMiningJob(_))
    })
    .await
}

/// What the server makes of the contradiction is its own affair, but for the job.
async fn standard_only_extended(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    peer.set_up(0b001).await?;
    peer.send(&Open::extended_by(&bench.target.user_identity).extended(4)).await;
    let heard = peer.hear(bench.waits().answer).await?;
    demand(heard.closed || !heard.frames.is_empty(), || "nothing is answered".to_owned())?;
    super::without(&heard, "the client requires standard jobs", |message| {
        matches!(message, MiningServerMessage::NewExtendedMiningJob(_))
    })
}

async fn no_group(bench: &Bench) -> Judged {
    with_standard_jobs(bench, |message| matches!(message, MiningServerMessage::SetGroupChannel(_)))
        .await
}

#[derive(Clone, Copy)]
enum Part {
    Whole,
    Stripped,
    Script,
    Input,
    Extranonce,
    Outputs,
}

async fn coinbase(bench: &Bench, part: Part) -> Judged {
    let (_peer, work) = extended_miner(bench, 0).await?;
    let (prefix, suffix) = match &work.job.root {
        Root::Coinbase { prefix, suffix, .. } => (prefix, suffix),
        Root::Given(_) => return Err(Stop::breach("an extended channel got a NewMiningJob")),
    };
    let extranonce = [work.channel.extranonce_prefix.clone(), work.blank(0).extranonce].concat();
    let bytes = [prefix.as_slice(), &extranonce, suffix].concat();
    // Bytes 4 and 5 are the marker and the flag of a transaction with witness.
    if matches!(part, Part::Stripped) {
        return demand(bytes.get(4..6) != Some(&[0, 1]), || {
            "the coinbase has the segwit marker and flag".to_owned()
        });
    }
    let coinbase: Transaction = consensus::deserialize(&bytes)
        .map_err(|error| Stop::Breach(format!("the coinbase does not decode: {error}")))?;
    let first = coinbase.input.first().ok_or_else(|| Stop::breach("the coinbase has no input"))?;
    let script = first.script_sig.as_bytes();
    match part {
        Part::Whole | Part::Stripped => Ok(()),
        Part::Script => demand((2..=MAX_SCRIPT_SIG).contains(&script.len()), || {
            format!("the input script has {} bytes", script.len())
        }),
        Part::Input => demand(coinbase.is_coinbase(), || {
            format!("{} inputs, the first {:?}", coinbase.input.len(), first.previous_output)
        }),
        Part::Extranonce => {
            // Version, count of inputs, outpoint and the script's length of one byte.
            let start = 4 + 1 + 36 + 1;
            let is_inside =
                prefix.len() >= start && prefix.len() + extranonce.len() <= start + script.len();
            demand(is_inside, || "the extranonce is outside the input script".to_owned())
        }
        Part::Outputs => {
            let paid: u64 = coinbase.output.iter().map(|output| output.value.to_sat()).sum();
            demand((1..=MAX_MONEY).contains(&paid), || format!("the coinbase pays {paid} sat"))
        }
    }
}

async fn path(bench: &Bench) -> Judged {
    let (_peer, work) = extended_miner(bench, 0).await?;
    match &work.job.root {
        Root::Coinbase { path, .. } => {
            demand(path.len() <= 20, || format!("the path has {} nodes", path.len()))
        }
        Root::Given(_) => Err(Stop::breach("an extended channel got a NewMiningJob")),
    }
}

async fn work(bench: &Bench) -> Judged<Work> {
    standard_miner(bench, 0).await.map(|(_, work)| work)
}

async fn version(bench: &Bench) -> Judged {
    let version = work(bench).await?.job.version;
    demand(version >> 29 == 0b001, || format!("the version is 0x{version:08x}"))
}

async fn nbits(bench: &Bench) -> Judged {
    let nbits = work(bench).await?.tip.nbits;
    let target = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(nbits));
    demand(target != bitcoin::Target::ZERO, || format!("nbits is 0x{nbits:08x}"))
}

async fn min_ntime(bench: &Bench) -> Judged {
    let min_ntime = work(bench).await?.tip.min_ntime;
    let now = bench.unix_secs();
    demand(u64::from(min_ntime) <= now + MAX_AHEAD_SECS, || {
        format!("min_ntime is {min_ntime}, and now is {now}")
    })
}

async fn one_tip(bench: &Bench) -> Judged {
    let (mut peer, first) = standard_miner(bench, 0).await?;
    let open = Open { request_id: 2, ..Open::standard_by(&bench.target.user_identity) };
    let channel = peer.open(&open).await?;
    peer.hear_quietly().await?;
    let second = peer.active(channel.channel_id).await?;
    // The tip may have moved meanwhile, for both.
    let first = Work::of(&peer.view.channels[&first.channel.channel_id]).unwrap_or(first);
    demand(first.tip.prev_hash == second.tip.prev_hash, || {
        format!("{:?} and {:?}", first.tip.prev_hash, second.tip.prev_hash)
    })
}

async fn target(bench: &Bench) -> Judged {
    let target = work(bench).await?.channel.targets[0];
    demand(target != U256::default(), || "the target is 0".to_owned())
}

async fn rolling(bench: &Bench) -> Judged {
    let (_peer, work) = extended_miner(bench, 0).await?;
    match work.job.root {
        Root::Coinbase { version_rolling_allowed: true, .. } => Ok(()),
        _ => Err(Stop::breach("the job forbids version rolling")),
    }
}
