//! Stratum V1 miners behind `translator_sv2`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::accounts;
use super::sv1::{self, Journal, Sv1Config, Sv1Seen};
use super::table::{Row, Table};
use crate::node::Node;
use crate::walk::process::Programs;
use crate::walk::scene::Scene;
use crate::walk::{WalkError, site};

const PROGRAM: &str = "translator_sv2";
/// Stratum V1 miners.
const MINERS: usize = 2;
/// The time between two shares of one.
const SHARE_INTERVAL: Duration = Duration::from_millis(100);
/// Shares that each must have accepted before anything else is tried.
const SHARES: usize = 20;
/// Each upstream is tried once in the life of the proxy, so it is told the same one several times.
const UPSTREAMS: usize = 8;

/// A difficulty that every hash meets.
const EASIEST: &str = "2e-10";

/// How proxy and gateway are set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// All miners share one channel.
    aggregated: bool,
    /// `gateway.job_addressing = "group"`.
    group_addressing: bool,
}

/// Every way.
pub(super) const SETUPS: [Setup; 4] = [
    Setup { aggregated: false, group_addressing: false },
    Setup { aggregated: false, group_addressing: true },
    Setup { aggregated: true, group_addressing: false },
    Setup { aggregated: true, group_addressing: true },
];

impl Setup {
    fn name(self) -> String {
        let channels = if self.aggregated { "one channel" } else { "a channel each" };
        let jobs = if self.group_addressing { "jobs by group" } else { "jobs by channel" };
        format!("SV1 -> translator_sv2 ({channels}, {jobs})")
    }

    /// What the gateway is told besides: here every hash is a share, for the proxy begins with a
    /// difficulty of its own, and of those below regtest's it can only begin with the easiest.
    pub(super) fn gateway(self) -> String {
        let addressing = if self.group_addressing { "group" } else { "channel" };
        format!(
            "[gateway]\njob_addressing = \"{addressing}\"\n\
             [share]\ninitial_difficulty = {EASIEST}\n\
             [vardiff]\nmin_difficulty = {EASIEST}\nmax_difficulty = {EASIEST}\n"
        )
    }
}

/// Tries everything; the first thing that fails ends it.
pub(super) async fn tried(scene: Scene<'_>, theirs: &Programs, setup: Setup, table: &mut Table) {
    let mut trial = Trial {
        scene,
        setup,
        journal: Journal::default(),
        working: watch::Sender::new(true),
        blocks_wanted: watch::Sender::new(0),
    };
    trial.scene.stage.say(&setup.name());
    let mut add = |check, outcome: Result<String, WalkError>| {
        let outcome = outcome.map_err(|error| error.to_string());
        let holds = outcome.is_ok();
        table.rows.push(Row { trial: setup.name(), check, outcome });
        holds
    };
    let _ = add("shares", trial.shares(theirs).await)
        && add("channels", trial.channels())
        && add("new tip", trial.new_tip().await)
        && add("jobs", trial.jobs())
        && add("block", trial.block().await)
        && add("exactly once", trial.exactly_once().await)
        && add("gateway restarts", trial.restart().await);
}

struct Trial<'a> {
    scene: Scene<'a>,
    setup: Setup,
    journal: Journal,
    working: watch::Sender<bool>,
    blocks_wanted: watch::Sender<u32>,
}

