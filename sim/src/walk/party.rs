//! Everyone around the gateway in a walk under load: the pool, the miners, and the reader of the
//! event stream, all watched by a [`Crowd`].

use std::time::Duration;

use gateway::log::Recovered;
use platform::Tasks;
use tokio::sync::watch;
use tokio::time::Instant;

use super::WalkError;
use super::crowd::Crowd;
use super::site;
use super::stage::Stage;
use crate::actors::events;
use crate::actors::miner::{self, MinerConfig, Pace};
use crate::actors::observe::Recorder;
use crate::actors::pool::{self, Ledger, PoolConfig};
use crate::scenario::{Behaviour, MinerKind, PoolMode, Profile};

/// The pool and the miners; dropping it ends nothing.
pub(super) struct Party {
    pub(super) crowd: Crowd,
    /// Whether miners send shares.
    pub(super) working: watch::Sender<bool>,
    /// Writes to the crowd.
    recorder: Recorder,
    no_blocks: watch::Sender<u32>,
    _pool_mode: watch::Sender<PoolMode>,
}

/// What the miners of a party are.
pub(super) struct Miners {
    /// How many; every other one opens an extended channel.
    pub(super) count: u32,
    /// How many connect in a second.
    pub(super) a_second: f64,
    /// What each does, by its index: what it says of its hash rate, and how often it finds shares.
    pub(super) pace: fn(u32) -> (f32, Pace),
}

impl Party {
    /// A pool that listens where the gateway expects it.
    pub(super) fn open(stage: &Stage<'_>, miners: u32) -> Self {
        let crowd = Crowd::new(miners);
        let recorder = crowd.recorder();
        let (pool_mode, mode) = watch::channel(PoolMode::Ok);
        let listen = site::loopback(stage.site.ports.relay);
        let config = PoolConfig { listen, secret: stage.site.share_secret.clone(), mode };
        let pool = pool::serve(stage.env.clone(), config, Ledger::default(), recorder.clone());
        drop(stage.env.tasks.spawn("pool", async move {
            if let Err(error) = pool.await {
                tracing::error!(%error, "the pool does not listen");
            }
        }));
        Self {
            crowd,
            working: watch::Sender::new(true),
            recorder,
            no_blocks: watch::Sender::new(0),
            _pool_mode: pool_mode,
        }
    }

    /// Reads the event stream from its first event on, also across a restart of the gateway.
    pub(super) fn follow_events(&self, stage: &Stage<'_>) {
        let crowd = self.crowd.clone();
        let follow =
            events::follow_with(stage.env.clone(), stage.gateway_url(), None, move |line| {
                crowd.event(line);
            });
        drop(stage.env.tasks.spawn("event_reader", follow));
    }

    /// Connects miners, and waits until all of them are at work.
    pub(super) async fn connect(
        &self,
        stage: &mut Stage<'_>,
        miners: &Miners,
    ) -> Result<(), WalkError> {
        stage.say(&format!("connecting {} miners", miners.count));
        let pause = Duration::from_secs_f64(1.0 / miners.a_second);
        for index in 0..miners.count {
            let mut config = self.miner(stage, index, Behaviour::Honest)?;
            (config.hashrate, config.pace) = (miners.pace)(index);
            self.mine(stage, &stage.env.tasks, config);
            tokio::time::sleep(pause).await;
        }
        let (crowd, wanted) = (self.crowd.clone(), miners.count as usize);
        let all = async || match crowd.at_work() {
            count if count == wanted => Ok(()),
            count => Err(format!("{count} of {wanted} are")),
        };
        stage.running.until("all miners to be at work", "gateway", all).await
    }

    /// A miner of this walk; whoever takes it says how fast it is.
    pub(super) fn miner(
        &self,
        stage: &Stage<'_>,
        index: u32,
        behaviour: Behaviour,
    ) -> Result<MinerConfig, WalkError> {
        let kind = if index.is_multiple_of(2) { MinerKind::Standard } else { MinerKind::Extended };
        Ok(MinerConfig {
            kind,
            index,
            address: site::loopback(stage.site.ports.miners),
            authority: Some(stage.site.authority()?),
            identity: format!("{}{index}", site::MINER_PREFIX),
            hashrate: 1.0,
            pace: Pace::Every(Duration::from_millis(50)),
            behaviour,
            profile: Profile::Assay,
            working: self.working.subscribe(),
            blocks_wanted: self.no_blocks.subscribe(),
        })
    }

    /// Has a miner mine until its task ends.
    pub(super) fn mine(&self, stage: &Stage<'_>, tasks: &Tasks, config: MinerConfig) {
        let mine = miner::mine(stage.env.clone(), config, self.recorder.clone());
        drop(tasks.spawn("miner", mine));
    }

    /// Sends nothing more, and waits until every share has its answer and its result.
    pub(super) async fn settle(&self, stage: &mut Stage<'_>) -> Result<(), WalkError> {
        stage.say("waiting for every share's result");
        self.working.send_replace(false);
        let crowd = self.crowd.clone();
        let settled = async || match (crowd.open(), crowd.unresolved()) {
            (0, 0) => Ok(()),
            (open, unresolved) => {
                Err(format!("{open} have no answer, {unresolved} accepted have no result"))
            }
        };
        stage.running.until("every share's result", "gateway", settled).await
    }

    /// Waits until the gateway wrote one more event of this name, and returns it. `before` is how
    /// many there were.
    pub(super) async fn next_event(
        &self,
        stage: &mut Stage<'_>,
        name: &'static str,
        before: usize,
    ) -> Result<serde_json::Value, WalkError> {
        let crowd = self.crowd.clone();
        let told = async || {
            let told = crowd.events(name).into_iter().nth(before);
            told.ok_or_else(|| format!("there are {before}"))
        };
        stage.running.until(&format!("another {name} event"), "gateway", told).await
    }

    /// SIGTERM, upon which the gateway must end with 0, and the event stream to its end. How long
    /// the gateway took, and what its log holds.
    pub(super) async fn drain(
        &self,
        stage: &mut Stage<'_>,
    ) -> Result<(Duration, Recovered), WalkError> {
        stage.say("draining");
        let begun = Instant::now();
        stage.running.end("gateway").await?;
        let took = begun.elapsed();
        let recovered = stage.recovered()?;
        let (crowd, newest) = (self.crowd.clone(), recovered.next_seq - 1);
        let whole = async || match crowd.newest_seq() {
            seq if seq == newest => Ok(()),
            seq => Err(format!("{seq} of {newest}")),
        };
        stage.running.until("the end of the event stream", "verifier", whole).await?;
        Ok((took, recovered))
    }
}
