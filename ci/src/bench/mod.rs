//! What the hot paths cost, in instructions: counted under Valgrind, held to a baseline.
//!
//! A package takes part by a bench target of the name [`COUNTS`], written with gungraun. A count
//! depends on the compiler and on the processor that Valgrind presents, not on how busy the
//! machine is: two runs give the same to a thousandth.

mod baseline;
mod count;
mod tools;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use cargo_metadata::{Metadata, MetadataCommand, TargetKind};

use crate::steps;

use self::baseline::{Baseline, Comparison};
use self::tools::Tools;

/// The name of a bench target that counts instructions.
const COUNTS: &str = "instructions";
/// The name of a bench target that takes the time.
const TIMES: &str = "times";

/// What `cargo ci bench` is asked for.
#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// These packages only
    packages: Vec<String>,
    /// Takes the counts as the baseline that later runs are held to
    #[arg(long)]
    bless: bool,
    /// Instead: tells how long the same takes on this machine, which is held to nothing
    #[arg(long, conflicts_with = "bless")]
    times: bool,
    /// Instead: measures the gateway and another server in turn, on real sockets
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["packages", "bless", "times"])]
    against: Option<String>,
}

pub(crate) fn run(root: &Path, arguments: &BenchArgs) -> Result<()> {
    if let Some(server) = &arguments.against {
        return steps::against(root, server);
    }
    let metadata = MetadataCommand::new().current_dir(root).exec()?;
    if arguments.times {
        return take_times(root, &packages(&metadata, TIMES, &arguments.packages)?);
    }
    let packages = packages(&metadata, COUNTS, &arguments.packages)?;
    let tools = Tools::ready(&metadata)?;
    let here = tools.environment()?;
    let counts = count::all(root, &tools, &packages)?;
    let mut baseline = Baseline::read(root)?;
    let comparison = Comparison::new(&baseline, &here, &counts, &packages);
    print!("{comparison}");
    if arguments.bless {
        ensure!(
            arguments.packages.is_empty() || baseline.goes_with(&here),
            "the baseline was measured with another compiler or processor; bless all packages"
        );
        baseline.take(here, counts, &packages);
        return baseline.write(root);
    }
    match comparison.breaches() {
        0 => Ok(()),
        count => bail!(
            "{count} counts are not what {} says; if they should be, `cargo ci bench --bless`",
            baseline::FILE
        ),
    }
}

/// Runs the benches that take the time; they print what they find.
fn take_times(root: &Path, packages: &[String]) -> Result<()> {
    packages.iter().try_for_each(|package| {
        let arguments = ["bench", "--quiet", "--package", package, "--bench", TIMES];
        steps::cargo(root, &format!("how long {package} takes"), &arguments)
    })
}

/// The names of the packages that have a bench target of this name.
fn packages(metadata: &Metadata, target: &str, wanted: &[String]) -> Result<Vec<String>> {
    let members = metadata.workspace_packages();
    let mut found: Vec<String> = members
        .into_iter()
        .filter(|package| {
            package
                .targets
                .iter()
                .any(|found| found.name == target && found.kind.contains(&TargetKind::Bench))
        })
        .map(|package| package.name.to_string())
        .collect();
    found.sort();
    if let Some(unknown) = wanted.iter().find(|name| !found.contains(name)) {
        bail!("{unknown} has no bench `{target}`; these do: {}", found.join(", "));
    }
    if !wanted.is_empty() {
        found.retain(|name| wanted.contains(name));
    }
    Ok(found)
}
