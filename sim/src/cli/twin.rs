//! `sim twin`: the same run in two processes that have as little in common as can be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{HARNESS, NOT_DETERMINISTIC, NodeArg, TwinArgs, say};
use crate::scenario::{Catalogue, Scenario};

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
    for scenario in catalogue.select(&args.scenario)? {
        let twin = Twin {
            scenario,
            seed: args.seed.unwrap_or_else(|| scenario.sim.first_seed()),
            node: args.node,
            scenarios: &scenarios,
        };
        match twin.compare(&exe, &other)? {
            None => say(format!("{}: identical (seed {})", scenario.name, twin.seed)),
            Some(difference) => {
                code = NOT_DETERMINISTIC;
                let (name, seed) = (&scenario.name, twin.seed);
                say(format!("{name}: NOT DETERMINISTIC (seed {seed})\n{difference}"));
            }
        }
    }
    Ok(code)
}

struct Twin<'a> {
    scenario: &'a Scenario,
    seed: u64,
    node: Option<NodeArg>,
    scenarios: &'a Path,
}

impl Twin<'_> {
    /// What differs first.
    fn compare(&self, exe: &Path, other: &Path) -> Result<Option<String>> {
        let folder = Folder::new(&self.scenario.name)?;
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
            let path = Path::new(&self.scenario.name).join(self.seed.to_string()).join(name);
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

    /// Runs the scenario in a process whose current directory is `directory`.
    fn play(&self, exe: &Path, directory: &Path, environment: &[(&str, &str)]) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let mut command = Command::new(exe);
        command
            .arg("run")
            .arg(&self.scenario.name)
            .args(["--seed", &self.seed.to_string(), "--no-golden", "-j", "1", "--reports"])
            .arg(directory.join("reports"))
            .arg("--scenarios")
            .arg(self.scenarios)
            .current_dir(directory)
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        if let Some(node) = self.node.and_then(|node| node.to_possible_value()) {
            command.args(["--node", node.get_name()]);
        }
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
    fn the_first_line_that_differs_is_shown() {
        assert_eq!(difference("x", b"a\nb\n", b"a\nb\n"), None);
        let shown = difference("x", b"a\nb\nc\n", b"a\nB\nC\n").unwrap();
        assert_eq!(shown, "x, line 2:\n- b\n+ B");
        let shown = difference("x", b"a\n", b"a\nb\n").unwrap();
        assert_eq!(shown, "x, line 2:\n- (the file ends)\n+ b");
    }
}
