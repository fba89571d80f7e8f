//! The reference pool under our suite: the peer to compare a gateway with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::base58;
use platform::Env;
use sv2_noise::{AuthorityPublicKey, AuthoritySecretKey};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::install::{POOL, ensure};
use super::template_provider::Provider;
use super::{InteropError, Options};
use crate::walk::process::{Programs, Running};
use crate::walk::{self, WalkError, site};

const PROGRAM: &str = "pool_sv2";
const SUITE: &str = "conformance";
/// Cases that run side by side.
const SUITE_JOBS: &str = "8";
/// The suite waits so long for the pool to end a connection that stalls.
const SUITE_STALL_MS: &str = "75000";
/// The time between two tips while it is judged.
const TIP_INTERVAL: Duration = Duration::from_secs(15);
/// How often the pool's port is tried.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the suite said of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// How many cases it passes and fails.
    pub numbers: String,
    /// A page with every case that is not a plain pass.
    pub page: String,
}

/// Starts the pool on a template provider of ours and judges it by the suite. Two to ten minutes.
///
/// # Errors
/// When it cannot be judged. What it fails is no error.
pub fn judge_pool(
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Judged, InteropError> {
    let theirs = Programs::at(ensure(&[POOL], progress)?);
    let ours = Programs::find(options.programs.as_deref(), true)?;
    let keep = options.keep;
    Ok(walk::on_this_machine(async |env| judge(&env, &ours, &theirs, keep, progress).await)?)
}

async fn judge(
    env: &Env,
    ours: &Programs,
    theirs: &Programs,
    keep: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Judged, WalkError> {
    let folder = site::folder(keep)?;
    let (_, tip_interval) = watch::channel(TIP_INTERVAL);
    let provider = Provider { tip_interval, announce: Arc::new(|_| ()) };
    progress(&format!("starting {PROGRAM} on a template provider"));
    let pool = Pool::start(env, theirs, folder.path(), provider, SUITE_MANNERS).await?;
    let (miners, authority) = (pool.address.clone(), pool.authority.to_string());
    progress("the suite judges it");
    let arguments = [
        "run",
        "--target",
        &miners,
        "--authority-key",
        &authority,
        "--jobs",
        SUITE_JOBS,
        "--stall-ms",
        SUITE_STALL_MS,
        "--table",
        "table.md",
    ];
    let (suite, status) =
        tokio::task::block_in_place(|| ours.run_to_its_end(SUITE, &arguments, folder.path()))?;
    // 0 it conforms, 1 it does not; anything else is no judgement.
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(suite.ended_badly(status, "while it judged the pool"));
    }
    let log = suite.log();
    let numbers = log.lines().next_back().unwrap_or_default().to_owned();
    let table = folder.path().join("table.md");
    let table = std::fs::read_to_string(&table)
        .map_err(|source| WalkError::machine(table.display().to_string(), source))?;
    let page = format!(
        "# {} {} under the suite\n\n`cargo ci interop --pool-sv2` makes this page. Cases that the \
         pool passes are left out.\n\n{table}",
        POOL.package, POOL.version
    );
    Ok(Judged { numbers, page })
}

/// How the pool treats its miners.
pub(crate) struct Manners {
    /// Shares that it wants of each in a minute: with their hash rate, its difficulty.
    pub(crate) shares_per_minute: f64,
    /// Shares in one acknowledgement.
    pub(crate) share_batch_size: u32,
    /// What it writes to its log.
    pub(crate) log_level: &'static str,
}

/// Shares take a few thousand hashes at the hash rate that the suite states.
const SUITE_MANNERS: Manners =
    Manners { shares_per_minute: 60.0, share_batch_size: 1, log_level: "info" };

/// A running pool; dropping it ends it.
pub(crate) struct Pool {
    running: Running,
    /// Where it takes miners.
    pub(crate) address: String,
    /// Whom its certificate is from.
    pub(crate) authority: AuthorityPublicKey,
}

impl Pool {
    /// Starts one in `folder` on a template provider, and waits until it listens.
    pub(crate) async fn start(
        env: &Env,
        theirs: &Programs,
        folder: &Path,
        provider: Provider,
        manners: Manners,
    ) -> Result<Self, WalkError> {
        let [source, address] = site::free_ports::<2>(env).await?.map(site::loopback);
        let provide = provider.serve(env.clone(), source.clone());
        drop(env.tasks.spawn("template_provider", async move {
            if let Err(error) = provide.await {
                tracing::error!(%error, "the template provider does not listen");
            }
        }));
        let mut secret = Zeroizing::new([0; 32]);
        env.rng.fill(secret.as_mut());
        let secret = Zeroizing::new(base58::encode_check(secret.as_ref()));
        let authority = AuthoritySecretKey::parse(&secret)
            .map_err(|error| WalkError::Violated(error.to_string()))?
            .public();
        let text = config(&address, &source, &authority.to_string(), &secret, &manners);
        site::write(folder, "pool.toml", &text)?;
        let mut running = Running::default();
        let log_level = format!("RUST_LOG={}", manners.log_level);
        let arguments = ["--config", "pool.toml"];
        running.add(theirs.start_behind(&["env", &log_level], PROGRAM, &arguments, folder)?);
        let listens = async || match env.net.connect(&address).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tokio::time::sleep(LOOK_AGAIN).await;
                Err(error.to_string())
            }
        };
        running.until("the pool to listen", PROGRAM, listens).await?;
        Ok(Self { running, address, authority })
    }

    /// That it runs; else how it ended, and the end of its log.
    pub(crate) fn runs(&mut self) -> Result<(), WalkError> {
        self.running.all_run("under load")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.pid(PROGRAM)
    }
}

fn config(
    miners: &str,
    provider: &str,
    authority: &str,
    secret: &str,
    manners: &Manners,
) -> String {
    let Manners { shares_per_minute, share_batch_size, .. } = manners;
    format!(
        r#"authority_public_key = "{authority}"
authority_secret_key = "{secret}"
cert_validity_sec = 3600
listen_address = "{miners}"
coinbase_reward_script = "wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)"
server_id = 1
pool_signature = "pool_sv2"
shares_per_minute = {shares_per_minute:?}
share_batch_size = {share_batch_size}
supported_extensions = [2]

[template_provider_type.Sv2Tp]
address = "{provider}"
"#
    )
}
