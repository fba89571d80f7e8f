//! What the hot paths cost, in instructions: counted under Valgrind, held to a baseline.
//!
//! A package takes part by a bench target of the name [`TARGET`], written with gungraun. A count
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
const TARGET: &str = "instructions";

/// What `cargo ci bench` is asked for.
#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// These packages only
    packages: Vec<String>,
    /// Takes the counts as the baseline that later runs are held to
    #[arg(long)]
    bless: bool,
    /// Instead: measures the gateway and another server in turn, on real sockets
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["packages", "bless"])]
    against: Option<String>,
}

pub(crate) fn run(root: &Path, arguments: &BenchArgs) -> Result<()> {
    if let Some(server) = &arguments.against {
        return steps::against(root, server);
    }
    let metadata = MetadataCommand::new().current_dir(root).exec()?;
    let packages = packages(&metadata, &arguments.packages)?;
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

/// The names of the packages that take part.
fn packages(metadata: &Metadata, wanted: &[String]) -> Result<Vec<String>> {
    let members = metadata.workspace_packages();
    let mut found: Vec<String> = members
        .into_iter()
        .filter(|package| {
            package
                .targets
                .iter()
                .any(|target| target.name == TARGET && target.kind.contains(&TargetKind::Bench))
        })
        .map(|package| package.name.to_string())
        .collect();
    found.sort();
    if let Some(unknown) = wanted.iter().find(|name| !found.contains(name)) {
        bail!("{unknown} counts no instructions; these do: {}", found.join(", "));
    }
    if !wanted.is_empty() {
        found.retain(|name| wanted.contains(name));
    }
    Ok(found)
}
