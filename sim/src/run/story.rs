//! One world's life from the first block to the last drain.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use platform::Env;
use platform::http_client::HttpClient;
use tokio::sync::watch;

use super::RunError;
use super::faults::{self, node_fault, world_link};
use super::guest::Guest;
use super::logs::Logs;
use super::programs::{DAEMONS, Parts, Programs, node_delay};
use super::settings::{Settings, longest_transit};
use super::watched_node::WatchedNode;
use crate::actors::events;
use crate::actors::miner::hostile::{self, HostileConfig};
use crate::actors::miner::{self, MinerConfig, Pace};
use crate::actors::observe::{Observation, Recorder, Seen};
use crate::actors::verdict_link::Behaviour;
use crate::net;
use crate::node::host::{Fault, HostOptions};
use crate::node::{ChainScript, Node, ScriptError, SharedNode};
use crate::report::progress::Clock;
use crate::scenario::{
    Action, Hostility, Latency, Link, LinkQuality, NodeMode, Plan, PoolMode, SECOND_VERIFIER,
    Scenario,
};
use crate::world::{Crash, EPOCH_UNIX_MS, World};

/// How often the progress display learns of the time.
const TICK: Duration = Duration::from_millis(250);
/// How often the load of the programs is written down, and their pages are read.
const LOOK: Duration = Duration::from_secs(5);
/// So many looks are enough: those of a long run are further apart.
const LOOKS: u32 = 720;
/// After the end, the last shares reach the pool, and the last events their reader.
const SETTLING: Duration = Duration::from_secs(3);

/// After that long the gateway has work to give.
const WARM_UP: Duration = Duration::from_secs(5);
/// How often the clock of the node is put right while a guest is there.
const NODE_TICK: Duration = Duration::from_secs(1);
/// How long a page may take.
const PAGE_PATIENCE: Duration = Duration::from_secs(2);
/// The longest page.
const MAX_PAGE_BYTES: usize = 1 << 22;

/// Pages that a passer-by may see.
const PAGES: [&str; 4] = ["/health", "/ready", "/metrics", "/api/v1/config"];

/// What is left of a world.
pub(super) struct Lived {
    pub(super) observations: Vec<Observation>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) secrets: Vec<String>,
    pub(super) traffic: String,
    pub(super) log: String,
}

/// What the story holds in its hands.
struct Story<'a> {
    world: World,
    plan: &'a Plan,
    recorder: Recorder,
    programs: Programs,
    chain: ChainScript,
    node: SharedNode,
    node_changes: watch::Sender<u64>,
    pool_mode: watch::Sender<PoolMode>,
    verdicts: watch::Sender<Behaviour>,
    working: watch::Sender<bool>,
    blocks_wanted: Vec<watch::Sender<u32>>,
    node_fault: watch::Sender<Fault>,
    node_mode: watch::Sender<NodeMode>,
    attackers: BTreeMap<Hostility, u32>,
    /// How often the load of the programs is written down.
    look: Duration,
    /// When the load of the programs is written down next.
    next_look: Duration,
}

pub(super) async fn live(
    world: World,
    scenario: &Scenario,
    plan: &Plan,
    node: Box<dyn Node>,
    clock: &Clock,
) -> Result<Lived, RunError> {
    let logs = Logs::default();
    let _collecting = logs.collect();
    set_up_links(&world, scenario)?;
    let mut story = Story::begin(world, scenario, plan, node)?;
    story.programs.start_all()?;
    story.start_reader();
    story.start_miners();
    for (index, step) in plan.steps.iter().enumerate() {
        story.wait_until(step.at, clock).await?;
        tracing::debug!(index, action = %step.action, "step");
        story.act(&step.action).await?;
    }
    story.wait_until(plan.duration, clock).await?;
    story.end().await;
    story.recorder.record(Seen::Output { source: "the log".to_owned(), text: logs.text() });
    if let Some(fault) = story.node.fault() {
        return Err(RunError::Node(fault));
    }
    Ok(Lived {
        observations: story.recorder.observations(),
        parameters: plan.parameters.clone(),
        secrets: story.programs.settings.secret_texts(),
        traffic: story.world.net().traffic_digest(),
        log: logs.text(),
    })
}

