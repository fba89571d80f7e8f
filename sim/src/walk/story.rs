//! The walk, step by step.

use std::path::Path;
use std::time::Duration;

use gateway::log::recovery::{Recovered, recover};
use platform::Env;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::process::{Programs, Running};
use super::sightings::{
    Answers, all, count_in, is_accepted, is_block_found, is_drained, is_tip, seq, switch_time,
};
use super::site::{self, Site};
use super::summary::{BlockFound, Crash, Shares, Summary, Timings};
use super::{WalkError, evidence, relay};
use crate::actors::events;
use crate::actors::miner::{self, MinerConfig};
use crate::actors::observe::{HostSeen, MinerSeen, PoolSeen, Recorder, Seen};
use crate::actors::pool::{self, Ledger, PoolConfig};
use crate::node::{ChainScript, Node, RealNode};
use crate::scenario::{Behaviour, PoolMode};

/// How many miners there are.
pub(super) const MINERS: u32 = 4;
/// Each miner's mean time between shares.
const SHARE_INTERVAL: Duration = Duration::from_millis(50);
/// What a miner says of itself, in hashes a second.
const HASHRATE: f32 = 1e6;

/// The chain before the walk.
const BLOCKS: u32 = 101;
/// Transactions in the mempool.
const TRANSACTIONS: usize = 20;
/// The chain begins so long ago, so that no block of it is in the future: each is a second
/// younger than the one before.
const CHAIN_AGE_S: u64 = 3_600;

/// So many shares wait for their result when the gateway is killed, and so many of them are at
/// the pool, which has credited them.
const IN_FLIGHT: usize = 40;
const DELIVERED: usize = 10;

/// Cases of the suite that run side by side.
const SUITE_JOBS: &str = "24";
/// The suite waits so long for the gateway to end a connection that stalls: it gives one a minute
/// for its first channel.
const SUITE_STALL_MS: &str = "75000";

