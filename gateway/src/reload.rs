//! Reading the configuration again while miners are served.

use std::sync::Arc;

use gateway_core::event::{ConfigReloaded, Event};
use gateway_core::prevhash;
use platform::tls::Identity;
use platform::{Env, Shutdown};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::admission::Admission;
use crate::app::settings::{session_settings, switch_settings};
use crate::board::{Board, Signal};
use crate::clock::Clock;
use crate::config::{Class, Config, ConfigSource, tls_identity};
use crate::connection::Serving;
use crate::live::Live;
use crate::noise_identity;
use crate::recorder::Recorder;

/// Asks a running gateway to read its configuration again.
#[derive(Clone, Default)]
pub struct Reload(Arc<Notify>);

impl Reload {
    /// Nothing is asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks. A configuration with problems is refused as a whole, and the old one stays.
    pub fn request(&self) {
        self.0.notify_one();
    }
}

/// Whoever wants to know how a reload ends sends one of these.
pub(crate) type ReloadRequest = oneshot::Sender<Outcome>;

/// How a reload ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Whether the new configuration is in force.
    pub(crate) applied: bool,
    /// Keys whose value changed.
    pub(crate) changed: Vec<String>,
    /// Those that keep their old value until a restart.
    pub(crate) restart_required: Vec<String>,
    /// What is wrong with the new configuration.
    pub(crate) problems: Vec<String>,
}

impl Outcome {
    fn refused(problems: Vec<String>) -> Self {
        Self { applied: false, changed: Vec::new(), restart_required: Vec::new(), problems }
    }
}

/// Reads the configuration again when asked, and puts it in force.
pub(crate) struct Reloader {
    pub(crate) env: Env,
    /// Absent where the gateway was given its configuration by a program.
    pub(crate) source: Option<ConfigSource>,
    pub(crate) live: Live,
    pub(crate) serving: watch::Sender<Arc<Serving>>,
    /// What HTTPS is served with.
    pub(crate) tls: watch::Sender<Option<Identity>>,
    pub(crate) board: Arc<Board>,
    pub(crate) switch: mpsc::Sender<prevhash::Input>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) clock: Clock,
}

impl Reloader {
    /// Runs until `stop`.
    pub(crate) async fn run(
        self,
        asked: Reload,
        mut requests: mpsc::Receiver<ReloadRequest>,
        stop: Shutdown,
    ) {
        loop {
            let request = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(request) = requests.recv() => Some(request),
                () = asked.0.notified() => None,
            };
            let outcome = self.reload().await;
            self.report(&outcome);
            if let Some(request) = request {
                // Whoever asked may have left.
                let _ = request.send(outcome);
            }
        }
    }

    async fn reload(&self) -> Outcome {
        let Some(source) = &self.source else {
            let problem = "the gateway was started without a configuration file; start it again";
            return Outcome::refused(vec![problem.to_owned()]);
        };
        let mut new = match source.load(&self.env) {
            Ok(new) => new,
            Err(problems) => return Outcome::refused(problems),
        };
        let old = self.live.now();
        let (changed, waiting): (Vec<_>, Vec<_>) = {
            let changed = new.changed_from(&old);
            let waiting = changed.iter().filter(|key| key.class() == Class::Restart);
            let waiting = waiting.map(|key| key.path.to_owned()).collect();
            (changed.iter().map(|key| key.path.to_owned()).collect(), waiting)
        };
        if let Err(problem) = new.keep_until_restart(&old) {
            return Outcome::refused(vec![format!("{source}: {problem}")]);
        }
        let serving = match serving(&new, &self.env) {
            Ok(serving) => Arc::new(serving),
            Err(error) => return Outcome::refused(vec![format!("{source}: noise: {error}")]),
        };
        let tls = match tls_identity(&new, self.env.storage.as_ref()) {
            Ok(tls) => tls,
            Err(problem) => return Outcome::refused(vec![format!("{source}: {problem}")]),
        };
        self.tls.send_replace(tls);
        self.put_in_force(Arc::new(new), &old, serving).await;
        Outcome { applied: true, changed, restart_required: waiting, problems: Vec::new() }
    }

    async fn put_in_force(&self, new: Arc<Config>, old: &Config, serving: Arc<Serving>) {
        self.live.replace(Arc::clone(&new));
        self.admission.set_limits(&new.limits);
        self.board.post(Signal::Settings(Arc::clone(&serving.settings)));
        self.serving.send_replace(serving);
        let settings = prevhash::Input::Settings(switch_settings(&new));
        let mode = (new.gateway.mode != old.gateway.mode).then_some(new.gateway.mode);
        for input in [Some(settings), mode.map(prevhash::Input::Mode)].into_iter().flatten() {
            // The switch only ends with the gateway.
            let _ = self.switch.send(input).await;
        }
    }

    fn report(&self, outcome: &Outcome) {
        let Outcome { applied, changed, restart_required, problems } = outcome.clone();
        if applied {
            tracing::info!(?changed, ?restart_required, "configuration reloaded");
        } else {
            tracing::error!(?problems, "configuration not reloaded: the old one stays in force");
        }
        let timestamp_ms = self.clock.now().unix_ms;
        self.recorder.note(Event::ConfigReloaded(ConfigReloaded {
            applied,
            changed,
            restart_required,
            problems,
            timestamp_ms,
        }));
    }
}

/// What new connections are served with under this configuration.
pub(crate) fn serving(
    config: &Config,
    env: &Env,
) -> Result<Serving, noise_identity::IdentityError> {
    let identity =
        config.noise.as_ref().map(|noise| noise_identity::load(noise, env)).transpose()?;
    let settings = Arc::new(session_settings(config));
    Ok(Serving { settings, identity, handshake_timeout: config.handshake_timeout })
}