impl Trial<'_> {
    /// The proxy and the miners begin, and every miner's shares come through.
    async fn shares(&mut self, theirs: &Programs) -> Result<String, WalkError> {
        let authority = self.scene.stage.site.authority()?.to_string();
        let ports = &self.scene.stage.site.ports;
        let (upstream, downstream) = (ports.miners, ports.proxy);
        let config = config(self.setup, downstream, upstream, &authority);
        self.scene.stage.site.write("translator.toml", &config)?;
        let arguments = ["--config", "translator.toml"];
        let process = theirs.start(PROGRAM, &arguments, self.scene.stage.site.folder())?;
        self.scene.stage.running.add(process);
        let idle = watch::Sender::new(0);
        for index in 0..MINERS {
            let finder = if index == 0 { &self.blocks_wanted } else { &idle };
            let config = Sv1Config {
                index,
                address: site::loopback(downstream),
                user: format!("farm.rig{index}"),
                share_interval: SHARE_INTERVAL,
                working: self.working.subscribe(),
                blocks_wanted: finder.subscribe(),
            };
            let mine = sv1::mine(self.scene.stage.env.clone(), config, self.journal.clone());
            drop(self.scene.stage.env.tasks.spawn("sv1_miner", mine));
        }
        self.until_shares_come("shares of every miner", 0).await?;
        let accepted = accounts::accepted(&self.scene.stream.observations());
        Ok(format!("{} of {MINERS} miners are accepted", accepted.len()))
    }

    /// Waits until the gateway has accepted so many shares of each miner among those that the
    /// miners' entries from `since` on tell of.
    async fn until_shares_come(&mut self, what: &str, since: usize) -> Result<(), WalkError> {
        let (journal, stream) = (self.journal.clone(), self.scene.stream.clone());
        let enough = async || {
            let accepted = accounts::accepted(&stream.observations());
            let entries = journal.entries().split_off(since);
            let mut counts = [0; MINERS];
            for (miner, what) in &entries {
                if let Sv1Seen::Accepted { share_id } = what {
                    counts[*miner] += usize::from(accepted.contains(share_id));
                }
            }
            if counts.iter().all(|count| *count >= SHARES) {
                return Ok(());
            }
            let last = entries
                .iter()
                .rev()
                .find(|(_, what)| matches!(what, Sv1Seen::Closed { .. } | Sv1Seen::Refused { .. }));
            Err(format!("{counts:?} came through; {last:?}"))
        };
        self.scene.stage.running.until(what, PROGRAM, enough).await
    }

    /// Whose channel they are on or not, shares are credited to the miner (extension 0x0002).
    fn channels(&self) -> Result<String, WalkError> {
        let events = self.scene.stream.observations();
        let channels = accounts::channels(&events).len();
        let wanted = if self.setup.aggregated { 1 } else { MINERS };
        let workers = accounts::workers(&events);
        let told = format!("{channels} channels, credited to {workers:?}");
        demand(channels == wanted && workers.len() == MINERS, told)
    }

    /// By its own log, the proxy took jobs for what the gateway was told to address.
    fn jobs(&self) -> Result<String, WalkError> {
        let log = self.scene.stage.running.log_of(PROGRAM);
        let jobs = ids_of(&log, "NewExtendedMiningJob", "channel_id");
        let channels = accounts::channels(&self.scene.stream.observations());
        let for_others: BTreeSet<_> = jobs.difference(&channels).collect();
        let told = format!("jobs for {jobs:?}, channels {channels:?}");
        // A lone channel is addressed by its own number whatever is wanted.
        let by_group = self.setup.group_addressing && !self.setup.aggregated;
        demand(for_others.is_empty() != by_group, told)
    }

    /// The node mines a block, and every miner has work on it.
    async fn new_tip(&mut self) -> Result<String, WalkError> {
        let node: &mut dyn Node = &mut self.scene.stage.node;
        let hash =
            self.scene.stage.chain.mine(node, 1)?.pop().expect("one was asked for").to_string();
        self.until_all_are_on(&hash).await?;
        Ok(format!("{hash} is worked on by all"))
    }

    async fn until_all_are_on(&mut self, tip: &str) -> Result<(), WalkError> {
        let journal = self.journal.clone();
        let on_it = async || {
            let mut on = BTreeSet::new();
            for (miner, what) in journal.entries() {
                if matches!(&what, Sv1Seen::Work { prev_hash } if prev_hash == tip) {
                    on.insert(miner);
                }
            }
            if on.len() == MINERS { Ok(()) } else { Err(format!("miners {on:?} are")) }
        };
        self.scene
            .stage
            .running
            .until(&format!("all miners to work on {tip}"), PROGRAM, on_it)
            .await
    }

    /// A miner finds a block, and the node has it.
    async fn block(&mut self) -> Result<String, WalkError> {
        self.blocks_wanted.send_modify(|wanted| *wanted += 1);
        let (journal, stream) = (self.journal.clone(), self.scene.stream.clone());
        let found = async || {
            let hash = journal.entries().into_iter().find_map(|(_, what)| match what {
                Sv1Seen::Sent { hash, is_block: true, .. } => Some(hash),
                _ => None,
            });
            match hash {
                Some(hash) if accounts::blocks(&stream.observations()).contains(&hash) => Ok(hash),
                Some(hash) => Err(format!("no block_found with {hash}")),
                None => Err("the miner has none yet".to_owned()),
            }
        };
        let hash = self.scene.stage.running.until("a miner's block", "gateway", found).await?;
        let node: &mut dyn Node = &mut self.scene.stage.node;
        let block: serde_json::Value = node.ask("getblockheader", &json!([hash]))?;
        self.until_all_are_on(&hash).await?;
        demand(
            block["confirmations"] == 1,
            format!("{hash} is block {} of the node", block["height"]),
        )
    }

    /// Miners stop; what was accepted of theirs has its one result, and nothing else has.
    async fn exactly_once(&mut self) -> Result<String, WalkError> {
        self.working.send_replace(false);
        let (journal, stream) = (self.journal.clone(), self.scene.stream.clone());
        let through = async || {
            let accepted = accounts::accepted(&stream.observations());
            let (taken, open) = taken_and_open(&journal);
            let late = taken.difference(&accepted).count();
            if late == 0 && open == 0 {
                return Ok(());
            }
            Err(format!("{open} have no answer, {late} are not at the gateway"))
        };
        self.scene.stage.running.until("every share of the miners", "gateway", through).await?;
        let shares = accounts::settled(&mut self.scene).await?;
        let events = self.scene.stream.observations();
        let (taken, _) = taken_and_open(&self.journal);
        let refusals = accounts::refusals(&events);
        let told = format!(
            "{} V1 shares, {} accepted, {} forwarded, {} credited once; refused {refusals:?}",
            taken.len(),
            shares.accepted,
            shares.forwarded,
            shares.credited
        );
        let only_stale = refusals.keys().all(|code| code == "stale_job_submission");
        demand(taken == accounts::accepted(&events) && only_stale, told)
    }

    /// SIGKILL for the gateway; it begins again on its log, and the miners' shares come again.
    async fn restart(&mut self) -> Result<String, WalkError> {
        self.working.send_replace(true);
        let before = self.journal.entries().len();
        self.scene.stage.running.kill("gateway")?;
        self.scene.start_gateway().await?;
        self.until_shares_come("shares of every miner after the restart", before).await?;
        self.working.send_replace(false);
        let shares = accounts::settled(&mut self.scene).await?;
        Ok(format!(
            "{} accepted in all, {} forwarded, {} credited once",
            shares.accepted, shares.forwarded, shares.credited
        ))
    }
}

