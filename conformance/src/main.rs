//! `conformance`: judges any SV2 mining server, and any SV2 miner, from outside.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use conformance::report::{Tally, failures, junit, lines, list, page, table};
use conformance::{
    ClientWaits, Hosting, Section, Selection, SuiteError, Target, Waits, rules_page,
};
use platform::Env;
use sv2_noise::{AuthorityPublicKey, AuthoritySecretKey};
use zeroize::Zeroizing;

/// Everything that binds is kept.
const CONFORMING: u8 = 0;
/// A rule is broken.
const BREACH: u8 = 1;
/// Nothing could be judged: the server is not there, or speaks otherwise.
const NOT_JUDGED: u8 = 3;

/// The black-box test suite for Stratum V2 mining servers, miners and proxies.
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
    /// Be a server, and judge the miner or proxy that connects. Ends as `run` does.
    Serve(Box<ServeArgs>),
    /// Show the cases.
    List(ListArgs),
}

#[derive(Args)]
struct ListArgs {
    /// As the page CASES.md, all of them.
    #[arg(long)]
    page: bool,
    /// The rules with their cases, as the page RULES.md.
    #[arg(long, conflicts_with = "page")]
    rules: bool,
    /// Those for clients.
    #[arg(long, conflicts_with = "page")]
    clients: bool,
    #[command(flatten)]
    selection: SelectionArgs,
}

#[derive(Args)]
struct SelectionArgs {
    /// Only this section: overview, security, channels, jobs, shares, extensions, timing,
    /// robustness; `mining` is channels, jobs and shares. Can be repeated.
    #[arg(long, value_parser = sections)]
    section: Vec<Sections>,
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
    /// Write what is not a plain pass there as a Markdown table.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
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
    #[arg(long, default_value_t = 75_000)]
    stall_ms: u64,
    #[command(flatten)]
    selection: SelectionArgs,
}

#[derive(Args)]
struct ServeArgs {
    /// Where clients are to connect, as HOST:PORT.
    #[arg(long, default_value = "127.0.0.1:34254")]
    listen: String,
    /// The authority's secret key as the file that `gateway gen-keys` writes has it; one is made
    /// up without it. Its public key, for the client, is told at the start.
    #[arg(long, value_name = "FILE")]
    authority_key_file: Option<PathBuf>,
    /// The client does not know the authority's key, and so accepts any.
    #[arg(long)]
    any_authority: bool,
    /// Hashes that a share takes on the average; by the client's hash rate without it.
    #[arg(long)]
    hashes_per_share: Option<u64>,
    /// Wait for the client to connect, in seconds.
    #[arg(long, default_value_t = 90)]
    arrival_s: u64,
    /// Wait for the messages before the first share, in seconds.
    #[arg(long, default_value_t = 30)]
    answer_s: u64,
    /// Wait for a share, in seconds.
    #[arg(long, default_value_t = 30)]
    share_s: u64,
    /// Wait for what must not come, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    quiet_ms: u64,
    /// SHOULD binds as MUST does.
    #[arg(long)]
    strict: bool,
    /// Write the outcomes there as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write what is not a plain pass there as a Markdown table.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    #[command(flatten)]
    selection: SelectionArgs,
}

/// What one `--section` selects.
type Sections = &'static [Section];

fn sections(text: &str) -> Result<Sections, String> {
    if text == "mining" {
        return Ok(&Section::MINING);
    }
    let named = Section::ALL.iter().position(|section| section.as_str() == text);
    named.map(|at| &Section::ALL[at..=at]).ok_or_else(|| {
        let known = Section::ALL.map(Section::as_str).join(", ");
        format!("{text} is no section; they are {known}, and mining for three of them")
    })
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Cli::parse().verb {
        Verb::Run(args) => run(&platform::real::env(), *args).await,
        Verb::Serve(args) => serve(&platform::real::env(), *args).await,
        Verb::List(args) => {
            let selection = args.selection.selection();
            match (args.page, args.clients) {
                _ if args.rules => print(&rules_page())?,
                (true, _) => print(&page())?,
                (false, false) => print(&list(&selection.cases()))?,
                (false, true) => print(&list(&selection.client_cases()))?,
            }
            Ok(ExitCode::from(CONFORMING))
        }
    }
}