/// The programs without a miner of ours. When they have begun, `visit` deals with the gateway;
/// when it has ended, everything is drained. Meanwhile the node's clock goes with the world's.
pub(super) async fn entertain<T>(
    world: World,
    scenario: &Scenario,
    plan: &Plan,
    node: Box<dyn Node>,
    visit: impl AsyncFnOnce(Guest) -> T,
) -> Result<T, RunError> {
    set_up_links(&world, scenario)?;
    let mut story = Story::begin(world, scenario, plan, node)?;
    story.programs.start_all()?;
    story.wait_until(WARM_UP, &Clock::default()).await?;
    let guest = Guest {
        env: story.world.host("guest").env(),
        address: "gateway:3333".to_owned(),
        authority: story.programs.settings.authority,
        identity: "miner-guest".to_owned(),
    };
    let mut visit = std::pin::pin!(visit(guest));
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut visit => break outcome,
            () = tokio::time::sleep(NODE_TICK) => {
                story.chain.set_time(&mut story.node, story.world.unix_ms() / 1000)?;
                story.programs.supervise().await?;
            }
        }
    };
    for daemon in DAEMONS {
        story.programs.end(daemon).await;
    }
    match story.node.fault() {
        Some(fault) => Err(RunError::Node(fault)),
        None => Ok(outcome),
    }
}

impl<'a> Story<'a> {
    /// The chain before the story, and everything that programs will be started with.
    fn begin(
        world: World,
        scenario: &Scenario,
        plan: &'a Plan,
        node: Box<dyn Node>,
    ) -> Result<Self, RunError> {
        check_hosts(scenario, plan)?;
        let recorder = Recorder::new();
        let (node_changes, changes) = watch::channel(0);
        let (pool_mode, mode) = watch::channel(PoolMode::Ok);
        let (verdicts, behaviour) = watch::channel(Behaviour::default());
        let (node_fault, faults) = watch::channel(Fault::None);
        let mut node = node;
        let mut chain = ChainScript::new(plan.seed, super::NODE_START_UNIX_S);
        chain.premine(node.as_mut(), plan.initial_blocks, coins(plan))?;
        let (node_mode, modes) = watch::channel(NodeMode::Ok);
        let watched = WatchedNode::new(node, recorder.clone(), node_changes.clone(), modes);
        let mut node = SharedNode::new(Box::new(watched));
        chain.set_time(&mut node, EPOCH_UNIX_MS / 1000)?;
        let settings = Settings::new(&world, scenario, plan)?;
        let node_options = HostOptions {
            delay: node_delay(plan.seed),
            faults,
            submissions: std::sync::Arc::default(),
        };
        let parts = Parts {
            settings,
            recorder: recorder.clone(),
            node: node.clone(),
            node_options,
            node_changes: changes,
            pool_mode: mode,
            verdicts: behaviour,
        };
        Ok(Self {
            programs: Programs::new(world.clone(), parts),
            world,
            plan,
            recorder,
            chain,
            node,
            node_changes,
            pool_mode,
            verdicts,
            working: watch::Sender::new(true),
            blocks_wanted: Vec::new(),
            node_fault,
            node_mode,
            attackers: BTreeMap::new(),
            look: LOOK.max(plan.duration / LOOKS),
            next_look: LOOK,
        })
    }

    fn start_reader(&self) {
        let env = self.world.host("reader").env();
        let key = self.programs.settings.secrets.gateway_api_key.clone();
        let base = "http://gateway:8080".to_owned();
        let follow = events::follow(env.clone(), base, Some(key), self.recorder.clone());
        env.tasks.spawn("event_reader", follow);
        let (pages, look) = (self.page_reader(), self.look);
        env.tasks.spawn("page_reader", async move {
            loop {
                tokio::time::sleep(look).await;
                pages.read("/metrics").await;
            }
        });
    }

    fn start_miners(&mut self) {
        for (index, miner) in self.plan.miners.iter().enumerate() {
            let env = self.world.host(&format!("miner-{index:02}")).env();
            let (sender, blocks_wanted) = watch::channel(0);
            self.blocks_wanted.push(sender);
            let config = MinerConfig {
                index: index as u32,
                address: "gateway:3333".to_owned(),
                authority: Some(self.programs.settings.authority),
                identity: format!("miner-{index:02}"),
                kind: miner.kind,
                hashrate: miner.hashrate,
                pace: Pace::Every(miner.share_interval),
                behaviour: miner.behaviour,
                profile: miner.profile,
                working: self.working.subscribe(),
                blocks_wanted,
            };
            let (start, recorder, inner) = (miner.start, self.recorder.clone(), env.clone());
            env.tasks.spawn("miner", async move {
                tokio::time::sleep(start).await;
                miner::mine(inner, config, recorder).await;
            });
        }
    }

