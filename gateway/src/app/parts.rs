//! The parts and their tasks.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gateway_core::forward::{ForwardQueue, ForwardShare};
use gateway_core::ids::InstanceId;
use gateway_core::prevhash::Switch;
use gateway_core::{SharedBounds, SharedState};
use platform::http_client::HttpClient;
use platform::{Env, Listener, Shutdown, TaskHandle};
use templates::client::TemplateClient;
use tokio::sync::{mpsc, watch};

use super::Error;
use super::door::{Door, probe_pool};
use super::settings::{forward_settings, session_settings, switch_settings};
use super::task_group::TaskGroup;
use crate::admission::Admission;
use crate::blocks::BlockSubmitter;
use crate::board::Board;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::MinerSide;
use crate::encoding::decode_share;
use crate::forwarder::{ForwardLevel, Forwarder, Pool};
use crate::http::events::{EventArchive, EventFeed};
use crate::http::{Api, router};
use crate::limits::{CHANNELS, FORWARD_WAITING_SHARES, SWITCH_WAITING_INPUTS};
use crate::log::{self, LogEnd, LogError, Recovered};
use crate::metrics::Metrics;
use crate::noise_identity::NoiseIdentity;
use crate::recorder::Recorder;
use crate::status::Status;
use crate::switch::SwitchTask;
use crate::template_link::{Payouts, TemplateLink};
use crate::verifier_link::{Proposals, VerifierLink};

/// A running gateway.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) board: Arc<Board>,
    pub(super) feed: Arc<EventFeed>,
    pub(super) blocks: Arc<BlockSubmitter>,
    pub(super) level: watch::Receiver<ForwardLevel>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) stops: Stops,
    /// Ends with the last miner.
    pub(super) miners: mpsc::Receiver<()>,
    pub(super) door: Option<TaskHandle<()>>,
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

/// What all parts need.
struct Common {
    env: Env,
    config: Arc<Config>,
    clock: Clock,
    board: Arc<Board>,
    shared: Arc<SharedState>,
    recorder: Arc<Recorder>,
    metrics: Arc<Metrics>,
    fatal: mpsc::Sender<Error>,
}