/// Does the walk.
pub(super) async fn walk(
    env: &Env,
    programs: &Programs,
    bitcoind: &Path,
    keep: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Summary, WalkError> {
    let begun = Instant::now();
    let mut story = Story::begin(env, programs, bitcoind, keep, progress).await?;
    let ready = story.start().await?;
    let (block, block_after, switch) = story.find_block().await?;
    let crash = story.crash().await?;
    let restart = story.start_again().await?;
    story.settle(&crash).await?;
    let (drain, miners_drained) = story.drain().await?;
    let shares = story.account()?;
    let timings =
        Timings { ready, block: block_after, switch, restart, drain, total: begun.elapsed() };
    let node = story.node.version().to_owned();
    let folder = keep.then(|| story.site.folder().to_owned());
    Ok(Summary { node, block, crash, shares, miners_drained, timings, folder })
}

/// Starts the programs without miners and has the suite of the `conformance` program judge the
/// gateway. What it wrote.
pub(super) async fn judge(
    env: &Env,
    programs: &Programs,
    bitcoind: &Path,
    keep: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<String, WalkError> {
    let mut story = Story::begin(env, programs, bitcoind, keep, progress).await?;
    story.start_programs().await?;
    (story.progress)("the suite judges the gateway");
    let target = site::loopback(story.site.ports.miners);
    let (authority, identity) =
        (story.site.authority()?.to_string(), format!("{}suite", site::MINER_PREFIX));
    let arguments = [
        "run",
        "--target",
        &target,
        "--authority-key",
        &authority,
        "--user-identity",
        &identity,
        "--jobs",
        SUITE_JOBS,
        "--stall-ms",
        SUITE_STALL_MS,
        "--junit",
        "conformance.xml",
    ];
    let running = tokio::task::block_in_place(|| {
        story.programs.run("conformance", &arguments, story.site.folder())
    });
    let told = running?;
    for program in ["gateway", "template-manager", "verifier"] {
        story.running.end(program).await?;
    }
    Ok(told)
}

/// What there is while the walk goes on. Fields are dropped from the top: programs end before
/// their node, and that before the folder.
struct Story<'a> {
    running: Running,
    programs: &'a Programs,
    node: RealNode,
    site: Site,
    env: Env,
    progress: &'a mut dyn FnMut(&str),
    /// What miners and pool see, and what programs wrote in the end.
    recorder: Recorder,
    /// The event stream of the gateway that runs, from event 1.
    stream: Recorder,
    /// Whether miners send shares.
    working: watch::Sender<bool>,
    block_wanted: watch::Sender<u32>,
    /// Whether the pool's answers are held back.
    hold: watch::Sender<bool>,
    _pool_mode: watch::Sender<PoolMode>,
}

impl<'a> Story<'a> {
    /// The node with its chain, the folder, and a pool that listens.
    async fn begin(
        env: &Env,
        programs: &'a Programs,
        bitcoind: &Path,
        keep: bool,
        progress: &'a mut dyn FnMut(&str),
    ) -> Result<Self, WalkError> {
        let mut secret = [0; 16];
        env.rng.fill(&mut secret);
        let site = Site::new(env, keep, SecretString::from(const_hex::encode(secret))).await?;
        let begins_s = env.wall.unix_ms() / 1000 - CHAIN_AGE_S;
        progress(&format!("starting {}", bitcoind.display()));
        let mut node = RealNode::start(bitcoind, begins_s)?;
        let mut chain = ChainScript::new(1, begins_s);
        chain.premine(&mut node, BLOCKS, TRANSACTIONS)?;
        // From here on the node goes by the machine's clock, as the programs do.
        node.call("setmocktime", &json!([0]))?;
        chain.fill_mempool(&mut node, TRANSACTIONS)?;
        let (hold, held) = watch::channel(false);
        let (pool_mode, mode) = watch::channel(PoolMode::Ok);
        let story = Self {
            running: Running::default(),
            programs,
            node,
            site,
            env: env.clone(),
            progress,
            recorder: Recorder::new(),
            stream: Recorder::new(),
            working: watch::Sender::new(false),
            block_wanted: watch::Sender::new(0),
            hold,
            _pool_mode: pool_mode,
        };
        story.open_pool(mode, held);
        Ok(story)
    }

    fn open_pool(&self, mode: watch::Receiver<PoolMode>, held: watch::Receiver<bool>) {
        let listen = site::loopback(self.site.ports.pool);
        let config =
            PoolConfig { listen: listen.clone(), secret: self.site.share_secret.clone(), mode };
        let pool = pool::serve(self.env.clone(), config, Ledger::default(), self.recorder.clone());
        let relay_port = site::loopback(self.site.ports.relay);
        let relay = relay::serve(self.env.clone(), relay_port, listen, held);
        drop(self.env.tasks.spawn("pool", async move {
            tokio::select! {
                biased;
                ended = pool => tracing::error!(?ended, "the pool does not listen"),
                ended = relay => tracing::error!(?ended, "the relay does not listen"),
            }
        }));
    }

    /// Everything, with the miners. The time until the gateway was ready.
    async fn start(&mut self) -> Result<Duration, WalkError> {
        let took = self.start_programs().await?;
        self.start_miners()?;
        Ok(took)
    }

    /// Keys, configuration and the three programs. The time until the gateway was ready.
    async fn start_programs(&mut self) -> Result<Duration, WalkError> {
        let height = self.height()?;
        let (node, url) = (self.node.version().to_owned(), self.node.rpc_url());
        (self.progress)(&format!("{node} at {url}, height {height}"));
        let miners_at = site::loopback(self.site.ports.miners);
        let arguments = ["gen-keys", "--out", "keys", "--address", &miners_at];
        self.programs.run("gateway", &arguments, self.site.folder())?;
        self.site.configure(&self.node, "")?;
        let ports = &self.site.ports;
        let (judge, source) = (ports.verifier_http, ports.templates_http);
        for (program, port) in [("verifier", judge), ("template-manager", source)] {
            (self.progress)(&format!("starting {program}"));
            self.launch(program)?;
            self.running.until_ready(&self.env, program, port).await?;
        }
        self.start_gateway().await
    }

    fn launch(&mut self, program: &'static str) -> Result<(), WalkError> {
        let config = format!("{program}.toml");
        let arguments = ["--config", &config];
        self.running.add(self.programs.start(program, &arguments, self.site.folder())?);
        Ok(())
    }

    /// The time until it was ready. Its event stream is read anew from the first event.
    async fn start_gateway(&mut self) -> Result<Duration, WalkError> {
        (self.progress)("starting gateway");
        let begun = Instant::now();
        self.launch("gateway")?;
        let http = self.site.ports.gateway_http;
        self.running.until_ready(&self.env, "gateway", http).await?;
        let took = begun.elapsed();
        self.stream = Recorder::new();
        let base = format!("http://{}", site::loopback(http));
        let follow = events::follow(self.env.clone(), base, None, self.stream.clone());
        drop(self.env.tasks.spawn("event_reader", follow));
        Ok(took)
    }

    fn start_miners(&self) -> Result<(), WalkError> {
        let authority = self.site.authority()?;
        let idle = watch::Sender::new(0);
        for index in 0..MINERS {
            let finder = if index == 0 { &self.block_wanted } else { &idle };
            let config = MinerConfig {
                kind: crate::scenario::MinerKind::Standard,
                index,
                address: site::loopback(self.site.ports.miners),
                authority: Some(authority),
                identity: format!("{}{index}", site::MINER_PREFIX),
                hashrate: HASHRATE,
                share_interval: SHARE_INTERVAL,
                behaviour: Behaviour::Honest,
                working: self.working.subscribe(),
                blocks_wanted: finder.subscribe(),
            };
            let mine = miner::mine(self.env.clone(), config, self.recorder.clone());
            drop(self.env.tasks.spawn("miner", mine));
        }
        Ok(())
    }

    /// Miner 0 finds a block: how long until the node had it, and until all miners were on it.
    async fn find_block(&mut self) -> Result<(BlockFound, Duration, Duration), WalkError> {
        let height_before = self.height()?;
        let tip: String = self.ask("getbestblockhash")?;
        self.wait_for_tip(&tip).await?;
        (self.progress)("a miner looks for a block");
        let asked = Instant::now();
        self.block_wanted.send_modify(|wanted| *wanted += 1);
        let node: &mut dyn Node = &mut self.node;
        let grown = async || match node.ask::<u32>("getblockcount", &json!([])) {
            Ok(height) if height > height_before => Ok(height),
            Ok(height) => Err(format!("it is {height}")),
            Err(error) => Err(error.to_string()),
        };
        let height_after = self.running.until("getblockcount to go up", "gateway", grown).await?;
        let found = asked.elapsed();
        if height_after != height_before + 1 {
            let what = format!("one block took the chain from {height_before} to {height_after}");
            return Err(WalkError::Violated(what));
        }
        let hash: String = self.ask("getbestblockhash")?;
        let stream = self.stream.clone();
        let told = async || match stream.count(|seen| is_block_found(seen, &hash)) {
            0 => Err("there is none".to_owned()),
            _ => Ok(()),
        };
        self.running.until(&format!("block_found of {hash}"), "gateway", told).await?;
        self.wait_for_tip(&hash).await?;
        (self.progress)(&format!("block {hash} at height {height_after}"));
        let switch = switch_time(&self.recorder.observations(), &hash);
        Ok((BlockFound { hash, height_before, height_after }, found, switch))
    }

    async fn wait_for_tip(&mut self, tip: &str) -> Result<(), WalkError> {
        let recorder = self.recorder.clone();
        let on_it = async || {
            let is_tip = |seen: &MinerSeen| is_tip(seen, tip);
            all(count_in(&recorder.observations(), is_tip), "miners are")
        };
        self.running.until(&format!("all miners to be on tip {tip}"), "gateway", on_it).await
    }

    /// The gateway is killed while many shares wait for the pool's answer.
    async fn crash(&mut self) -> Result<Crash, WalkError> {
        (self.progress)("shares flow, and the pool's answers are late");
        self.hold.send_replace(true);
        self.working.send_replace(true);
        let (recorder, stream) = (self.recorder.clone(), self.stream.clone());
        let enough = async || {
            let waiting = evidence::unresolved(&stream.observations());
            let delivered =
                recorder.count(|seen| matches!(seen, Seen::Pool(PoolSeen::Share { .. })));
            if waiting >= IN_FLIGHT && delivered >= DELIVERED {
                return Ok(());
            }
            Err(format!("{waiting} wait, {delivered} are at the pool"))
        };
        self.running.until("shares in flight", "gateway", enough).await?;
        self.running.kill("gateway")?;
        self.recorder.record(Seen::Host(HostSeen::Crashed { host: "gateway".to_owned() }));
        let closed = async || {
            let closed = |seen: &MinerSeen| matches!(seen, MinerSeen::Closed { .. });
            all(count_in(&recorder.observations(), closed), "miners have seen it")
        };
        self.running.until("miners to see their connections break", "gateway", closed).await?;
        let crash = Crash {
            in_flight: self.recovered()?.unresolved.len(),
            unanswered: Answers::of(&self.recorder).open(),
        };
        if crash.in_flight == 0 {
            let what = "every share had its result when the gateway was killed".to_owned();
            return Err(WalkError::Violated(what));
        }
        let Crash { in_flight, unanswered } = crash;
        (self.progress)(&format!("kill -9 with {in_flight} in flight, {unanswered} unanswered"));
        Ok(crash)
    }

    /// The same gateway on the same log, with the pool answering again.
    async fn start_again(&mut self) -> Result<Duration, WalkError> {
        self.hold.send_replace(false);
        let recorder = self.recorder.clone();
        let before = recorder.observations().len();
        let took = self.start_gateway().await?;
        let again = async || {
            let since = recorder.observations().split_off(before);
            let acked = |seen: &MinerSeen| matches!(seen, MinerSeen::Acked { .. });
            all(count_in(&since, acked), "miners have one")
        };
        self.running
            .until("an acknowledged share for every miner after the restart", "gateway", again)
            .await?;
        Ok(took)
    }

    /// Miners stop, and every share reaches its end.
    async fn settle(&mut self, crash: &Crash) -> Result<(), WalkError> {
        (self.progress)("waiting for every share's result");
        self.working.send_replace(false);
        let (recorder, stream) = (self.recorder.clone(), self.stream.clone());
        let settled = async || {
            let answers = Answers::of(&recorder);
            let events = stream.observations();
            let told = events.iter().filter(|seen| is_accepted(&seen.what)).count();
            let unresolved = evidence::unresolved(&events);
            let open = answers.open() - crash.unanswered;
            if open == 0 && unresolved == 0 && told >= answers.acked {
                return Ok(());
            }
            Err(format!("{open} have no answer, {unresolved} of {told} accepted no result"))
        };
        self.running.until("every share's result", "gateway", settled).await?;
        self.recorder.record(Seen::Settled);
        Ok(())
    }

    /// SIGTERM for everything, the gateway first. How long that took it, and how many miners it
    /// told.
    async fn drain(&mut self) -> Result<(Duration, usize), WalkError> {
        (self.progress)("draining");
        let begun = Instant::now();
        let log = self.running.end("gateway").await?;
        let took = begun.elapsed();
        self.show("gateway", log);
        let recovered = self.recovered()?;
        let newest = recovered.next_seq - 1;
        if !recovered.unresolved.is_empty() {
            let what = format!("{} shares were left by the drain", recovered.unresolved.len());
            return Err(WalkError::Violated(what));
        }
        let stream = self.stream.clone();
        let whole = async || {
            let last = stream.observations().iter().filter_map(|seen| seq(&seen.what)).max();
            if last == Some(newest) { Ok(()) } else { Err(format!("{last:?} of {newest}")) }
        };
        self.running.until("the end of the event stream", "verifier", whole).await?;
        let drained = stream.count(is_drained);
        if drained != MINERS as usize {
            let what = format!("{drained} of {MINERS} miners were closed with shutdown_drain");
            return Err(WalkError::Violated(what));
        }
        for program in ["template-manager", "verifier"] {
            let log = self.running.end(program).await?;
            self.show(program, log);
        }
        Ok((took, drained))
    }

    fn show(&self, program: &str, text: String) {
        self.recorder.record(Seen::Output { source: format!("the log of {program}"), text });
    }

    fn account(&self) -> Result<Shares, WalkError> {
        let secrets = vec![self.site.share_secret.expose_secret().to_owned()];
        let setting = evidence::setting(MINERS, secrets);
        evidence::account(self.recorder.observations(), &self.stream.observations(), &setting)
    }

    fn recovered(&self) -> Result<Recovered, WalkError> {
        recover(self.env.storage.as_ref(), &self.site.log_directory(), 0)
            .map_err(|error| WalkError::Violated(error.to_string()))
    }

    fn height(&mut self) -> Result<u32, WalkError> {
        self.ask("getblockcount")
    }

    fn ask<T: serde::de::DeserializeOwned>(&mut self, method: &str) -> Result<T, WalkError> {
        let node: &mut dyn Node = &mut self.node;
        Ok(node.ask(method, &json!([]))?)
    }
}
