//! The reference pool under the same load, by the same miners.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use platform::Env;
use tokio::sync::watch;
use tokio::time::Instant;

use super::certificate::Certificate;
use super::course::{end, idly, put, shown};
use super::load::{Load, loopback_sources};
use super::machine::Machine;
use super::tips::Tips;
use super::{CertifyError, Options};
use crate::interop::template_provider::Provider;
use crate::interop::{Manners, Pool};
use crate::walk::process::Programs;
use crate::walk::site;

/// Each hash is a share at the hash rate that miners of a load state, as it is with our gateway;
/// it acknowledges as it does by default, and does not log.
const MANNERS: Manners =
    Manners { shares_per_minute: 60e6, share_batch_size: 10, log_level: "error" };

/// No tip comes while miners connect: the pool ends when one meets a connection that is not yet set
/// up (`TemplateIdNotFound`), and our gateway's load has none then either.
const NO_TIPS: Duration = Duration::from_secs(3600);

/// Starts the pool on a template provider whose tips come as `options` say, and loads it.
pub(super) async fn load(
    env: &Env,
    options: &Options,
    theirs: &Programs,
    progress: &mut dyn FnMut(&str),
) -> Result<Certificate, CertifyError> {
    let machine = Machine::look();
    let folder = site::folder(false)?;
    let tips = Arc::new(TipBell::default());
    let bell = Arc::clone(&tips);
    let announce = Arc::new(move |hash| bell.ring(hash));
    let (rhythm, tip_interval) = watch::channel(NO_TIPS);
    let provider = Provider { tip_interval, announce };
    let mut pool = Pool::start(env, theirs, folder.path(), provider, MANNERS).await?;
    let load = Arc::new(Load::new(
        loopback_sources(env),
        pool.address.clone(),
        Some(pool.authority),
        site::MINER_PREFIX.to_owned(),
        options.share_interval,
        options.burst,
        Tips::default(),
    ));
    tips.hang(&load);
    let busy = async {
        rhythm.send_replace(options.tip_interval);
        idly(options).await
    };
    let uses = put(&load, options, pool.pid(), progress, busy).await;
    pool.runs()?;
    let uses = uses?;
    let (counts, measures) = end(&load, progress).await;
    env.tasks.abort_all();
    let used = uses.used(options, counts.shares_accepted);
    let shown = shown(options, &pool.address, &counts);
    Ok(Certificate::new(machine, shown, counts, Some(used), &measures))
}

/// Tells a load of tips, once there is one.
#[derive(Default)]
struct TipBell(OnceLock<Arc<Load>>);

impl TipBell {
    fn hang(&self, load: &Arc<Load>) {
        let is_first = self.0.set(Arc::clone(load)).is_ok();
        assert!(is_first, "a bell hangs once");
    }

    /// A tip that nobody measures is none.
    fn ring(&self, hash: [u8; 32]) {
        if let Some(load) = self.0.get().filter(|load| load.is_measuring()) {
            load.begin_tip(hash, Instant::now());
        }
    }
}
