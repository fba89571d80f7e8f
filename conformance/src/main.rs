//! `conformance`: judges any SV2 mining server from outside.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use conformance::report::{Tally, junit, lines, list, page};
use conformance::{Section, Selection, SuiteError, Target, Waits};
use platform::Env;
use sv2_noise::AuthorityPublicKey;

/// Everything that binds is kept.
const CONFORMING: u8 = 0;
/// A rule is broken.
const BREACH: u8 = 1;
/// Nothing could be judged: the server is not there, or speaks otherwise.
const NOT_JUDGED: u8 = 3;

/// The black-box test suite for Stratum V2 mining servers.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Judge a server. Ends with 0 when it conforms, 1 when not, 3 when it cannot be judged.
    Run(Box<RunArgs>),
    /// Show the cases.
    List(ListArgs),
}

#[derive(Args)]
struct ListArgs {
    /// As the page CASES.md, all of them.
    #[arg(long)]
    page: bool,
    #[command(flatten)]
    selection: SelectionArgs,
}

#[derive(Args)]
struct SelectionArgs {
    /// Only this section: overview, security, channels, jobs, shares, extensions, robustness.
    /// Can be repeated.
    #[arg(long, value_parser = section)]
    section: Vec<Section>,
    /// Only the cases whose id is this or begins with it, such as OV-30 or OV-30a. Can be repeated.
    #[arg(long)]
    case: Vec<String>,
}

#[derive(Args)]
struct RunArgs {
    /// The server, as HOST:PORT.
    #[arg(long)]
    target: String,
    /// The authority key that the server's certificate must be signed with, in its text form.
    #[arg(long)]
    authority_key: Option<AuthorityPublicKey>,
    /// The server speaks without Noise.
    #[arg(long)]
    plaintext: bool,
    /// Who opens the channels; the server must know this miner.
    #[arg(long, default_value = "conformance")]
    user_identity: String,
    /// SHOULD binds as MUST does.
    #[arg(long)]
    strict: bool,
    /// Write the outcomes there as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Cases that run side by side; each has connections of its own.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Hashes to spend on one share at most.
    #[arg(long, default_value_t = 1 << 22)]
    grind_budget: u32,
    /// Wait for an answer or a close, in milliseconds.
    #[arg(long, default_value_t = 5_000)]
    answer_ms: u64,
    /// Wait for what must not come, in milliseconds.
    #[arg(long, default_value_t = 400)]
    quiet_ms: u64,
    /// Wait for a server to end a connection that stalls, in milliseconds.
    #[arg(long, default_value_t = 30_000)]
    stall_ms: u64,
    #[command(flatten)]
    selection: SelectionArgs,
}

fn section(text: &str) -> Result<Section, String> {
    Section::ALL.into_iter().find(|section| section.as_str() == text).ok_or_else(|| {
        let known = Section::ALL.map(Section::as_str).join(", ");
        format!("{text} is no section; they are {known}")
    })
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Cli::parse().verb {
        Verb::Run(args) => run(&platform::real::env(), *args).await,
        Verb::List(args) => {
            match args.page {
                true => print(&page())?,
                false => print(&list(&args.selection.selection().cases()))?,
            }
            Ok(ExitCode::from(CONFORMING))
        }
    }
}

impl SelectionArgs {
    fn selection(self) -> Selection {
        Selection { sections: self.section, ids: self.case }
    }
}

async fn run(env: &Env, args: RunArgs) -> Result<ExitCode> {
    let cases = args.selection.selection().cases();
    let from_ms = std::time::Duration::from_millis;
    let target = Arc::new(Target {
        address: args.target,
        authority: args.authority_key,
        plaintext: args.plaintext,
        user_identity: args.user_identity,
        grind_budget: args.grind_budget,
        waits: Waits {
            answer: from_ms(args.answer_ms),
            quiet: from_ms(args.quiet_ms),
            stall: from_ms(args.stall_ms),
        },
    });
    // A reader that goes away, such as `head`, does not end the run.
    let tell = |outcome: &conformance::Outcome| drop(print(&lines(outcome)));
    let outcomes = match conformance::run(env, &target, &cases, args.jobs, tell).await {
        Ok(outcomes) => outcomes,
        Err(error @ (SuiteError::Unreachable { .. } | SuiteError::NothingSelected)) => {
            print(&format!("not judged: {error}\n"))?;
            return Ok(ExitCode::from(NOT_JUDGED));
        }
        Err(error) => return Err(error.into()),
    };
    let tally = Tally::of(&outcomes);
    print(&format!("\n{}: {}\n", target.address, tally.in_words()))?;
    if let Some(file) = &args.junit {
        let xml = junit(&target.address, &outcomes);
        env.storage
            .write_atomic(file, xml.as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let is_conforming = tally.is_conforming(args.strict);
    Ok(ExitCode::from(if is_conforming { CONFORMING } else { BREACH }))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to the terminal")
}