impl SelectionArgs {
    fn selection(self) -> Selection {
        Selection { sections: self.section.concat(), ids: self.case }
    }
}

async fn run(env: &Env, args: RunArgs) -> Result<ExitCode> {
    let cases = args.selection.selection().cases();
    let from_ms = Duration::from_millis;
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
    let outcomes = conformance::run(env, &target, &cases, args.jobs, tell).await;
    let files = Files { junit: args.junit, table: args.table };
    conclude(env, &target.address, outcomes, args.strict, &files)
}

async fn serve(env: &Env, args: ServeArgs) -> Result<ExitCode> {
    let cases = args.selection.selection().client_cases();
    let authority = match &args.authority_key_file {
        None => AuthoritySecretKey::generate(&mut |out| env.rng.fill(out)),
        Some(file) => {
            let bytes = env.storage.read(file).with_context(|| file.display().to_string())?;
            let text = Zeroizing::new(String::from_utf8(bytes).context("the key is no text")?);
            AuthoritySecretKey::parse(text.trim()).with_context(|| file.display().to_string())?
        }
    };
    print(&format!("stratum2+tcp://{}/{}\n", args.listen, authority.public()))?;
    let hosting = Arc::new(Hosting {
        listen: args.listen,
        authority,
        client_knows_authority: !args.any_authority,
        hashes_per_share: args.hashes_per_share,
        waits: ClientWaits {
            arrival: Duration::from_secs(args.arrival_s),
            answer: Duration::from_secs(args.answer_s),
            share: Duration::from_secs(args.share_s),
            quiet: Duration::from_millis(args.quiet_ms),
        },
    });
    let tell = |outcome: &conformance::Outcome| drop(print(&lines(outcome)));
    let outcomes = conformance::serve(env, &hosting, &cases, tell).await;
    let name = format!("the client of {}", hosting.listen);
    let files = Files { junit: args.junit, table: args.table };
    conclude(env, &name, outcomes, args.strict, &files)
}

/// Where the outcomes are written.
struct Files {
    junit: Option<PathBuf>,
    table: Option<PathBuf>,
}

impl Files {
    fn write(
        &self,
        env: &Env,
        name: &str,
        outcomes: &[conformance::Outcome],
        strict: bool,
    ) -> Result<()> {
        let put = |file: &Path, text: String| {
            let written = env.storage.write_atomic(file, text.as_bytes());
            written.with_context(|| format!("cannot write {}", file.display()))
        };
        if let Some(file) = &self.junit {
            put(file, junit(name, outcomes, strict))?;
        }
        match &self.table {
            Some(file) => put(file, table(outcomes)),
            None => Ok(()),
        }
    }
}

/// Tells the numbers, writes the outcomes down, and says how the program ends.
fn conclude(
    env: &Env,
    name: &str,
    outcomes: Result<Vec<conformance::Outcome>, SuiteError>,
    strict: bool,
    files: &Files,
) -> Result<ExitCode> {
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => {
            print(&format!("not judged: {error}\n"))?;
            return Ok(ExitCode::from(NOT_JUDGED));
        }
    };
    let tally = Tally::of(&outcomes);
    print(&format!("\n{}{name}: {}\n", failures(&outcomes), tally.in_words()))?;
    files.write(env, name, &outcomes, strict)?;
    if tally.passed + tally.failed + tally.deviating == 0 {
        return Ok(ExitCode::from(NOT_JUDGED));
    }
    let is_conforming = tally.is_conforming(strict);
    Ok(ExitCode::from(if is_conforming { CONFORMING } else { BREACH }))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to the terminal")
}
