//! Takes block templates from bitcoind and hands them on.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use platform::{Env, Reload, Shutdown};
use templates::config::{Config, ConfigProblem, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Takes block templates from bitcoind and hands them on over HTTP.
#[derive(Parser)]
#[command(name = "template-manager", version)]
struct Arguments {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Reports every problem of the configuration and ends: 0 without problems, 2 with.
    #[arg(long)]
    check_config: bool,
    /// Prints the effective configuration, secrets redacted, and ends.
    #[arg(long)]
    print_config: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse()).await.unwrap_or_else(|error| {
        eprintln!("template-manager: {}", platform::in_full(error.as_ref()));
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let env = platform::real::env();
    let config = match read_config(&env, &arguments.config) {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                eprintln!("{}: {problem}", arguments.config.display());
            }
            return Ok(ExitCode::from(2));
        }
    };
    if arguments.print_config {
        print!("{}", config.print());
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check_config {
        println!("{}: no problems", arguments.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    start_log(&config);
    let (shutdown, reload) = (Shutdown::new(), Reload::new());
    heed_signals(&env, &shutdown, &reload)?;
    templates::run(env, config, shutdown, reload).await?;
    Ok(ExitCode::SUCCESS)
}

fn read_config(env: &Env, file: &Path) -> Result<Config, Vec<ConfigProblem>> {
    let problem = |problem| vec![ConfigProblem { key: "--config".to_owned(), problem }];
    let bytes = env.storage.read(file);
    let bytes = bytes.map_err(|error| problem(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| problem("cannot be read: it is not UTF-8".to_owned()))?;
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Config::from_toml(&text, &environment, env.storage.as_ref())
}

fn start_log(config: &Config) {
    let filter = EnvFilter::try_new(&config.log_filter);
    let filter = filter.expect("the filter was judged with the rest of the configuration");
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// SIGTERM and SIGINT end the daemon, SIGHUP has it read its certificate again.
fn heed_signals(env: &Env, shutdown: &Shutdown, reload: &Reload) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
    let mut hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be heard")?;
    let (shutdown, reload) = (shutdown.clone(), reload.clone());
    drop(env.tasks.spawn("signals", async move {
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => reload.request(),
            }
        }
        shutdown.cancel();
    }));
    Ok(())
}
