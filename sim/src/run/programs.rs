//! The programs under test and the actors, each on its host: starting, killing and ending them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Control, Reload};
use platform::{Env, Shutdown, TaskHandle};
use tokio::sync::watch;

use super::RunError;
use super::settings::Settings;
use crate::actors::observe::{HostSeen, Recorder, Seen};
use crate::actors::pool::{self, Ledger, PoolConfig};
use crate::actors::verdict_link::{self, Behaviour};
use crate::disk::DiskFaults;
use crate::node::SharedNode;
use crate::node::host::{self, HostOptions};
use crate::scenario::{Loss, PoolMode, SECOND_VERIFIER};
use crate::world::{Crash, Host, World};

/// The programs that drain.
pub(super) const DAEMONS: [&str; 4] = ["gateway", "judge", "judge-2", "templates"];

/// Where the connections of the second verifier's link are counted from.
const SECOND_LINK: u64 = 1 << 32;

/// How long a daemon may take to drain before it counts as stuck.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// What programs and actors are started with, again after each crash.
pub(super) struct Programs {
    pub(super) world: World,
    pub(super) settings: Settings,
    pub(super) recorder: Recorder,
    pub(super) node: SharedNode,
    pub(super) node_options: HostOptions,
    pub(super) node_changes: watch::Receiver<u64>,
    pub(super) pool_mode: watch::Receiver<PoolMode>,
    pub(super) verdicts: watch::Receiver<Behaviour>,
    pub(super) ledger: Ledger,
    running: BTreeMap<&'static str, Running>,
    /// Has the running gateway read its configuration again.
    reload: Reload,
    /// The gateway was to start with a configuration that it refuses.
    is_refused: bool,
    /// Daemons that ended although nobody told them to.
    died: Vec<&'static str>,
}

struct Running {
    shutdown: Shutdown,
    task: TaskHandle<Result<(), String>>,
}

/// What is given to [`Programs::new`] beside the world.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) recorder: Recorder,
    pub(super) node: SharedNode,
    pub(super) node_options: HostOptions,
    pub(super) node_changes: watch::Receiver<u64>,
    pub(super) pool_mode: watch::Receiver<PoolMode>,
    pub(super) verdicts: watch::Receiver<Behaviour>,
}

impl Programs {
    pub(super) fn new(world: World, parts: Parts) -> Self {
        let Parts { settings, recorder, node, node_options, node_changes, pool_mode, verdicts } =
            parts;
        Self {
            world,
            settings,
            recorder,
            node,
            node_options,
            node_changes,
            pool_mode,
            verdicts,
            ledger: Ledger::default(),
            running: BTreeMap::new(),
            reload: Reload::new(),
            is_refused: false,
            died: Vec::new(),
        }
    }

    /// Starts everything but the miners.
    pub(super) fn start_all(&mut self) -> Result<(), RunError> {
        self.settings.install(&self.world);
        let mut hosts = vec!["bitcoind", "templates", "judge", "verifier", "pool"];
        if self.settings.has_second_verifier {
            hosts.extend(["judge-2", SECOND_VERIFIER]);
        }
        hosts.push("gateway");
        for name in hosts {
            let env = self.world.host(name).env();
            self.start(name, &env)?;
        }
        Ok(())
    }

    /// Starts what belongs on a host.
    fn start(&mut self, name: &'static str, env: &Env) -> Result<(), RunError> {
        self.see(HostSeen::Started { host: name.to_owned() });
        match name {
            "bitcoind" => self.start_node(env),
            "pool" => self.start_pool(env),
            "verifier" => self.start_verdict_link(env, "judge:5001", self.verdicts.clone(), 0),
            // Whatever the first does, the second is honest.
            SECOND_VERIFIER => {
                let honest = watch::Sender::new(Behaviour::default()).subscribe();
                self.start_verdict_link(env, "judge-2:5001", honest, SECOND_LINK);
            }
            daemon => self.start_daemon(daemon, env)?,
        }
        Ok(())
    }

