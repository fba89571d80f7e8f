//! What each verb runs, in order; the first failure ends it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::{mutants, tidy};

/// How long the gate tries each fuzz target.
const GATE_FUZZ_SECONDS: u64 = 10;
/// Runs of a sweep with many faults of many families, which the gate plays twice.
const STORMS: [&str; 2] = ["5@smoke", "5@prevhash-two-verifiers-one-dies"];
/// How `sim certify` ends where the machine was too busy to measure.
const INCONCLUSIVE: i32 = 5;

/// What holds tests: everything but the benches, which Valgrind runs (`cargo ci bench`).
const TESTED: [&str; 4] = ["--workspace", "--lib", "--bins", "--tests"];

/// Everything a change must pass.
pub(crate) fn test(root: &Path) -> Result<()> {
    let begun = Instant::now();
    cargo(root, "format", &["fmt", "--all", "--check"])?;
    lints(root)?;
    step("tidy", || tidy::check(root))?;
    ensure_nextest(root)?;
    build(root)?;
    let tests = [&["nextest", "run", "--no-fail-fast"][..], &TESTED].concat();
    cargo(root, "tests", &tests)?;
    cargo(root, "doc tests", &["test", "--workspace", "--doc", "--quiet"])?;
    let node = if node(root).is_ok() { "bitcoind" } else { "replay" };
    sim(root, "scenarios against their goldens", &["run", "all", "--node", node])?;
    if node == "bitcoind" {
        sim(root, "scenarios on recorded answers", &["run", "all", "--node", "replay"])?;
    }
    sim(root, "every code has its scenario", &["coverage"])?;
    sim(root, "determinism", &["twin", "reorg", "--node", "replay"])?;
    if node == "bitcoind" {
        sim(root, "the real programs, one of them killed", &["walk"])?;
        sim(root, "the real gateway under the suite", &["walk", "--conformance"])?;
    }
    println!("ci: all green in {} s", begun.elapsed().as_secs());
    Ok(())
}

/// Every fuzz target for so many seconds, from a seed that is the same each time.
pub(crate) fn fuzz_smoke(root: &Path, seconds: u64) -> Result<()> {
    build(root)?;
    let seconds = seconds.to_string();
    let program = target(root)?.join("debug/fuzz-targets");
    run(root, "fuzz targets", &program, &["--seconds", &seconds])
}

/// Changed bytes of real templates, judged by us and, where there is a node, by its proposal mode;
/// and drawn stories of chains, told by the embedded chain and by the node.
fn differences(root: &Path) -> Result<()> {
    ensure_nextest(root)?;
    step("mutated templates and drawn chains", || {
        let tests = "binary(mutation) or test(drawn_stories)";
        let status = Command::new("cargo")
            .args(["nextest", "run"])
            .args(TESTED)
            .args(["-E", tests])
            .env("ASSAY_MUTATIONS", "10000")
            .env("ASSAY_STORIES", "100")
            .current_dir(root)
            .status()
            .context("cargo does not start")?;
        if !status.success() {
            bail!("a difference ({status}); ASSAY_MUTATIONS=10000 ASSAY_STORIES=100 repeats it");
        }
        Ok(())
    })
}

/// What gates a change. It needs neither a real node nor the network.
pub(crate) fn gate(root: &Path, seeds: u64) -> Result<()> {
    let begun = Instant::now();
    let wrapper = mutants::Wrapper::keep(root)?;
    build(root)?;
    let junit = ["run", "all", "--node", "embedded", "--junit", "reports/junit.xml"];
    sim(root, "scenarios against their goldens", &junit)?;
    let seeds = seeds.to_string();
    sim(root, "the bug base and a sweep", &["sweep", "all", "--seeds", &seeds])?;
    sim(root, "determinism", &["twin", "reorg", "--node", "embedded"])?;
    for storm in STORMS {
        sim(root, "determinism in a storm", &["twin", storm])?;
    }
    fuzz_smoke(root, GATE_FUZZ_SECONDS)?;
    step("seeded bugs", || mutants::run(root, &wrapper, &["--smoke".to_owned()]))?;
    println!("ci: the gate is open after {} s", begun.elapsed().as_secs());
    Ok(())
}

/// What a night is for.
pub(crate) fn nightly(root: &Path, minutes: u64) -> Result<()> {
    let begun = Instant::now();
    let wrapper = mutants::Wrapper::keep(root)?;
    node(root)?;
    let record = ["run", "all", "--node", "bitcoind", "--record"];
    sim(root, "a real node, recorded anew", &record)?;
    sim(root, "the new recordings", &["run", "all", "--node", "replay"])?;
    sim(root, "the real programs, one of them killed", &["walk"])?;
    sim(root, "push beside polling", &["tip-lag"])?;
    let release = optimised(root)?;
    let against = ["twin", "all", "--node", "embedded", "--against", &release];
    sim(root, "determinism across optimisation", &against)?;
    let soak = ["run", "soak", "--node", "embedded"];
    run(root, "a day in virtual time", &release, &soak)?;
    differences(root)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let (minutes, first) = (minutes.to_string(), first_seed_of(now).to_string());
    println!("ci: tonight's seeds begin at {first}");
    let sweep = ["sweep", "all", "--minutes", &minutes, "--first", &first];
    run(root, "the bug base and a long sweep", &release, &sweep)?;
    certificate(root, &release)?;
    step("seeded bugs", || mutants::run(root, &wrapper, &[]))?;
    println!("ci: the night was quiet, {} s", begun.elapsed().as_secs());
    Ok(())
}