    async fn wait_until(&mut self, at: Duration, clock: &Clock) -> Result<(), RunError> {
        let at = self.recorder.start() + at;
        loop {
            clock.set(self.recorder.elapsed().as_millis() as u64);
            let next = tokio::time::Instant::now() + TICK;
            tokio::time::sleep_until(next.min(at)).await;
            self.programs.supervise().await?;
            if self.recorder.elapsed() >= self.next_look {
                self.next_look += self.look;
                self.programs.note_load();
            }
            if next >= at {
                return Ok(());
            }
        }
    }

    async fn act(&mut self, action: &Action) -> Result<(), RunError> {
        self.recorder.record(Seen::Step(action.clone()));
        match action {
            Action::Mine { .. }
            | Action::Reorg { .. }
            | Action::CompetingTips
            | Action::Transactions { .. } => self.drive_chain(action)?,
            Action::VerdictDelay { delay } => self.verdicts.send_modify(|now| now.delay = *delay),
            Action::VerifierMode(mode) => self.verdicts.send_modify(|now| now.mode = *mode),
            Action::NodeMode(mode) => {
                self.node_mode.send_replace(*mode);
                self.node_fault.send_replace(node_fault(*mode));
            }
            Action::Attack { kind, count } => self.attack(*kind, *count).await,
            Action::Reload { config } => self.programs.reload(config)?,
            Action::LoseResendData => {
                faults::lose_resend_data(self.world.host("gateway").disk());
            }
            Action::Tamper(tamper) => self.verdicts.send_modify(|now| now.tamper = *tamper),
            Action::DiskMode { host, mode } => {
                for machine in self.programs.machines(host) {
                    faults::break_disk(machine.disk(), *mode);
                }
            }
            Action::ClockJump { host, by_ms } => {
                for machine in self.programs.machines(host) {
                    machine.jump_clock(*by_ms);
                }
            }
            Action::PoolMode(mode) => drop(self.pool_mode.send_replace(*mode)),
            Action::Backlog { host, connections } => {
                for machine in self.programs.machines(host) {
                    machine.set_backlog(*connections as usize);
                }
            }
            Action::Crash { host, loss } => self.programs.crash(host, *loss).await,
            Action::Restart { host } => self.programs.restart(host).await?,
            Action::Drain { host } => self.programs.drain(host),
            Action::FindBlock { miner } => {
                let count = self.blocks_wanted.len().max(1);
                if let Some(wanted) = self.blocks_wanted.get(*miner as usize % count) {
                    wanted.send_modify(|wanted| *wanted += 1);
                }
            }
            link_action => faults::break_link(self.world.net(), link_action)?,
        }
        Ok(())
    }

    /// Makes it so many attackers of a kind.
    async fn attack(&mut self, kind: Hostility, count: u32) {
        let before = self.attackers.insert(kind, count).unwrap_or_default();
        for number in 0..before.max(count) {
            let name = format!("hostile-{}-{number}", kind.as_str().replace('_', "-"));
            let host = self.world.host(&name);
            if number < before {
                host.crash(Crash::KILL).await;
            }
            if number >= count {
                continue;
            }
            let env = if host.is_up() { host.env() } else { host.restart() };
            let config = HostileConfig {
                name,
                address: "gateway:3333".to_owned(),
                authority: self.programs.settings.authority,
                kind,
                identity: "miner-00".to_owned(),
            };
            let attack = hostile::attack(env.clone(), config, self.recorder.clone());
            env.tasks.spawn("attacker", attack);
        }
    }

    fn drive_chain(&mut self, action: &Action) -> Result<(), RunError> {
        self.chain.set_time(&mut self.node, self.world.unix_ms() / 1000)?;
        match action {
            Action::Mine { blocks } => drop(self.chain.mine(&mut self.node, *blocks)?),
            Action::Reorg { depth } => drop(self.chain.reorg(&mut self.node, *depth)?),
            Action::CompetingTips => drop(self.chain.compete(&mut self.node)?),
            Action::Transactions { count } => {
                match self.chain.fill_mempool(&mut self.node, *count as usize) {
                    // Reorganisations among the drawn faults may have taken the coins.
                    Err(ScriptError::Coins { .. }) if !self.plan.faults.is_empty() => {}
                    filled => drop(filled?),
                }
                self.node_changes.send_modify(|count| *count += 1);
            }
            _ => {}
        }
        Ok(())
    }

