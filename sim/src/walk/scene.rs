//! A stage with a pool that credits, and with the gateway's events read: all that is said is
//! written down.

use std::time::Duration;

use tokio::sync::watch;

use super::stage::Stage;
use super::{WalkError, relay, site};
use crate::actors::events;
use crate::actors::observe::Recorder;
use crate::actors::pool::{self, Ledger, PoolConfig};
use crate::scenario::PoolMode;

/// What there is while a story goes on.
pub(crate) struct Scene<'a> {
    pub(crate) stage: Stage<'a>,
    /// What miners and pool see, and what programs wrote in the end.
    pub(crate) recorder: Recorder,
    /// The event stream of the gateway that runs, from event 1.
    pub(crate) stream: Recorder,
    /// Whether the pool's answers are held back.
    pub(crate) hold: watch::Sender<bool>,
    _pool_mode: watch::Sender<PoolMode>,
}

impl<'a> Scene<'a> {
    /// A pool that listens.
    pub(crate) fn open(stage: Stage<'a>) -> Self {
        let (hold, held) = watch::channel(false);
        let (pool_mode, mode) = watch::channel(PoolMode::Ok);
        let (recorder, stream) = (Recorder::new(), Recorder::new());
        let scene = Self { stage, recorder, stream, hold, _pool_mode: pool_mode };
        scene.open_pool(mode, held);
        scene
    }

    fn open_pool(&self, mode: watch::Receiver<PoolMode>, held: watch::Receiver<bool>) {
        let Stage { site, env, .. } = &self.stage;
        let listen = site::loopback(site.ports.pool);
        let config = PoolConfig { listen: listen.clone(), secret: site.share_secret.clone(), mode };
        let pool = pool::serve(env.clone(), config, Ledger::default(), self.recorder.clone());
        let relay_port = site::loopback(site.ports.relay);
        let relay = relay::serve(env.clone(), relay_port, listen, held);
        drop(env.tasks.spawn("pool", async move {
            tokio::select! {
                biased;
                ended = pool => tracing::error!(?ended, "the pool does not listen"),
                ended = relay => tracing::error!(?ended, "the relay does not listen"),
            }
        }));
    }

    /// Keys, configuration, `gateway` in place of keys of the gateway's, and the three programs. The
    /// time until the gateway was ready.
    pub(crate) async fn start_programs(&mut self, gateway: &str) -> Result<Duration, WalkError> {
        self.stage.prepare(gateway).await?;
        self.start_gateway().await
    }

    /// The time until it was ready. Its event stream is read anew from the first event.
    pub(crate) async fn start_gateway(&mut self) -> Result<Duration, WalkError> {
        let took = self.stage.start_gateway().await?;
        self.stream = Recorder::new();
        let (env, base) = (self.stage.env.clone(), self.stage.gateway_url());
        let follow = events::follow(env, base, None, self.stream.clone());
        drop(self.stage.env.tasks.spawn("event_reader", follow));
        Ok(took)
    }
}