/// Shares that the proxy took, and how many have no answer.
fn taken_and_open(journal: &Journal) -> (BTreeSet<String>, usize) {
    let (mut taken, mut open) = (BTreeSet::new(), BTreeMap::new());
    for (miner, what) in journal.entries() {
        match what {
            Sv1Seen::Sent { share_id, .. } => drop(open.insert(share_id, miner)),
            Sv1Seen::Refused { share_id, .. } => drop(open.remove(&share_id)),
            Sv1Seen::Accepted { share_id } => {
                open.remove(&share_id);
                taken.insert(share_id);
            }
            // What was on its way when a connection ended has no answer to wait for.
            Sv1Seen::Closed { .. } => open.retain(|_, of| *of != miner),
            Sv1Seen::Subscribed | Sv1Seen::Work { .. } => {}
        }
    }
    (taken, open.len())
}

fn demand(holds: bool, told: String) -> Result<String, WalkError> {
    if holds { Ok(told) } else { Err(WalkError::Violated(told)) }
}

/// The numbers that a log has behind `field` on the lines about `message`.
fn ids_of(log: &str, message: &str, field: &str) -> BTreeSet<u64> {
    let lines = log.lines().filter(|line| line.contains("Received") && line.contains(message));
    let numbers = lines.filter_map(|line| {
        let (_, rest) = line.split_once(field)?;
        let digits = rest.trim_start_matches([':', '=', ' ']);
        let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    });
    numbers.collect()
}

/// The proxy leaves difficulty to the gateway, and begins with less than a hash a share, which is the
/// easiest. It tells its miners a difficulty with the job after, so it is to send jobs often.
/// It asks for the extensions that it requires only.
fn config(setup: Setup, downstream: u16, upstream: u16, authority: &str) -> String {
    let Setup { aggregated, .. } = setup;
    let mut text = format!(
        r#"downstream_address = "127.0.0.1"
downstream_port = {downstream}
max_supported_version = 2
min_supported_version = 2
downstream_extranonce2_size = 4
aggregate_channels = {aggregated}
supported_extensions = [2]
required_extensions = [2]

[downstream_difficulty_config]
min_individual_miner_hashrate = 1.0
shares_per_minute = 600.0
enable_vardiff = false
job_keepalive_interval_secs = 1
"#
    );
    for _ in 0..UPSTREAMS {
        text.push_str(&format!(
            r#"
[[upstreams]]
address = "127.0.0.1"
port = {upstream}
authority_pubkey = "{authority}"
user_identity = "{}v1"
"#,
            site::MINER_PREFIX
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_lines_of_the_message_only() {
        let log = "INFO Received: NewExtendedMiningJob(channel_id: 3, job_id: 9)\n\
                   INFO Received: SetNewPrevHash(channel_id: 4)\n\
                   INFO Received: NewExtendedMiningJob { channel_id=12 }\n";
        assert_eq!(ids_of(log, "NewExtendedMiningJob", "channel_id"), BTreeSet::from([3, 12]));
    }
}