    fn start_daemon(&mut self, name: &'static str, env: &Env) -> Result<(), RunError> {
        let shutdown = Shutdown::new();
        let (inner, stop) = (env.clone(), shutdown.clone());
        let task = match name {
            "gateway" => {
                let config = self.settings.gateway_config(env)?;
                let (source, reload) =
                    (self.settings.install_config(&self.world.host("gateway")), Reload::new());
                self.reload = reload.clone();
                env.tasks.spawn("gateway", async move {
                    let control = Control { shutdown: stop, reload, ..Control::default() };
                    let ended = gateway::run_reloadable(inner, config, source, control).await;
                    ended.map_err(|error| error.to_string())
                })
            }
            "judge" | "judge-2" => {
                let config = self.settings.verifier_config(env)?;
                env.tasks.spawn("verifier", async move {
                    verifier::run(inner, config, stop).await.map_err(|error| error.to_string())
                })
            }
            _ => {
                let config = self.settings.templates_config(env)?;
                env.tasks.spawn("templates", async move {
                    let ended = templates::run(inner, config, stop, platform::Reload::new()).await;
                    ended.map_err(|error| error.to_string())
                })
            }
        };
        self.running.insert(name, Running { shutdown, task });
        Ok(())
    }

    fn start_node(&self, env: &Env) {
        let (node, options) = (self.node.clone(), self.node_options.clone());
        let (changes, inner) = (self.node_changes.clone(), env.clone());
        env.tasks.spawn("node", async move {
            let served = host::serve_node(inner, "0.0.0.0:8332", node, options, changes).await;
            served.expect("the port of a simulated node is free");
        });
    }

    fn start_pool(&self, env: &Env) {
        let config = PoolConfig {
            listen: "0.0.0.0:9000".to_owned(),
            secret: self.settings.secrets.share_secret(),
            mode: self.pool_mode.clone(),
        };
        let (ledger, recorder) = (self.ledger.clone(), self.recorder.clone());
        let inner = env.clone();
        env.tasks.spawn("pool", async move {
            let served = pool::serve(inner, config, ledger, recorder).await;
            served.expect("the port of a simulated pool is free");
        });
    }

    fn start_verdict_link(
        &self,
        env: &Env,
        judge: &'static str,
        behaviour: watch::Receiver<Behaviour>,
        first_connection: u64,
    ) {
        let link = verdict_link::Ends {
            listen: "0.0.0.0:5001",
            verifier: judge,
            behaviour,
            first_connection,
        };
        let (recorder, inner) = (self.recorder.clone(), env.clone());
        env.tasks.spawn("verdict_link", async move {
            let served = verdict_link::serve(inner, link, recorder).await;
            served.expect("the port of a simulated verifier is free");
        });
    }

    /// Kills a host. One that is dead already stays so.
    pub(super) async fn crash(&mut self, host: &str, loss: Loss) {
        let crash = match loss {
            Loss::Kill => Crash::KILL,
            Loss::PowerLoss => Crash::POWER_LOSS,
            Loss::Replaced => Crash::REPLACED,
        };
        for name in hosts_of(host) {
            let host = self.world.host(name);
            if !host.is_up() {
                continue;
            }
            self.running.remove(name);
            self.is_refused &= *name != "gateway";
            self.died.retain(|died| died != name);
            host.crash(crash).await;
            self.see(HostSeen::Crashed { host: (*name).to_owned() });
        }
        if loss == Loss::Replaced {
            self.settings.install(&self.world);
        }
    }

    /// Starts a host again that was killed or has drained.
    pub(super) async fn restart(&mut self, host: &str) -> Result<(), RunError> {
        for name in hosts_of(host) {
            let host = self.world.host(name);
            if !host.is_up() {
                let env = host.restart();
                self.start_again(name, &env)?;
            } else if DAEMONS.contains(name) && !self.running.contains_key(name) {
                self.start_again(name, &host.env())?;
            } else if self.running.contains_key(name) {
                // It was told to drain. What has not ended by now is killed, as by a supervisor
                // whose patience is over.
                if self.running[name].shutdown.is_cancelled() {
                    let env = if host.live_tasks() == 0 {
                        self.end(name).await;
                        host.env()
                    } else {
                        self.running.remove(name);
                        host.crash(Crash::KILL).await;
                        self.see(HostSeen::Crashed { host: (*name).to_owned() });
                        host.restart()
                    };
                    self.start_again(name, &env)?;
                }
            }
        }
        Ok(())
    }

    /// Starts as a supervisor does: a gateway that refuses its configuration is started once that
    /// has changed.
    fn start_again(&mut self, name: &'static str, env: &Env) -> Result<(), RunError> {
        // Whoever was down and is started by the story waits no longer to be started.
        self.died.retain(|died| *died != name);
        match self.start(name, env) {
            Err(RunError::Config(error)) if name == "gateway" => {
                self.is_refused = true;
                self.see(HostSeen::Refused { host: name.to_owned(), error });
                Ok(())
            }
            started => started,
        }
    }