    /// What must hold in the end holds now; then everything is drained.
    async fn end(&mut self) {
        self.recorder.record(Seen::Settled);
        self.working.send_replace(false);
        tokio::time::sleep(SETTLING).await;
        let reader = self.page_reader();
        for page in PAGES {
            reader.read(page).await;
        }
        for daemon in DAEMONS {
            self.programs.end(daemon).await;
        }
    }

    fn page_reader(&self) -> PageReader {
        PageReader {
            env: self.world.host("reader").env(),
            key: self.programs.settings.secrets.gateway_api_key.clone(),
            recorder: self.recorder.clone(),
        }
    }
}

/// Looks at what the gateway shows.
struct PageReader {
    env: Env,
    key: String,
    recorder: Recorder,
}

impl PageReader {
    async fn read(&self, page: &str) {
        let request = Request::get(format!("http://gateway:8080{page}"))
            .header("X-API-Key", &self.key)
            .body(Full::new(Bytes::new()))
            .expect("the request is well formed");
        let client = HttpClient::new(&self.env);
        if let Ok(answer) = client.send(request, PAGE_PATIENCE, MAX_PAGE_BYTES).await {
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            self.recorder.record(Seen::Output { source: format!("gateway {page}"), text });
        }
    }
}

/// How many coins the transactions of a plan spend. What a reorganisation undoes is not spent
/// again.
fn coins(plan: &Plan) -> usize {
    let transactions = plan.steps.iter().map(|step| match step.action {
        Action::Transactions { count } => count as usize,
        _ => 0,
    });
    transactions.sum()
}

/// A plan may mean a host that the scenario's world has not.
fn check_hosts(scenario: &Scenario, plan: &Plan) -> Result<(), RunError> {
    let is_second = |action: &Action| {
        action.host() == Some(SECOND_VERIFIER)
            || action.link().is_some_and(|link| link.touches(SECOND_VERIFIER))
    };
    if scenario.verifiers < 2 && plan.steps.iter().any(|step| is_second(&step.action)) {
        let problem = format!("{SECOND_VERIFIER} is meant: topology.verifiers must be 2");
        return Err(RunError::Config(problem));
    }
    Ok(())
}

fn set_up_links(world: &World, scenario: &Scenario) -> Result<(), RunError> {
    if let Some(limit) = scenario.sim.retransmission_limit {
        world.net().set_retransmission_limit(limit);
    }
    if let Some(quality) = scenario.links.get("default") {
        change(world, "*", quality)?;
    }
    // Nodes of different kinds answer some calls at different lengths. In pieces of drawn sizes
    // they would take different times, and goldens hold for every kind of node.
    world.net().change("templates<->bitcoind", |config| config.chunk = None)?;
    for (name, quality) in scenario.links.iter().filter(|(name, _)| *name != "default") {
        let link = Link::parse(name).map_err(RunError::Config)?;
        change(world, &world_link(&link), quality)?;
    }
    // The verifier and the link that watches it are one machine to a scenario.
    let near = net::LinkConfig {
        latency: net::Latency::Fixed(Duration::ZERO),
        ..net::LinkConfig::default()
    };
    if scenario.verifiers > 1 {
        world.net().configure("verifier-2<->judge-2", near.clone())?;
    }
    world.net().configure("verifier<->judge", near)?;
    tracing::debug!(longest = ?longest_transit(scenario), "links");
    Ok(())
}

fn change(world: &World, link: &str, quality: &LinkQuality) -> Result<(), RunError> {
    let quality = quality.clone();
    world.net().change(link, move |config| {
        if let Some(latency) = &quality.latency {
            config.latency = world_latency(latency);
        }
        if let Some(chunk) = &quality.chunk {
            config.chunk = Some((chunk.low() as usize, chunk.high() as usize));
        }
        if let Some(bytes_per_second) = quality.bytes_per_second {
            config.bandwidth = Some(bytes_per_second);
        }
        if let Some(window) = quality.window {
            config.window = window as usize;
        }
        if let Some(coalesce) = quality.coalesce {
            config.coalesce = coalesce;
        }
    })?;
    Ok(())
}

fn world_latency(latency: &Latency) -> net::Latency {
    match *latency {
        Latency::Fixed(time) => net::Latency::Fixed(time),
        Latency::Uniform(min, max) => net::Latency::Uniform { min, max },
        Latency::Exponential { mean, cap } => net::Latency::Exponential { mean, cap },
        Latency::Bimodal { usual, rare, probability } => {
            net::Latency::Bimodal { fast: usual, slow: rare, slow_share: probability }
        }
    }
}
