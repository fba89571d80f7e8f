//! Judges block templates.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use platform::{Env, Shutdown};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use verifier::{Config, ConfigProblem, LogFormat, Reload, check_policy_file};

/// Judges block templates against policy and consensus.
#[derive(Parser)]
#[command(name = "verifier", version)]
struct Arguments {
    /// The configuration file (TOML); without one everything has its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Reports every problem of the configuration and of the policy file and ends: 0 without
    /// problems, 2 with.
    #[arg(long)]
    check_config: bool,
    /// Prints the effective configuration, secrets redacted, and ends.
    #[arg(long)]
    print_config: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let env = platform::real::env();
    let config = match read_config(&env, &arguments) {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            return Ok(ExitCode::from(2));
        }
    };
    if arguments.print_config {
        print!("{}", config.print());
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check_config {
        println!("no problems");
        return Ok(ExitCode::SUCCESS);
    }
    start_log(&config)?;
    let (shutdown, reload) = (Shutdown::new(), Reload::new());
    heed_signals(&env, &shutdown, &reload)?;
    verifier::run_reloadable(env, config, shutdown, reload).await?;
    Ok(ExitCode::SUCCESS)
}

fn read_config(env: &Env, arguments: &Arguments) -> Result<Config, Vec<ConfigProblem>> {
    let unreadable = |error: &dyn std::fmt::Display| {
        vec![ConfigProblem::new("--config", format!("cannot be read: {error}"))]
    };
    let text = match &arguments.config {
        None => String::new(),
        Some(file) => {
            let bytes = env.storage.read(file).map_err(|error| unreadable(&error))?;
            String::from_utf8(bytes).map_err(|error| unreadable(&error))?
        }
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = Config::from_toml(&text, &environment, env.storage.as_ref())?;
    let mut problems = Vec::new();
    if let Err(error) = EnvFilter::try_new(&config.log_filter) {
        problems.push(ConfigProblem::new("log_filter", error.to_string()));
    }
    if let Some(file) = &config.policy_file
        && let Err(found) = check_policy_file(env.storage.as_ref(), file)
    {
        problems.extend(found);
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn start_log(config: &Config) -> Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&config.log_filter)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// SIGTERM and SIGINT end the daemon, SIGHUP has it read its policy again.
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