impl Parts {
    /// Starts everything. What can fail comes first.
    pub(super) async fn start(
        env: Env,
        config: Arc<Config>,
        identity: Option<NoiseIdentity>,
        recovered: Recovered,
        http: Box<dyn Listener>,
        fatal: mpsc::Sender<Error>,
    ) -> Result<Self, Error> {
        let subscribers = config.limits.max_event_subscribers;
        let feed = Arc::new(EventFeed::new(recovered.next_seq, subscribers));
        let log_end = LogEnd::default();
        let (log, log_task) =
            log::open(&env, config.log.clone(), &recovered, Arc::clone(&feed), log_end.clone())
                .await?;
        let mut metrics = Metrics::new();
        metrics.show_hatches(config.hatches.iter().copied());
        let metrics = Arc::new(metrics);
        let clock = Clock::start(Arc::clone(&env.wall));
        let common = Common {
            board: Arc::new(Board::new()),
            shared: Arc::new(shared(&env, &config, &clock)),
            recorder: Arc::new(Recorder::new(log, Arc::clone(&metrics))),
            env,
            config,
            clock,
            metrics,
            fatal,
        };
        Ok(common.start_tasks(identity, recovered, http, feed, log_task, log_end).await)
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
        identity: Option<NoiseIdentity>,
        recovered: Recovered,
        http: Box<dyn Listener>,
        feed: Arc<EventFeed>,
        log_task: TaskHandle<Result<(), LogError>>,
        log_end: LogEnd,
    ) -> Parts {
        let (clients, servers) = (TaskGroup::new(&self.env), TaskGroup::new(&self.env));
        let stops = Stops::default();
        let (level, level_now) = watch::channel(ForwardLevel::default());
        let (forward, forward_inbox) = mpsc::channel(FORWARD_WAITING_SHARES);
        let backlog = self.resume(recovered).await;
        let forwarder = self.forwarder(&clients, level, backlog);
        let forwarder = self.spawn(
            "forwarder",
            forwarder.run(forward_inbox, stops.flush.clone(), stops.give_up.clone()),
        );
        let blocks = Arc::new(BlockSubmitter::new(
            self.env.clone(),
            self.template_client(&clients),
            self.clock.clone(),
            Arc::clone(&self.recorder),
            stops.give_up.clone(),
        ));
        let (links_up, background) = self.links(&clients, &stops.background);
        let admission = Arc::new(Admission::new(&self.config.limits));
        let (alive, miners) = mpsc::channel(1);
        let draining = Arc::new(AtomicBool::new(false));
        let door = self.config.gateway.mode.serves_miners().then(|| {
            let door = Door {
                env: self.env.clone(),
                config: Arc::clone(&self.config),
                side: Arc::new(self.miner_side(identity, &blocks, forward)),
                admission: Arc::clone(&admission),
                pool_up: links_up.pool.clone(),
                alive,
                fatal: self.fatal.clone(),
            };
            self.spawn("miner_listener", door.run(stops.door.clone()))
        });
        let status = self.status(&blocks, &level_now, links_up, admission, &draining);
        let http = self.serve_http(status, &feed, http, &servers, &stops);
        Parts {
            config: self.config,
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

    /// Spawns a task without which the gateway cannot go on.
    fn spawn<F>(&self, name: &'static str, task: F) -> TaskHandle<()>
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
        for share in recovered.unresolved {
            let resend = share.resend.as_ref();
            match resend.and_then(|(json, job)| decode_share(json, &job.json)) {
                Some(share) => backlog.push_back(Arc::new(share)),
                None => lost.extend(self.recorder.lost(&share, self.clock.now().unix_ms)),
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
        let share = &self.config.share;
        let pool = Pool {
            http: HttpClient::new(&clients.env(&self.env)),
            url: share.upstream_url.clone(),
            secret: share.upstream_secret.clone(),
            timeout: share.submit_timeout,
        };
        Forwarder {
            queue: ForwardQueue::new(forward_settings(share), self.env.rng.next_u64()),
            queue_size: share.queue_size,
            pool: Arc::new(pool),
            tasks: clients.tasks(),
            clock: self.clock.clone(),
            recorder: Arc::clone(&self.recorder),
            level,
            backlog,
        }
    }

    fn template_client(&self, clients: &TaskGroup) -> TemplateClient {
        let gateway = &self.config.gateway;
        let timeout = self.config.timing.upstream_health_timeout;
        let key = gateway.upstream_api_key.clone();
        TemplateClient::new(&clients.env(&self.env), &gateway.upstream_url, key, timeout)
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
            config: Arc::clone(&self.config),
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

    /// The switch, the links that feed it, and the probe of the pool.
    fn links(&self, clients: &TaskGroup, stop: &Shutdown) -> (LinksUp, Vec<TaskHandle<()>>) {
        let (pool_up, pool) = watch::channel(false);
        let up = LinksUp { source: Arc::default(), verifier: Arc::default(), pool };
        let (net, pool_config) = (Arc::clone(&self.env.net), Arc::clone(&self.config));
        let (config, now) = (&self.config, self.clock.now());
        let (switch, inbox) = mpsc::channel(SWITCH_WAITING_INPUTS);
        let proposals = Arc::new(Proposals::default());
        let task = SwitchTask {
            switch: Switch::new(switch_settings(config), Arc::clone(&self.shared), now),
            clock: self.clock.clone(),
            board: Arc::clone(&self.board),
            proposals: Arc::clone(&proposals),
            recorder: Arc::clone(&self.recorder),
            metrics: Arc::clone(&self.metrics),
        };
        let (tag, payouts) = (&config.gateway.coinbase_tag, &config.gateway.payout_outputs);
        let templates = TemplateLink {
            client: self.template_client(clients),
            cpu: Arc::clone(&self.env.cpu),
            switch: switch.clone(),
            payouts: Arc::new(Payouts::new(tag.clone(), payouts.clone())),
            poll_interval: config.timing.upstream_poll_interval,
            // Several signs of life within the time after which the source counts as gone.
            long_poll: config.timing.upstream_stale_max / 3,
            is_up: Arc::clone(&up.source),
        };
        let verifier = VerifierLink {
            env: self.env.clone(),
            clock: self.clock.clone(),
            address: config.gateway.verifier_addr.clone(),
            mode: config.gateway.mode,
            instance: self.shared.instance().clone(),
            heartbeat_interval: config.timing.verifier_heartbeat_interval,
            proposals,
            switch,
            metrics: Arc::clone(&self.metrics),
            is_up: Arc::clone(&up.verifier),
        };
        let tasks = vec![
            self.spawn("switch", task.run(inbox, stop.clone())),
            self.spawn("template_link", templates.run(stop.clone())),
            self.spawn("verifier_link", verifier.run(stop.clone())),
            self.spawn("pool_probe", probe_pool(net, pool_config, pool_up, stop.clone())),
        ];
        (up, tasks)
    }

    fn miner_side(
        &self,
        identity: Option<NoiseIdentity>,
        blocks: &Arc<BlockSubmitter>,
        forward: mpsc::Sender<Arc<ForwardShare>>,
    ) -> MinerSide {
        MinerSide {
            clock: self.clock.clone(),
            rng: Arc::clone(&self.env.rng),
            settings: Arc::new(session_settings(&self.config)),
            shared: Arc::clone(&self.shared),
            identity,
            handshake_timeout: self.config.handshake_timeout,
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
        listener: Box<dyn Listener>,
        servers: &TaskGroup,
        stops: &Stops,
    ) -> TaskHandle<()> {
        let archive = EventArchive {
            storage: Arc::clone(&self.env.storage),
            cpu: Arc::clone(&self.env.cpu),
            directory: self.config.log.path.clone(),
        };
        let drain = stops.drain_asked.clone();
        tracing::info!(address = %listener.local_addr(), "HTTP interface");
        let api = Arc::new(Api { status, feed: Arc::clone(feed), archive, drain });
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

/// Whether the other programs can be reached.
struct LinksUp {
    source: Arc<AtomicBool>,
    verifier: Arc<AtomicBool>,
    pool: watch::Receiver<bool>,
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
    let bounds = SharedBounds {
        replay_window: config.share.dedup_window_size,
        templates: config.timing.template_cache_size,
        channels: CHANNELS,
    };
    let instance = InstanceId::new(&config.gateway.gateway_instance_id);
    // The lower half of a random number is as random as the whole.
    let seed = env.rng.next_u64() as u32;
    SharedState::new(instance, bounds, clock.now(), seed)
}
