//! The mining gateway.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::files::{self, GenKeysArgs, GenTlsArgs, ReferenceArgs};
use crate::cli::serve::{self, RunArgs};
use crate::cli::status::{self, StatusArgs, TargetArgs};
use crate::cli::top;

/// The Stratum V2 mining gateway.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves miners (also without a verb).
    Run(RunArgs),
    /// Tells how a running gateway stands; ends with 1 where it is not ready.
    Status(StatusArgs),
    /// Shows how a running gateway stands, again every second.
    Top(TargetArgs),
    /// Makes the keys with which miners are served.
    GenKeys(GenKeysArgs),
    /// Makes a self-signed certificate for HTTPS during development.
    GenTls(GenTlsArgs),
    /// Writes the reference pages and the example configurations.
    Reference(ReferenceArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.verb {
        None => serve::run(&cli.run).await,
        Some(Verb::Run(args)) => serve::run(&args).await,
        Some(Verb::Status(args)) => status::status(&args).await,
        Some(Verb::Top(args)) => top::top(&args).await,
        Some(Verb::GenKeys(args)) => files::gen_keys(&args),
        Some(Verb::GenTls(args)) => files::gen_tls(&args),
        Some(Verb::Reference(args)) => files::write_reference(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("gateway: {}", platform::in_full(error.as_ref()));
        ExitCode::FAILURE
    })
}
