//! `fuzz-targets`: tries targets for longer than the tests do, and again on one input.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use fuzz_targets::{TARGETS, Target, check, named, smoke};
use platform::Storage;

/// Mutations between two looks at the clock.
const BATCH: usize = 500;

/// Tries the fuzz targets on seeds and seeded mutations of them.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// The targets; all of them without any.
    targets: Vec<String>,
    /// The first seed; each further batch takes the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to try each target, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Run this one input instead.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write the inputs to begin with into a folder for each target instead, for libFuzzer.
    #[arg(long, value_name = "DIR", conflicts_with = "input")]
    write_seeds: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let chosen: Vec<&Target> = match cli.targets.is_empty() {
        true => TARGETS.iter().collect(),
        false => {
            let find = |name: &String| {
                named(name).with_context(|| format!("no target {name}; there are {}", all_names()))
            };
            cli.targets.iter().map(find).collect::<Result<_>>()?
        }
    };
    for target in chosen {
        if let Some(file) = &cli.input {
            let input = platform::real::Disk.read(file)?;
            check(target, &input);
            println!("{}: {} keeps its promises", target.name, file.display());
            continue;
        }
        if let Some(directory) = &cli.write_seeds {
            write_seeds(target, &directory.join(target.name))?;
            continue;
        }
        let inputs = try_for(target, cli.seed, Duration::from_secs(cli.seconds));
        println!("{:<20} {inputs:>9} inputs: {}", target.name, target.about);
    }
    Ok(())
}

fn write_seeds(target: &Target, directory: &Path) -> Result<()> {
    let seeds = (target.seeds)();
    platform::real::Disk.create_dir_all(directory)?;
    for (index, seed) in seeds.iter().enumerate() {
        let file = directory.join(format!("seed-{index:02}"));
        platform::real::Disk
            .write_atomic(&file, seed)
            .with_context(|| file.display().to_string())?;
    }
    println!("{:<20} {:>9} seeds: {}", target.name, seeds.len(), directory.display());
    Ok(())
}

fn all_names() -> String {
    TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ")
}

#[allow(clippy::disallowed_methods)] // The clock of a tool, which outputs do not depend on.
fn try_for(target: &Target, first_seed: u64, time: Duration) -> usize {
    let begun = Instant::now();
    let mut inputs = 0;
    for seed in first_seed.. {
        inputs += smoke(target, Vec::new(), seed, BATCH);
        if begun.elapsed() >= time {
            break;
        }
    }
    inputs
}
