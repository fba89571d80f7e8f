//! The parts and their tasks.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gateway_core::forward::{ForwardQueue, ForwardShare};
use gateway_core::ids::InstanceId;
use gateway_core::session::FoundBlock;
use gateway_core::{SharedState, prevhash};
use platform::http_client::HttpClient;
use platform::tls::{Identity, TlsListener};
use platform::{Env, Listener, Shutdown, TaskHandle};
use tokio::sync::{Semaphore, mpsc, watch};

use super::Error;
use super::door::Door;
use super::links::{self, Links, LinksUp};
use super::settings::{forward_settings, shared_bounds};
use super::task_group::TaskGroup;
use crate::admission::Admission;
use crate::blocks::BlockSubmitter;
use crate::board::Board;
use crate::clock::Clock;
use crate::config::{Config, ConfigSource};
use crate::connection::{MinerSide, Serving};
use crate::encoding::{decode_block, decode_share};
use crate::forwarder::{ForwardLevel, Forwarder, Pool};
use crate::http::events::{EventArchive, EventFeed};
use crate::http::{Api, router};
use crate::limits::{EXPORTS, FORWARD_WAITING_SHARES};
use crate::live::Live;
use crate::log::{self, LogEnd, LogError, Recovered};
use crate::log_watch;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::reload::{Reload, ReloadRequest, Reloader};
use crate::status::Status;

/// A running gateway.
pub(super) struct Parts {
    pub(super) live: Live,
    pub(super) board: Arc<Board>,
    pub(super) feed: Arc<EventFeed>,
    pub(super) blocks: Arc<BlockSubmitter>,
    pub(super) level: watch::Receiver<ForwardLevel>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) stops: Stops,
    /// Ends with the last miner.
    pub(super) miners: mpsc::Receiver<()>,
    pub(super) door: TaskHandle<()>,
    pub(super) forwarder: TaskHandle<()>,
    pub(super) background: Vec<TaskHandle<()>>,
    pub(super) http: TaskHandle<()>,
    pub(super) log: Option<TaskHandle<Result<(), LogError>>>,
    pub(super) log_end: LogEnd,
    pub(super) clients: TaskGroup,
    pub(super) servers: TaskGroup,
}

/// What ends the parts, in this order.
#[derive(Default)]
pub(super) struct Stops {
    /// Asked for over HTTP.
    pub(super) drain_asked: Shutdown,
    /// No new miners.
    pub(super) door: Shutdown,
    /// Shares go without waiting for company.
    pub(super) flush: Shutdown,
    /// No time is left for shares and blocks.
    pub(super) give_up: Shutdown,
    /// Links, probes and the switch.
    pub(super) background: Shutdown,
    /// The HTTP interface.
    pub(super) http: Shutdown,
}

/// What a gateway starts from.
pub(super) struct Start {
    pub(super) config: Arc<Config>,
    pub(super) serving: Serving,
    pub(super) tls: Option<Identity>,
    pub(super) recovered: Recovered,
    pub(super) http: Box<dyn Listener>,
    pub(super) source: Option<ConfigSource>,
    pub(super) reload: Reload,
}

/// What all parts need.
pub(super) struct Common {
    pub(super) env: Env,
    pub(super) live: Live,
    pub(super) clock: Clock,
    pub(super) board: Arc<Board>,
    pub(super) shared: Arc<SharedState>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) metrics: Arc<Metrics>,
    fatal: mpsc::Sender<Error>,
}

impl Parts {
    /// Starts everything. What can fail comes first.
    pub(super) async fn start(
        env: Env,
        start: Start,
        fatal: mpsc::Sender<Error>,
    ) -> Result<Self, Error> {
        let (config, recovered) = (&start.config, &start.recovered);
        let subscribers = config.limits.max_event_subscribers;
        let feed = Arc::new(EventFeed::new(recovered.next_seq, subscribers));
        let log_end = LogEnd::default();
        let (log, log_task) =
            log::open(&env, config.log.clone(), recovered, Arc::clone(&feed), log_end.clone())
                .await?;
        let metrics = Metrics::new();
        metrics.show_hatches(config.hatches.iter().copied());
        let metrics = Arc::new(metrics);
        let clock = Clock::start(Arc::clone(&env.wall));
        let shared = shared(&env, config, &clock);
        // A share that an earlier life accepted is a replay in this one.
        shared.restore_replay_window(recovered.recent_shares.iter().copied());
        let common = Common {
            board: Arc::new(Board::new()),
            shared: Arc::new(shared),
            recorder: Arc::new(Recorder::new(log, Arc::clone(&metrics))),
            env,
            live: Live::new(Arc::clone(config)),
            clock,
            metrics,
            fatal,
        };
        Ok(common.start_tasks(start, feed, log_task, log_end).await)
    }

    /// Cancelled when a drain is asked for over HTTP.
    pub(super) fn drain_asked(&self) -> Shutdown {
        self.stops.drain_asked.clone()
    }

