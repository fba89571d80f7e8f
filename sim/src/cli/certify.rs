//! The certificate of a gateway under load.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{FAILED, root, say};
use crate::certify::{self, Options, Outcome, Outside};

/// The machine was too busy to say anything.
const INCONCLUSIVE: u8 = 5;

#[derive(Args)]
pub(super) struct CertifyArgs {
    /// A gateway that runs already, instead of programs started here
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// Its pool's authority key; without it any certificate will do
    #[arg(long, value_name = "KEY", requires = "gateway")]
    authority_key: Option<String>,
    /// What miners' names begin with at such a gateway
    #[arg(long, default_value = "miner-", requires = "gateway")]
    identity: String,
    /// How many miners
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    miners: u32,
    /// How many of them connect in a second
    #[arg(long, default_value_t = 100.0, value_name = "RATE")]
    connects_per_sec: f64,
    /// Seconds between two shares of one miner, on average
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    share_interval: f64,
    /// How many minutes are measured
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Seconds of load before anything is measured
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    warm_up: f64,
    /// Seconds between two new tips
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", conflicts_with = "gateway")]
    tip_interval: f64,
    /// Transactions in each template
    #[arg(long, default_value_t = 100, conflicts_with = "gateway")]
    transactions: usize,
    /// The gateway's `log.sync`
    #[arg(long, default_value = "group", value_parser = ["group", "write"], conflicts_with = "gateway")]
    log_sync: String,
    /// Sends shares as fast as they are answered, so many in each write
    #[arg(long, value_name = "SHARES", conflicts_with = "share_interval", value_parser = clap::value_parser!(u32).range(1..=256))]
    burst: Option<u32>,
    /// Measures every target of our own in turn and shows them in one table, under loads of its own
    #[arg(long, conflicts_with_all = ["gateway", "burst"])]
    targets: bool,
    /// Loads the gateway at several sizes in turn, and shows how costs grow
    #[arg(long, conflicts_with_all = ["gateway", "burst", "targets", "against"])]
    curves: bool,
    /// Measures the gateway and another server in turn under the same loads, and shows the ratios;
    /// the table is `reports/against_pool_sv2.md`
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["gateway", "burst", "targets"])]
    against: Option<Peer>,
    /// The folder of `gateway`, `verifier` and `template-manager`; default: beside this program
    #[arg(long, value_name = "DIR", conflicts_with = "gateway")]
    programs: Option<PathBuf>,
    /// Where the certificate goes; default: `reports/certificate` in the source tree
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
}

pub(super) fn run(args: CertifyArgs) -> Result<u8> {
    let directory =
        args.reports.clone().unwrap_or_else(|| root().join("reports").join("certificate"));
    if args.targets {
        return targets(args.programs.as_deref(), &directory);
    }
    if args.curves {
        let programs = args.programs.as_deref();
        let curves = certify::curves(programs, &mut |step| say(format!("certify: {step}")))?;
        say(format!("\n{curves}"));
        return Ok(0);
    }
    if let Some(Peer::PoolSv2) = args.against {
        return versus(args.programs.as_deref());
    }
    let options = options(args)?;
    if cfg!(debug_assertions) {
        say("a debug build is measured; `cargo build --release` makes what a certificate is about");
    }
    let report = certify::run(&options, &mut |step| say(format!("certify: {step}")))?;
    let page = report.write(&directory).context("the certificate cannot be written")?;
    say(format!("\n{}", report.certificate));
    say(format!("report  {}", page.display()));
    Ok(match report.certificate.outcome {
        Outcome::Passed | Outcome::PassedPublished => 0,
        Outcome::Failed => FAILED,
        Outcome::Inconclusive => INCONCLUSIVE,
    })
}

/// Servers to measure against.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Peer {
    /// The reference implementation's pool.
    #[value(name = "pool_sv2")]
    PoolSv2,
}

fn versus(programs: Option<&Path>) -> Result<u8> {
    let versus = certify::versus(programs, &mut |step| say(format!("certify: {step}")))?;
    let path = root().join("reports").join("against_pool_sv2.md");
    std::fs::write(&path, versus.page()).context("the table cannot be written")?;
    say(format!("\n{versus}"));
    say(format!("report  {}", path.display()));
    Ok(if versus.is_conclusive() { 0 } else { INCONCLUSIVE })
}

fn targets(programs: Option<&Path>, directory: &Path) -> Result<u8> {
    let targets = certify::targets(programs, &mut |step| say(format!("certify: {step}")))?;
    std::fs::create_dir_all(directory).context("the reports' folder cannot be made")?;
    let path = directory.join("targets.json");
    std::fs::write(&path, targets.json()).context("the table cannot be written")?;
    say(format!("\n{targets}"));
    say(format!("report  {}", path.display()));
    Ok(if targets.hold() { 0 } else { FAILED })
}

fn options(args: CertifyArgs) -> Result<Options> {
    ensure!(args.connects_per_sec > 0.0, "--connects-per-sec: it must be more than 0");
    let seconds = |name: &str, value: f64| {
        let valid = Duration::try_from_secs_f64(value).ok().filter(|time| !time.is_zero());
        valid.with_context(|| format!("--{name}: {value} is no time; it must be more than 0"))
    };
    let gateway = match args.gateway {
        None => None,
        Some(address) => {
            let authority = args.authority_key.as_deref().map(str::parse).transpose();
            let authority = authority.context("--authority-key")?;
            Some(Outside { address, authority, identity: args.identity })
        }
    };
    Ok(Options {
        gateway,
        programs: args.programs,
        miners: args.miners,
        connects_per_second: args.connects_per_sec,
        share_interval: seconds("share-interval", args.share_interval)?,
        duration: seconds("minutes", args.minutes * 60.0)?,
        warm_up: seconds("warm-up", args.warm_up)?,
        tip_interval: seconds("tip-interval", args.tip_interval)?,
        transactions: args.transactions,
        log_sync: args.log_sync,
        burst: args.burst,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: CertifyArgs,
    }

    fn parse(arguments: &str) -> Result<Options> {
        options(
            Only::try_parse_from(std::iter::once("certify").chain(arguments.split_whitespace()))?
                .args,
        )
    }

    #[test]
    fn the_defaults_start_the_programs_here() {
        let options = parse("").unwrap();
        assert!(options.gateway.is_none());
        assert_eq!((options.miners, options.duration), (100, Duration::from_secs(60)));
    }

    #[rstest]
    #[case("--connects-per-sec 0", "--connects-per-sec")]
    #[case("--minutes 0", "--minutes: 0")]
    #[case("--warm-up nan", "--warm-up: NaN")]
    #[case("--gateway a:1 --authority-key zz", "--authority-key")]
    #[case("--gateway a:1 --transactions 5", "--transactions")]
    #[case("--log-sync never", "--log-sync")]
    fn bad_options_are_named(#[case] arguments: &str, #[case] name: &str) {
        let error = format!("{:#}", parse(arguments).unwrap_err());
        assert!(error.contains(name), "{error}");
    }
}
