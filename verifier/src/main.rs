//! Judges block templates.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use platform::{Env, Reload, Shutdown};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use verifier::{Assume, Config, ConfigProblem, LogFormat, check_policy_file};

/// Judges block templates against policy and consensus.
#[derive(Parser)]
#[command(name = "verifier", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
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

#[derive(Subcommand)]
enum Command {
    /// Judges a saved template and shows each rule, its input, its limit and the result; ends with
    /// 0 if it is accepted, 1 if not, 2 if that cannot be told.
    Explain(Explain),
}

#[derive(Args)]
struct Explain {
    /// The template as /api/v1/template serves it.
    #[arg(long, value_name = "FILE")]
    template: PathBuf,
    /// The policy to judge by.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How old the template is taken to be.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    age_ms: u64,
    /// How many transactions the mempool is taken to hold; without it, nobody measured it.
    #[arg(long, value_name = "COUNT")]
    mempool_tx: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse()).await.unwrap_or_else(|error| {
        eprintln!("verifier: {}", platform::in_full(error.as_ref()));
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let env = platform::real::env();
    if let Some(Command::Explain(wanted)) = &arguments.command {
        return Ok(explain(&env, wanted).unwrap_or_else(|error| {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }));
    }
    let config = match read_config(&env, &arguments) {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                eprintln!("{}: {problem}", source_of(&arguments));
            }
            return Ok(ExitCode::from(2));
        }
    };
    if arguments.print_config {
        print!("{}", config.print());
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check_config {
        println!("{}: no problems", source_of(&arguments));
        return Ok(ExitCode::SUCCESS);
    }
    start_log(&config)?;
    let (shutdown, reload) = (Shutdown::new(), Reload::new());
    heed_signals(&env, &shutdown, &reload)?;
    verifier::run_reloadable(env, config, shutdown, reload).await?;
    Ok(ExitCode::SUCCESS)
}

fn explain(env: &Env, wanted: &Explain) -> Result<ExitCode> {
    let policy = check_policy_file(env.storage.as_ref(), &wanted.policy).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!(problems.join("\n"))
    })?;
    let template = &wanted.template;
    let lines = env.storage.read(template).with_context(|| template.display().to_string())?;
    let assume = Assume { age_ms: wanted.age_ms, mempool_tx: wanted.mempool_tx };
    let explanation = verifier::explain(&lines, &policy, assume)
        .with_context(|| template.display().to_string())?;
    print!("{explanation}");
    Ok(if explanation.verdict.accepted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn read_config(env: &Env, arguments: &Arguments) -> Result<Config, Vec<ConfigProblem>> {
    let unreadable = |why: String| vec![ConfigProblem::new("--config", why)];
    let text = match &arguments.config {
        None => String::new(),
        Some(file) => {
            let bytes = env.storage.read(file);
            let bytes = bytes.map_err(|error| unreadable(format!("cannot be read: {error}")))?;
            let text = String::from_utf8(bytes);
            text.map_err(|_| unreadable("cannot be read: it is not UTF-8".to_owned()))?
        }
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Config::checked(&text, &environment, env.storage.as_ref())
}

/// Where the configuration stands, for messages.
fn source_of(arguments: &Arguments) -> String {
    match &arguments.config {
        Some(file) => file.display().to_string(),
        None => "no --config file".to_owned(),
    }
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