    /// Changes the gateway's configuration file and has it read again.
    pub(super) fn reload(&mut self, config: &str) -> Result<(), RunError> {
        self.settings.change_gateway(config)?;
        let host = self.world.host("gateway");
        self.settings.install_config(&host);
        self.reload.request();
        if std::mem::take(&mut self.is_refused) {
            self.start_again("gateway", &host.env())
        } else {
            Ok(())
        }
    }

    /// The machines behind a host's name.
    pub(super) fn machines(&self, host: &str) -> Vec<Host> {
        hosts_of(host).iter().map(|name| self.world.host(name)).collect()
    }

    /// Tells a daemon to drain, without waiting for it.
    pub(super) fn drain(&self, host: &str) {
        for name in hosts_of(host) {
            if let Some(running) = self.running.get(name) {
                running.shutdown.cancel();
            }
        }
    }

    /// Drains a daemon and writes down how it ended and what it left behind.
    pub(super) async fn end(&mut self, name: &'static str) {
        let Some(Running { shutdown, task }) = self.running.remove(name) else { return };
        shutdown.cancel();
        let error = match tokio::time::timeout(DRAIN_LIMIT, task).await {
            Ok(ended) => fault(ended),
            Err(_) => Some(format!("it did not end within {} s", DRAIN_LIMIT.as_secs())),
        };
        let host = self.world.host(name);
        if host.live_tasks() > 0 {
            tracing::warn!(host = name, tasks = ?host.task_names(), "tasks are left");
        }
        self.see(HostSeen::Ended {
            host: name.to_owned(),
            error,
            tasks: host.live_tasks(),
            sockets: host.open_sockets(),
            panics: host.panicked_tasks(),
        });
    }

    /// Writes down which daemons ended although nobody told them to, and starts again, as a
    /// supervisor does, those whose disk is whole.
    pub(super) async fn supervise(&mut self) -> Result<(), RunError> {
        for name in DAEMONS {
            let died = self.running.get(name).is_some_and(|running| {
                !running.shutdown.is_cancelled() && self.world.host(name).live_tasks() == 0
            });
            if !died {
                continue;
            }
            let Some(Running { task, .. }) = self.running.remove(name) else { continue };
            let error = fault(task.await).unwrap_or_else(|| "without an error".to_owned());
            self.see(HostSeen::Died { host: name.to_owned(), error });
            self.died.push(name);
        }
        let is_whole = |name: &&str| self.world.host(name).disk().faults() == DiskFaults::default();
        for name in self.died.extract_if(.., |name| is_whole(name)).collect::<Vec<_>>() {
            let env = self.world.host(name).env();
            self.start_again(name, &env)?;
        }
        Ok(())
    }

    /// Writes down how much each daemon holds.
    pub(super) fn note_load(&self) {
        for name in DAEMONS {
            if self.running.contains_key(name) {
                let host = self.world.host(name);
                let (tasks, sockets) = (host.live_tasks(), host.open_sockets());
                self.see(HostSeen::Load { host: name.to_owned(), tasks, sockets });
            }
        }
    }

    fn see(&self, what: HostSeen) {
        self.recorder.record(Seen::Host(what));
    }
}

/// What was wrong with a program's end.
fn fault(ended: Option<Result<(), String>>) -> Option<String> {
    match ended {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(error),
        None => Some("it panicked".to_owned()),
    }
}

/// The hosts behind a name of a scenario: the verifier sits behind the link that watches it.
fn hosts_of(name: &str) -> &'static [&'static str] {
    match name {
        "bitcoind" => &["bitcoind"],
        "gateway" => &["gateway"],
        "pool" => &["pool"],
        "templates" => &["templates"],
        "verifier" => &["judge", "verifier"],
        SECOND_VERIFIER => &["judge-2", SECOND_VERIFIER],
        _ => &[],
    }
}

/// A model of how long the node takes, which does not depend on what kind of node answers.
pub(super) fn node_delay(seed: u64) -> host::DelayModel {
    let draws = std::sync::Mutex::new(crate::scenario::Draws::new(seed, "node"));
    Arc::new(move |call| {
        let mut draws = draws.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (low, high) = match call.method {
            "getblocktemplate" => (800, 3_000),
            "submitblock" => (1_000, 4_000),
            _ => (200, 800),
        };
        Duration::from_micros(draws.between(low, high))
    })
}