    /// Resolves when the log ended although nobody told it to.
    pub(super) async fn log_ended(&mut self) -> Error {
        let Some(log) = &mut self.log else { return Error::Panicked("log_writer") };
        let ended = log.await;
        self.log = None;
        match ended {
            Some(Err(error)) => Error::Log(error),
            _ => Error::Panicked("log_writer"),
        }
    }
}

impl Common {
    async fn start_tasks(
        self,
        start: Start,
        feed: Arc<EventFeed>,
        log_task: TaskHandle<Result<(), LogError>>,
        log_end: LogEnd,
    ) -> Parts {
        let Start { serving, tls, recovered, http, source, reload, .. } = start;
        let (clients, servers) = (TaskGroup::new(&self.env), TaskGroup::new(&self.env));
        let stops = Stops::default();
        let (level, level_now) = watch::channel(ForwardLevel::default());
        let (forward, forward_inbox) = mpsc::channel(FORWARD_WAITING_SHARES);
        let unanswered = unanswered_blocks(&recovered);
        let backlog = self.resume(recovered).await;
        let forwarder = self.forwarder(&clients, level, backlog);
        let forwarder = self.spawn(
            "forwarder",
            forwarder.run(forward_inbox, stops.flush.clone(), stops.give_up.clone()),
        );
        let blocks = self.block_submitter(&clients, &stops);
        for block in unanswered {
            blocks.submit(block).await;
        }
        let Links { up, switch, tasks: mut background } =
            links::start(&self, &clients, &stops.background);
        let admission = Arc::new(Admission::new(&self.live.now().limits));
        let (alive, miners) = mpsc::channel(1);
        let (serving, serving_now) = watch::channel(Arc::new(serving));
        let door = Door {
            env: self.env.clone(),
            live: self.live.clone(),
            side: Arc::new(self.miner_side(serving_now, &blocks, forward)),
            admission: Arc::clone(&admission),
            pool_up: up.pool.clone(),
            alive,
            fatal: self.fatal.clone(),
        };
        let door = self.spawn("miner_listener", door.run(stops.door.clone()));
        let (tls, tls_now) = watch::channel(tls);
        let http = Box::new(TlsListener::new(http, tls_now, servers.tasks()));
        let reloader = self.reloader(source, serving, tls, switch, &admission);
        let (reloads, requests) = mpsc::channel(1);
        let reloader = reloader.run(reload, requests, stops.background.clone());
        background.push(self.spawn("reload", reloader));
        background.push(self.watch_log(&stops));
        let draining = Arc::new(AtomicBool::new(false));
        let status = self.status(&blocks, &level_now, up, admission, &draining);
        let http = self.serve_http(status, &feed, reloads, http, &servers, &stops);
        Parts {
            live: self.live,
            board: self.board,
            feed,
            blocks,
            level: level_now,
            draining,
            stops,
            miners,
            door,
            forwarder,
            background,
            http,
            log: Some(log_task),
            log_end,
            clients,
            servers,
        }
    }

    fn watch_log(&self, stops: &Stops) -> TaskHandle<()> {
        let (recorder, metrics) = (Arc::clone(&self.recorder), Arc::clone(&self.metrics));
        let stop = stops.background.clone();
        self.spawn("log_watch", log_watch::watch(recorder, metrics, self.clock.clone(), stop))
    }

    fn block_submitter(&self, clients: &TaskGroup, stops: &Stops) -> Arc<BlockSubmitter> {
        Arc::new(BlockSubmitter::new(
            self.env.clone(),
            clients.env(&self.env),
            self.live.clone(),
            self.clock.clone(),
            Arc::clone(&self.recorder),
            stops.give_up.clone(),
        ))
    }

    fn reloader(
        &self,
        source: Option<ConfigSource>,
        serving: watch::Sender<Arc<Serving>>,
        tls: watch::Sender<Option<Identity>>,
        switch: mpsc::Sender<prevhash::Input>,
        admission: &Arc<Admission>,
    ) -> Reloader {
        Reloader {
            env: self.env.clone(),
            source,
            live: self.live.clone(),
            serving,
            tls,
            board: Arc::clone(&self.board),
            switch,
            admission: Arc::clone(admission),
            recorder: Arc::clone(&self.recorder),
            clock: self.clock.clone(),
        }
    }

    /// Spawns a task without which the gateway cannot go on.
    pub(super) fn spawn<F>(&self, name: &'static str, task: F) -> TaskHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let alarm = Alarm { name, fatal: self.fatal.clone() };
        self.env.tasks.spawn(name, async move {
            let _alarm = alarm;
            task.await;
        })
    }

