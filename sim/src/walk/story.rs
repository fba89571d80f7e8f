//! The walk, step by step.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::scene::Scene;
use super::sightings::{
    Answers, all, count_in, is_accepted, is_block_found, is_drained, is_tip, seq, switch_time,
};
use super::site;
use super::stage::Stage;
use super::summary::{BlockFound, Crash, Shares, Summary, Timings};
use super::{WalkError, evidence};
use crate::actors::miner::{self, MinerConfig, Pace};
use crate::actors::observe::{HostSeen, MinerSeen, PoolSeen, Seen};
use crate::node::Node;
use crate::scenario::{Behaviour, Profile};

/// How many miners there are.
pub(super) const MINERS: u32 = 4;
/// Each miner's mean time between shares.
const SHARE_INTERVAL: Duration = Duration::from_millis(50);
/// What a miner says of itself, in hashes a second.
const HASHRATE: f32 = 1e6;

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
pub(super) async fn walk(stage: Stage<'_>, keep: bool) -> Result<Summary, WalkError> {
    let begun = Instant::now();
    let mut story = Story::begin(stage);
    let ready = story.start().await?;
    let (block, block_after, switch) = story.find_block().await?;
    let crash = story.crash().await?;
    let restart = story.start_again().await?;
    story.settle(&crash).await?;
    let (drain, miners_drained) = story.drain().await?;
    let shares = story.account()?;
    let timings =
        Timings { ready, block: block_after, switch, restart, drain, total: begun.elapsed() };
    let node = story.scene.stage.node.version().to_owned();
    let folder = keep.then(|| story.scene.stage.site.folder().to_owned());
    Ok(Summary { node, block, crash, shares, miners_drained, timings, folder })
}

/// Starts the programs without miners and has the suite of the `conformance` program judge the
/// gateway. What it wrote.
pub(super) async fn judge(stage: Stage<'_>) -> Result<String, WalkError> {
    let mut scene = Scene::open(stage);
    scene.start_programs("").await?;
    let stage = &mut scene.stage;
    stage.say("the suite judges the gateway");
    let target = site::loopback(stage.site.ports.miners);
    let (authority, identity) =
        (stage.site.authority()?.to_string(), format!("{}suite", site::MINER_PREFIX));
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
        stage.programs.run("conformance", &arguments, stage.site.folder())
    });
    let told = running?;
    for program in ["gateway", "template-manager", "verifier"] {
        stage.running.end(program).await?;
    }
    Ok(told)
}

/// The walk as it goes on.
struct Story<'a> {
    scene: Scene<'a>,
    /// Whether miners send shares.
    working: watch::Sender<bool>,
    block_wanted: watch::Sender<u32>,
}

impl<'a> Story<'a> {
    fn begin(stage: Stage<'a>) -> Self {
        let (working, block_wanted) = (watch::Sender::new(false), watch::Sender::new(0));
        Self { scene: Scene::open(stage), working, block_wanted }
    }

    /// Everything, with the miners. The time until the gateway was ready.
    async fn start(&mut self) -> Result<Duration, WalkError> {
        let took = self.scene.start_programs("").await?;
        self.start_miners()?;
        Ok(took)
    }

    fn start_miners(&self) -> Result<(), WalkError> {
        let authority = self.scene.stage.site.authority()?;
        let idle = watch::Sender::new(0);
        for index in 0..MINERS {
            let finder = if index == 0 { &self.block_wanted } else { &idle };
            let config = MinerConfig {
                kind: crate::scenario::MinerKind::Standard,
                index,
                address: site::loopback(self.scene.stage.site.ports.miners),
                authority: Some(authority),
                identity: format!("{}{index}", site::MINER_PREFIX),
                hashrate: HASHRATE,
                pace: Pace::Every(SHARE_INTERVAL),
                behaviour: Behaviour::Honest,
                profile: Profile::Assay,
                working: self.working.subscribe(),
                blocks_wanted: finder.subscribe(),
            };
            let mine =
                miner::mine(self.scene.stage.env.clone(), config, self.scene.recorder.clone());
            drop(self.scene.stage.env.tasks.spawn("miner", mine));
        }
        Ok(())
    }

    /// Miner 0 finds a block: how long until the node had it, and until all miners were on it.
    async fn find_block(&mut self) -> Result<(BlockFound, Duration, Duration), WalkError> {
        let height_before = self.scene.stage.ask("getblockcount")?;
        let tip: String = self.scene.stage.ask("getbestblockhash")?;
        self.wait_for_tip(&tip).await?;
        self.scene.stage.say("a miner looks for a block");
        let asked = Instant::now();
        self.block_wanted.send_modify(|wanted| *wanted += 1);
        let node: &mut dyn Node = &mut self.scene.stage.node;
        let grown = async || match node.ask::<u32>("getblockcount", &json!([])) {
            Ok(height) if height > height_before => Ok(height),
            Ok(height) => Err(format!("it is {height}")),
            Err(error) => Err(error.to_string()),
        };
        let height_after =
            self.scene.stage.running.until("getblockcount to go up", "gateway", grown).await?;
        let found = asked.elapsed();
        if height_after != height_before + 1 {
            let what = format!("one block took the chain from {height_before} to {height_after}");
            return Err(WalkError::Violated(what));
        }
        let hash: String = self.scene.stage.ask("getbestblockhash")?;
        let stream = self.scene.stream.clone();
        let told = async || match stream.count(|seen| is_block_found(seen, &hash)) {
            0 => Err("there is none".to_owned()),
            _ => Ok(()),
        };
        self.scene.stage.running.until(&format!("block_found of {hash}"), "gateway", told).await?;
        self.wait_for_tip(&hash).await?;
        self.scene.stage.say(&format!("block {hash} at height {height_after}"));
        let switch = switch_time(&self.scene.recorder.observations(), &hash);
        Ok((BlockFound { hash, height_before, height_after }, found, switch))
    }