/// More seeds than a night has time for, so that no night plays those of another.
const SEEDS_A_NIGHT: u64 = 10_000_000;

/// The first seed of the night of this time since the Unix epoch.
fn first_seed_of(now: Duration) -> u64 {
    now.as_secs() / 86_400 * SEEDS_A_NIGHT
}

/// The promises, measured on the real programs. A machine that is too busy to measure has broken
/// none of them.
fn certificate(root: &Path, release: &str) -> Result<()> {
    step("a certificate", || {
        let status = Command::new(release).arg("certify").current_dir(root).status()?;
        match status.code() {
            Some(0) => {}
            Some(INCONCLUSIVE) => println!("ci: NO CERTIFICATE: this machine was too busy"),
            _ => bail!("`sim certify` failed ({status})"),
        }
        Ok(())
    })
}

/// The simulator as it is shipped, with every optimisation.
fn optimised(root: &Path) -> Result<String> {
    let arguments = ["build", "--workspace", "--bins", "--release", "--quiet"];
    cargo(root, "optimised build", &arguments)?;
    Ok(target(root)?.join("release/sim"))
}

/// The gateway beside another server under the same loads.
pub(crate) fn against(root: &Path, server: &str) -> Result<()> {
    let release = optimised(root)?;
    run(root, "ratios", &release, &["certify", "--against", server])
}

/// Other people's programs. It needs the package registry until they are in the cache, and a node.
pub(crate) fn interop(root: &Path, pool_sv2: bool) -> Result<()> {
    cargo(root, "build", &["build", "--workspace", "--bins", "--quiet"])?;
    if pool_sv2 {
        return sim(root, "the reference pool under the suite", &["interop", "--pool-sv2"]);
    }
    sim(root, "real bitcoind", &["node", "install"])?;
    sim(root, "other people's programs", &["interop"])
}

/// Makes a real regtest node available. Not having one is loud but no failure of `test`: the
/// scenarios then run on recorded answers.
pub(crate) fn node(root: &Path) -> Result<()> {
    build(root)?;
    let installed = sim(root, "real bitcoind", &["node", "install"]);
    if let Err(error) = &installed {
        println!("ci: ==================================================================");
        println!("ci: NO REAL BITCOIND ({error:#})");
        println!("ci: what follows runs on recorded answers and on the embedded chain");
        println!("ci: ==================================================================");
    }
    installed
}

fn lints(root: &Path) -> Result<()> {
    let arguments =
        ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    cargo(root, "lints", &arguments)
}

fn ensure_nextest(root: &Path) -> Result<()> {
    let present = Command::new("cargo").args(["nextest", "--version"]).output()?.status.success();
    if present {
        return Ok(());
    }
    cargo(root, "cargo-nextest (not installed yet)", &["install", "cargo-nextest", "--locked"])
}

/// Everything at once, so that what follows shares one set of features and builds nothing twice.
fn build(root: &Path) -> Result<()> {
    cargo(root, "build", &["build", "--workspace", "--all-targets", "--quiet"])
}

/// Runs the simulator that [`build`] made.
fn sim(root: &Path, name: &str, arguments: &[&str]) -> Result<()> {
    run(root, name, &target(root)?.join("debug/sim"), arguments)
}

/// Where Cargo puts what it builds.
pub(crate) fn target(root: &Path) -> Result<Target> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    Ok(Target(metadata.target_directory.into_string()))
}

/// The folder of everything built.
pub(crate) struct Target(String);

impl Target {
    /// A file in it.
    pub(crate) fn join(&self, file: &str) -> String {
        format!("{}/{file}", self.0)
    }
}

pub(crate) fn cargo(root: &Path, name: &str, arguments: &[&str]) -> Result<()> {
    run(root, name, "cargo", arguments)
}

fn run(root: &Path, name: &str, program: &str, arguments: &[&str]) -> Result<()> {
    step(name, || {
        let status = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .status()
            .with_context(|| format!("{program} does not start"))?;
        if !status.success() {
            bail!("`{program} {}` failed ({status})", arguments.join(" "));
        }
        Ok(())
    })
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("ci: {name} ...");
    let begun = Instant::now();
    work().with_context(|| format!("step \"{name}\""))?;
    println!("ci: {name} ok ({:.1} s)", begun.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_night_has_seeds_of_its_own() {
        let at = |hours: u64| first_seed_of(Duration::from_secs(hours * 3600));
        assert_eq!((at(2), at(23)), (0, 0));
        assert_eq!((at(24), at(48)), (SEEDS_A_NIGHT, 2 * SEEDS_A_NIGHT));
    }
}