    /// Shares of an earlier life that go to the pool again. What cannot is closed in the log.
    async fn resume(&self, recovered: Recovered) -> VecDeque<Arc<ForwardShare>> {
        let (mut backlog, mut lost) = (VecDeque::new(), Vec::new());
        mutant::bug!(RestartForgets, return backlog);
        for share in recovered.unresolved {
            let resend = share.resend.as_ref();
            match resend.and_then(|(json, job)| decode_share(json, job)) {
                Some(share) => backlog.push_back(Arc::new(share)),
                None => lost.push(self.recorder.lost(&share, self.clock.now().unix_ms)),
            }
        }
        if !backlog.is_empty() || !lost.is_empty() {
            let (again, lost) = (backlog.len(), lost.len());
            tracing::warn!(again, lost, "shares without a result from an earlier life");
        }
        if !lost.is_empty() {
            drop(self.recorder.record(lost).await);
        }
        backlog
    }

    fn forwarder(
        &self,
        clients: &TaskGroup,
        level: watch::Sender<ForwardLevel>,
        backlog: VecDeque<Arc<ForwardShare>>,
    ) -> Forwarder {
        let config = self.live.now();
        let trust = config.gateway.https_trust.clone();
        let http = HttpClient::trusting(&clients.env(&self.env), trust);
        let pool = Pool::new(http, &config.share);
        let seed = self.env.rng.next_u64();
        Forwarder {
            queue: ForwardQueue::new(forward_settings(&config.share), seed),
            live: self.live.clone(),
            pool: Arc::new(pool),
            tasks: clients.tasks(),
            clock: self.clock.clone(),
            recorder: Arc::clone(&self.recorder),
            level,
            backlog,
        }
    }

    fn status(
        &self,
        blocks: &Arc<BlockSubmitter>,
        level: &watch::Receiver<ForwardLevel>,
        links_up: LinksUp,
        admission: Arc<Admission>,
        draining: &Arc<AtomicBool>,
    ) -> Status {
        Status {
            live: self.live.clone(),
            clock: self.clock.clone(),
            board: Arc::clone(&self.board),
            shared: Arc::clone(&self.shared),
            admission,
            recorder: Arc::clone(&self.recorder),
            metrics: Arc::clone(&self.metrics),
            blocks: Arc::clone(blocks),
            forward: level.clone(),
            source_up: links_up.source,
            verifier_up: links_up.verifier,
            pool_up: links_up.pool,
            draining: Arc::clone(draining),
        }
    }

    fn miner_side(
        &self,
        serving: watch::Receiver<Arc<Serving>>,
        blocks: &Arc<BlockSubmitter>,
        forward: mpsc::Sender<Arc<ForwardShare>>,
    ) -> MinerSide {
        MinerSide {
            clock: self.clock.clone(),
            rng: Arc::clone(&self.env.rng),
            shared: Arc::clone(&self.shared),
            serving,
            board: Arc::clone(&self.board),
            recorder: Arc::clone(&self.recorder),
            metrics: Arc::clone(&self.metrics),
            blocks: Arc::clone(blocks),
            forward,
        }
    }

    fn serve_http(
        &self,
        status: Status,
        feed: &Arc<EventFeed>,
        reloads: mpsc::Sender<ReloadRequest>,
        listener: Box<dyn Listener>,
        servers: &TaskGroup,
        stops: &Stops,
    ) -> TaskHandle<()> {
        let archive = EventArchive {
            storage: Arc::clone(&self.env.storage),
            cpu: Arc::clone(&self.env.cpu),
            directory: self.live.now().log.path.clone(),
        };
        let drain = stops.drain_asked.clone();
        tracing::info!(address = %listener.local_addr(), "HTTP interface");
        let api = Arc::new(Api {
            status,
            feed: Arc::clone(feed),
            archive,
            exports: Arc::new(Semaphore::new(EXPORTS)),
            drain,
            reloads,
        });
        let (tasks, stop) = (servers.tasks(), stops.http.clone());
        self.spawn("http_listener", async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = platform::serve::serve(listener, router(api), tasks) => {}
            }
        })
    }
}

/// Tells of a panic.
struct Alarm {
    name: &'static str,
    fatal: mpsc::Sender<Error>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // If another failure came first, that one is told.
            let _ = self.fatal.try_send(Error::Panicked(self.name));
        }
    }
}

fn shared(env: &Env, config: &Config, clock: &Clock) -> SharedState {
    let instance = InstanceId::new(&config.gateway.gateway_instance_id);
    // The lower half of a random number is as random as the whole.
    let seed = env.rng.next_u64() as u32;
    SharedState::new(instance, shared_bounds(config), clock.now(), seed)
}

/// Blocks of an earlier life that no node has answered for good.
fn unanswered_blocks(recovered: &Recovered) -> Vec<FoundBlock> {
    let decoded = recovered.blocks.iter().filter_map(|found| {
        let block = decode_block(&found.block.json);
        match &block {
            Some(block) => tracing::warn!(hash = %block.hash, "a block is submitted again"),
            None => tracing::error!(hash = %found.block.hash, "the log's block cannot be read"),
        }
        block
    });
    decoded.collect()
}