    async fn wait_for_tip(&mut self, tip: &str) -> Result<(), WalkError> {
        let recorder = self.scene.recorder.clone();
        let on_it = async || {
            let is_tip = |seen: &MinerSeen| is_tip(seen, tip);
            all(count_in(&recorder.observations(), is_tip), "miners are")
        };
        self.scene
            .stage
            .running
            .until(&format!("all miners to be on tip {tip}"), "gateway", on_it)
            .await
    }

    /// The gateway is killed while many shares wait for the pool's answer.
    async fn crash(&mut self) -> Result<Crash, WalkError> {
        self.scene.stage.say("shares flow, and the pool's answers are late");
        self.scene.hold.send_replace(true);
        self.working.send_replace(true);
        let (recorder, stream) = (self.scene.recorder.clone(), self.scene.stream.clone());
        let enough = async || {
            let waiting = evidence::unresolved(&stream.observations());
            let delivered =
                recorder.count(|seen| matches!(seen, Seen::Pool(PoolSeen::Share { .. })));
            if waiting >= IN_FLIGHT && delivered >= DELIVERED {
                return Ok(());
            }
            Err(format!("{waiting} wait, {delivered} are at the pool"))
        };
        self.scene.stage.running.until("shares in flight", "gateway", enough).await?;
        self.scene.stage.running.kill("gateway")?;
        self.scene.recorder.record(Seen::Host(HostSeen::Crashed { host: "gateway".to_owned() }));
        let closed = async || {
            let closed = |seen: &MinerSeen| matches!(seen, MinerSeen::Closed { .. });
            all(count_in(&recorder.observations(), closed), "miners have seen it")
        };
        self.scene
            .stage
            .running
            .until("miners to see their connections break", "gateway", closed)
            .await?;
        let crash = Crash {
            in_flight: self.scene.stage.recovered()?.unresolved.len(),
            unanswered: Answers::of(&self.scene.recorder).open(),
        };
        if crash.in_flight == 0 {
            let what = "every share had its result when the gateway was killed".to_owned();
            return Err(WalkError::Violated(what));
        }
        let Crash { in_flight, unanswered } = crash;
        self.scene
            .stage
            .say(&format!("kill -9 with {in_flight} in flight, {unanswered} unanswered"));
        Ok(crash)
    }

    /// The same gateway on the same log, with the pool answering again.
    async fn start_again(&mut self) -> Result<Duration, WalkError> {
        self.scene.hold.send_replace(false);
        let recorder = self.scene.recorder.clone();
        let before = recorder.observations().len();
        let took = self.scene.start_gateway().await?;
        let again = async || {
            let since = recorder.observations().split_off(before);
            let acked = |seen: &MinerSeen| matches!(seen, MinerSeen::Acked { .. });
            all(count_in(&since, acked), "miners have one")
        };
        self.scene
            .stage
            .running
            .until("an acknowledged share for every miner after the restart", "gateway", again)
            .await?;
        Ok(took)
    }

    /// Miners stop, and every share reaches its end.
    async fn settle(&mut self, crash: &Crash) -> Result<(), WalkError> {
        self.scene.stage.say("waiting for every share's result");
        self.working.send_replace(false);
        let (recorder, stream) = (self.scene.recorder.clone(), self.scene.stream.clone());
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
        self.scene.stage.running.until("every share's result", "gateway", settled).await?;
        self.scene.recorder.record(Seen::Settled);
        Ok(())
    }

    /// SIGTERM for everything, the gateway first. How long that took it, and how many miners it
    /// told.
    async fn drain(&mut self) -> Result<(Duration, usize), WalkError> {
        self.scene.stage.say("draining");
        let begun = Instant::now();
        let log = self.scene.stage.running.end("gateway").await?;
        let took = begun.elapsed();
        self.show("gateway", log);
        let recovered = self.scene.stage.recovered()?;
        let newest = recovered.next_seq - 1;
        if !recovered.unresolved.is_empty() {
            let what = format!("{} shares were left by the drain", recovered.unresolved.len());
            return Err(WalkError::Violated(what));
        }
        let stream = self.scene.stream.clone();
        let whole = async || {
            let last = stream.observations().iter().filter_map(|seen| seq(&seen.what)).max();
            if last == Some(newest) { Ok(()) } else { Err(format!("{last:?} of {newest}")) }
        };
        self.scene.stage.running.until("the end of the event stream", "verifier", whole).await?;
        let drained = stream.count(is_drained);
        if drained != MINERS as usize {
            let what = format!("{drained} of {MINERS} miners were closed with shutdown_drain");
            return Err(WalkError::Violated(what));
        }
        for program in ["template-manager", "verifier"] {
            let log = self.scene.stage.running.end(program).await?;
            self.show(program, log);
        }
        Ok((took, drained))
    }

    fn show(&self, program: &str, text: String) {
        self.scene.recorder.record(Seen::Output { source: format!("the log of {program}"), text });
    }

    fn account(&self) -> Result<Shares, WalkError> {
        let secrets = vec![self.scene.stage.site.share_secret.expose_secret().to_owned()];
        let setting = evidence::setting(MINERS, secrets);
        evidence::account(
            self.scene.recorder.observations(),
            &self.scene.stream.observations(),
            &setting,
        )
    }
}
