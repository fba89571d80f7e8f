//! `gateway run`: the daemon, with the others in the same process where that is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gateway::config::LogFormat;
use gateway::{Config, ConfigSource, Control};
use platform::Env;
use platform::real::ServiceManager;
use tracing_subscriber::EnvFilter;

use super::companions::{self, CompanionArgs, Plan};

/// What a wrong configuration exits with.
const EXIT_CONFIG: u8 = 2;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The configuration, TOML; environment variables GATEWAY__SECTION__KEY override it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Checks the configuration, names every problem, and exits (2 with problems).
    #[arg(long)]
    check_config: bool,
    /// Prints the effective configuration, secrets redacted, and exits.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    companions: CompanionArgs,
}

pub(crate) async fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let env = platform::real::env();
    let source = ConfigSource { file: args.config.clone(), environment: environment() };
    let (config, plan) = match load(args, &source, &env) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    if args.print_config {
        print!("{}", config.print());
        return Ok(ExitCode::SUCCESS);
    }
    if args.check_config {
        println!("{source}: no problems");
        return Ok(ExitCode::SUCCESS);
    }
    init_logs(&config)?;
    let control = Control::default();
    let reloads = companions::Reloads::default();
    drop(env.tasks.spawn("signals", heed_signals(control.clone(), reloads.clone())?));
    if let Some(manager) = ServiceManager::from_environment() {
        drop(env.tasks.spawn("service_manager", report_to(manager, control.clone())));
    }
    let gateway = gateway::run_reloadable(env.clone(), config, source, control.clone());
    companions::run_beside(plan, &env, &control.shutdown, reloads, gateway).await?;
    Ok(ExitCode::SUCCESS)
}

/// Every configuration that is needed, or every problem of all of them.
fn load(args: &RunArgs, source: &ConfigSource, env: &Env) -> Result<(Config, Plan), Vec<String>> {
    match (source.load(env), args.companions.load(&source.environment, env)) {
        (Ok(config), Ok(plan)) => Ok((config, plan)),
        (config, plan) => {
            let problems = [config.err(), plan.err()];
            Err(problems.into_iter().flatten().flatten().collect())
        }
    }
}

/// The environment of the process. A variable that is not Unicode is none of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn init_logs(config: &Config) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    let filter = EnvFilter::try_new(&config.telemetry.log_filter)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.telemetry.log_format {
        LogFormat::Human => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

/// SIGTERM and SIGINT drain the gateway, SIGHUP has it and its companions read their
/// configuration, policy and certificates again.
fn heed_signals(
    control: Control,
    companions: companions::Reloads,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    control.reload.request();
                    companions.request();
                }
            }
        }
        control.shutdown.cancel();
    })
}

/// Tells the service manager of the start and of the drain, whoever asked for it, and all along
/// that the runtime still runs tasks.
async fn report_to(manager: ServiceManager, control: Control) {
    control.started.cancelled().await;
    manager.ready();
    let (interval, mut is_stopping) = (manager.watchdog_interval(), false);
    loop {
        let alive = async {
            match interval {
                Some(interval) => tokio::time::sleep(interval).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = control.shutdown.cancelled(), if !is_stopping => {
                is_stopping = true;
                manager.stopping();
            }
            () = alive => manager.alive(),
        }
    }
}
