//! `sim mine`: the synthetic miners of the simulator on real sockets.

use std::time::Duration;

use anyhow::{Context, Result};
use platform::real;
use sv2_noise::AuthorityPublicKey;
use tokio::sync::watch;

use super::{FAILED, MineArgs, say};
use crate::actors::miner::{MinerConfig, Pace, mine};
use crate::actors::observe::{MinerSeen, Recorder, Seen, ShareClass};
use crate::scenario::{Behaviour, Profile};

/// How often what was seen is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Mines until enough was accepted, or the time is up.
pub(super) fn run(args: MineArgs) -> Result<u8> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(until_done(args))
}

async fn until_done(args: MineArgs) -> Result<u8> {
    let authority: Option<AuthorityPublicKey> =
        args.authority_key.as_deref().map(str::parse).transpose().context("--authority-key")?;
    let recorder = Recorder::new();
    let working = watch::Sender::new(args.blocks.is_none());
    let wanted = watch::Sender::new(0);
    let env = real::env();
    for index in 0..args.miners {
        let config = MinerConfig {
            kind: crate::scenario::MinerKind::Standard,
            index,
            address: args.gateway.clone(),
            authority,
            identity: format!("{}{index:02}", args.identity),
            hashrate: 1.0,
            pace: Pace::Every(Duration::from_millis(args.interval_ms)),
            behaviour: Behaviour::Honest,
            profile: Profile::Assay,
            working: working.subscribe(),
            blocks_wanted: wanted.subscribe(),
        };
        env.tasks.spawn("miner", mine(env.clone(), config, recorder.clone()));
    }
    let limit = Duration::from_secs(args.timeout_secs);
    let (mut shown, mut asked) = (0, 0);
    while recorder.elapsed() < limit {
        let observations = recorder.observations();
        for observation in &observations[shown..] {
            say(observation);
        }
        shown = observations.len();
        let tally = Tally::of(observations.iter().map(|observation| &observation.what));
        if args.shares.is_some_and(|shares| tally.shares >= shares)
            || args.blocks.is_some_and(|blocks| tally.blocks >= blocks)
        {
            say(format!("{} shares and {} blocks accepted", tally.shares, tally.blocks));
            return Ok(0);
        }
        // Ask for the next block once the last one is decided and its work is there.
        if args.blocks.is_some() && tally.switches > asked {
            asked = tally.switches;
            wanted.send_modify(|wanted| *wanted += 1);
        }
        tokio::time::sleep(LOOK).await;
    }
    eprintln!("not enough was accepted within {} s", args.timeout_secs);
    Ok(FAILED)
}

/// What was accepted so far.
#[derive(Default)]
struct Tally {
    shares: u64,
    blocks: u64,
    switches: u64,
}

impl Tally {
    fn of<'a>(seen: impl Iterator<Item = &'a Seen>) -> Self {
        let mut tally = Self::default();
        let mut blocks = std::collections::BTreeSet::new();
        for what in seen {
            let Seen::Miner { miner, what } = what else { continue };
            match what {
                MinerSeen::Sent { share, class: ShareClass::Block, .. } => {
                    blocks.insert((*miner, *share));
                }
                MinerSeen::Acked { share } => {
                    tally.shares += 1;
                    tally.blocks += u64::from(blocks.contains(&(*miner, *share)));
                }
                MinerSeen::PrevHash { .. } => tally.switches += 1,
                _ => {}
            }
        }
        tally
    }
}
