//! `sim twin`: the same run in two processes that have as little in common as can be.
//!
//! A plain run is played by `sim run`, a run of a sweep by `sim replay`, storm and all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{HARNESS, NOT_DETERMINISTIC, TwinArgs, replay, say};
use crate::scenario::{Catalogue, Scenario};
use crate::sweep::SeedAt;

/// The second process starts at least this long after the first.
const APART: Duration = Duration::from_secs(2);

/// What the runs leave, all of which must be equal.
const FILES: [&str; 4] = ["report.json", "events.ndjson", "trace.txt", "log.txt"];

/// Plays each scenario twice and compares the files.
pub(super) fn run(catalogue: &Catalogue, scenarios: &Path, args: &TwinArgs) -> Result<u8> {
    let exe = std::env::current_exe().context("this program cannot be found")?;
    let other = match &args.against {
        Some(other) => other.canonicalize().with_context(|| other.display().to_string())?,
        None => exe.clone(),
    };
    let scenarios = scenarios.canonicalize().with_context(|| scenarios.display().to_string())?;
    let mut code = 0;
    for (name, seed, verb) in runs(catalogue, args)? {
        let twin = Twin { name, seed, verb, scenarios: &scenarios };
        let Twin { name, seed, .. } = &twin;
        match twin.compare(&exe, &other)? {
            None => say(format!("{name}: identical (seed {seed})")),
            Some(difference) => {
                code = NOT_DETERMINISTIC;
                say(format!("{name}: NOT DETERMINISTIC (seed {seed})\n{difference}"));
            }
        }
    }
    Ok(code)
}

/// What is played twice: scenario, seed, and the verb that plays it with its arguments.
fn runs<'a>(catalogue: &'a Catalogue, args: &TwinArgs) -> Result<Vec<(&'a str, u64, Vec<String>)>> {
    if let Ok(SeedAt { seed, scenario }) = args.scenario.parse() {
        if args.seed.is_some() || args.node.is_some() {
            bail!("{} names its seed and plays on the embedded chain", args.scenario);
        }
        let scenario = replay::one(catalogue, &scenario)?;
        return Ok(vec![(&scenario.name, seed, vec!["replay".into(), args.scenario.clone()])]);
    }
    let run = |scenario: &'a Scenario| {
        let seed = args.seed.unwrap_or_else(|| scenario.sim.first_seed());
        let mut verb: Vec<String> =
            vec!["run".into(), scenario.name.clone(), "--seed".into(), seed.to_string()];
        verb.extend(["--no-golden", "-j", "1"].map(String::from));
        if let Some(node) = args.node.and_then(|node| node.to_possible_value()) {
            verb.extend(["--node".into(), node.get_name().to_owned()]);
        }
        (scenario.name.as_str(), seed, verb)
    };
    Ok(catalogue.select(&args.scenario)?.into_iter().map(run).collect())
}

struct Twin<'a> {
    name: &'a str,
    seed: u64,
    /// The verb of `sim`, and what it is given.
    verb: Vec<String>,
    scenarios: &'a Path,
}

impl Twin<'_> {
    /// What differs first.
    fn compare(&self, exe: &Path, other: &Path) -> Result<Option<String>> {
        let folder = Folder::new(self.name)?;
        let (one, two) = (folder.0.join("one"), folder.0.join("two"));
        let started = Instant::now();
        self.play(exe, &one, &[("TZ", "UTC")])?;
        // Programs that look at a clock see another second.
        std::thread::park_timeout(APART.saturating_sub(started.elapsed()));
        while started.elapsed() < APART {
            std::thread::park_timeout(APART.saturating_sub(started.elapsed()));
        }
        let environment =
            [("TZ", "Pacific/Chatham"), ("LANG", "tr_TR.UTF-8"), ("SIM_TWIN", "two"), ("A", "b")];
        self.play(other, &two, &environment)?;
        for name in FILES {
            let path = Path::new(self.name).join(self.seed.to_string()).join(name);
            let [first, second] = [&one, &two].map(|directory| {
                let path = directory.join("reports").join(&path);
                std::fs::read(&path).with_context(|| path.display().to_string())
            });
            if let Some(difference) = difference(name, &first?, &second?) {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }

    /// Plays it in a process whose current directory is `directory`.
    fn play(&self, exe: &Path, directory: &Path, environment: &[(&str, &str)]) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let mut command = Command::new(exe);
        command
            .args(&self.verb)
            .arg("--reports")
            .arg(directory.join("reports"))
            .arg("--scenarios")
            .arg(self.scenarios)
            .current_dir(directory)
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        let output = command.output().with_context(|| exe.display().to_string())?;
        // A property may fail; both runs must then fail alike.
        if output.status.code().is_none_or(|code| code == i32::from(HARNESS) || code > 100) {
            bail!(
                "{} ended with {}:\n{}{}",
                exe.display(),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

/// The first line that differs.
fn difference(name: &str, one: &[u8], two: &[u8]) -> Option<String> {
    if one == two {
        return None;
    }
    let lines = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes).lines().map(ToOwned::to_owned).collect()
    };
    let (one, two) = (lines(one), lines(two));
    let end = "(the file ends)".to_owned();
    let index = (0..one.len().max(two.len())).find(|index| one.get(*index) != two.get(*index))?;
    Some(format!(
        "{name}, line {}:\n- {}\n+ {}",
        index + 1,
        one.get(index).unwrap_or(&end),
        two.get(index).unwrap_or(&end)
    ))
}

/// A folder that goes away with its value.
struct Folder(PathBuf);

impl Folder {
    fn new(scenario: &str) -> Result<Self> {
        let name = format!("sim-twin-{}-{scenario}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_a_sweep_is_replayed_and_a_scenario_is_run() {
        let catalogue = Catalogue::load(&super::super::root().join("scenarios")).unwrap();
        let args = |scenario: &str, seed| TwinArgs {
            scenario: scenario.to_owned(),
            seed,
            node: None,
            against: None,
        };
        let verb = |args: &TwinArgs| {
            let runs = runs(&catalogue, args).unwrap();
            runs.into_iter().map(|(_, seed, verb)| (seed, verb.join(" "))).collect::<Vec<_>>()
        };
        assert_eq!(verb(&args("5@smoke", None)), [(5, "replay 5@smoke".to_owned())]);
        let run = "run standard --seed 7 --no-golden -j 1".to_owned();
        assert_eq!(verb(&args("standard", Some(7))), [(7, run)]);
        let error = runs(&catalogue, &args("5@smoke", Some(6))).unwrap_err();
        assert!(error.to_string().contains("names its seed"), "{error}");
    }

    #[test]
    fn the_first_line_that_differs_is_shown() {
        assert_eq!(difference("x", b"a\nb\n", b"a\nb\n"), None);
        let shown = difference("x", b"a\nb\nc\n", b"a\nB\nC\n").unwrap();
        assert_eq!(shown, "x, line 2:\n- b\n+ B");
        let shown = difference("x", b"a\n", b"a\nb\n").unwrap();
        assert_eq!(shown, "x, line 2:\n- (the file ends)\n+ b");
    }
}
