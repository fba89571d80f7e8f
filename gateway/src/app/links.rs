//! The switch, the links that feed it, and the probe of the pool.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use gateway_core::prevhash::{Input, Switch};
use platform::{Shutdown, TaskHandle};
use tokio::sync::{mpsc, watch};

use super::door::probe_pool;
use super::parts::Common;
use super::settings::switch_settings;
use super::task_group::TaskGroup;
use crate::blocks::template_client;
use crate::config::Config;
use crate::limits::{LONG_POLL_MOST, SWITCH_WAITING_INPUTS};
use crate::live::Live;
use crate::switch::SwitchTask;
use crate::template_link::{Payouts, TemplateLink};
use crate::verifier_link::{Proposals, VerifierLink};

/// What the link to the template source is made with.
const SOURCE_KEYS: [&str; 7] = [
    "gateway.https_ca_file",
    "gateway.upstream_api_key",
    "gateway.coinbase_tag",
    "gateway.payout_outputs",
    "timing.upstream_poll_interval_ms",
    "timing.upstream_health_timeout_ms",
    "timing.upstream_stale_max_ms",
];
/// What the links to the verifiers are made with.
const VERIFIER_KEYS: [&str; 5] = [
    "gateway.verifier_addr",
    "gateway.verifier_tls_cert_file",
    "gateway.verifier_tls_key_file",
    "gateway.verifier_tls_ca_file",
    "timing.verifier_heartbeat_interval_ms",
];

/// Whether the other programs can be reached.
pub(super) struct LinksUp {
    pub(super) source: Arc<AtomicBool>,
    pub(super) verifier: Arc<AtomicBool>,
    pub(super) pool: watch::Receiver<bool>,
}

/// The running links.
pub(super) struct Links {
    pub(super) up: LinksUp,
    pub(super) switch: mpsc::Sender<Input>,
    pub(super) tasks: Vec<TaskHandle<()>>,
}

/// Starts them; they end at `stop`.
pub(super) fn start(common: &Common, clients: &TaskGroup, stop: &Shutdown) -> Links {
    let (pool_up, pool) = watch::channel(false);
    let up = LinksUp { source: Arc::default(), verifier: Arc::default(), pool };
    let (switch, inbox) = mpsc::channel(SWITCH_WAITING_INPUTS);
    let proposals = Arc::new(Proposals::new(Arc::clone(&up.verifier)));
    let (config, now) = (common.live.now(), common.clock.now());
    let task = SwitchTask {
        switch: Switch::new(switch_settings(&config), Arc::clone(&common.shared), now),
        clock: common.clock.clone(),
        board: Arc::clone(&common.board),
        proposals: Arc::clone(&proposals),
        recorder: Arc::clone(&common.recorder),
        metrics: Arc::clone(&common.metrics),
    };
    let source = source_link(common, clients, switch.clone(), &up.source);
    let verifiers = verifier_links(common, proposals, switch.clone());
    let probe = probe_pool(Arc::clone(&common.env.net), common.live.clone(), pool_up, stop.clone());
    let live = common.live.clone();
    let tasks = vec![
        common.spawn("switch", task.run(inbox, stop.clone())),
        common.spawn("template_link", renew(live.clone(), &SOURCE_KEYS, stop.clone(), source)),
        common.spawn("verifier_link", renew(live, &VERIFIER_KEYS, stop.clone(), verifiers)),
        common.spawn("pool_probe", probe),
    ];
    Links { up, switch, tasks }
}

/// Runs what `begin` makes until `stop`, and ends it and begins anew whenever one of `keys` changes.
async fn renew<F: Future<Output = ()>>(
    live: Live,
    keys: &[&str],
    stop: Shutdown,
    begin: impl Fn(&Config, Shutdown) -> F,
) {
    let mut changes = live.follow();
    let mut config = changes.now();
    loop {
        let until = stop.child_token();
        let mut running = pin!(begin(&config, until.clone()));
        let next = tokio::select! {
            biased;
            () = running.as_mut() => return,
            next = changes.until_changed(&config, keys) => next,
        };
        until.cancel();
        running.await;
        config = next;
    }
}

fn source_link(
    common: &Common,
    clients: &TaskGroup,
    switch: mpsc::Sender<Input>,
    is_up: &Arc<AtomicBool>,
) -> impl Fn(&Config, Shutdown) -> BoxedRun + Send + use<> {
    let (client_env, cpu) = (clients.env(&common.env), Arc::clone(&common.env.cpu));
    let rng = Arc::clone(&common.env.rng);
    let (is_up, newest_id) = (Arc::clone(is_up), Arc::default());
    move |config, stop| {
        let (gateway, timing) = (&config.gateway, &config.timing);
        let payouts = Payouts::new(gateway.coinbase_tag.clone(), gateway.payout_outputs.clone());
        let link = TemplateLink {
            client: template_client(config, &client_env),
            cpu: Arc::clone(&cpu),
            rng: Arc::clone(&rng),
            switch: switch.clone(),
            payouts: Arc::new(payouts),
            poll_interval: timing.upstream_poll_interval,
            // Several signs of life within the time after which the source counts as gone.
            long_poll: (timing.upstream_stale_max / 3).min(LONG_POLL_MOST),
            is_up: Arc::clone(&is_up),
            newest_id: Arc::clone(&newest_id),
        };
        Box::pin(link.run(stop))
    }
}

/// A link to each verifier; they run side by side.
fn verifier_links(
    common: &Common,
    proposals: Arc<Proposals>,
    switch: mpsc::Sender<Input>,
) -> impl Fn(&Config, Shutdown) -> BoxedRun + Send + use<> {
    let (env, clock, live) = (common.env.clone(), common.clock.clone(), common.live.clone());
    let (instance, metrics) = (common.shared.instance().clone(), Arc::clone(&common.metrics));
    move |config, stop| {
        let link = |address: &String| VerifierLink {
            env: env.clone(),
            clock: clock.clone(),
            address: address.clone(),
            tls: config.gateway.verifier_tls.clone(),
            live: live.clone(),
            instance: instance.clone(),
            heartbeat_interval: config.timing.verifier_heartbeat_interval,
            proposals: Arc::clone(&proposals),
            switch: switch.clone(),
            metrics: Arc::clone(&metrics),
        };
        let addresses = config.gateway.verifier_addrs.iter();
        let links: Vec<_> = addresses.map(|address| link(address).run(stop.clone())).collect();
        Box::pin(join_all(links).map(drop))
    }
}

type BoxedRun = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
