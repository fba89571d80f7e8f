//! Runs the benches and reads what they count.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::COUNTS;
use super::baseline::Counts;
use super::tools::Tools;

/// The counts of every bench of these packages.
pub(super) fn all(root: &Path, tools: &Tools, packages: &[String]) -> Result<Counts> {
    let mut counts = Counts::new();
    for package in packages {
        println!("ci: counting the instructions of {package} ...");
        let output = Command::new("cargo")
            .args(["bench", "--quiet", "--package", package, "--bench", COUNTS, "--"])
            .arg("--output-format=json")
            .env("GUNGRAUN_RUNNER", &tools.runner)
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo does not start")?;
        if !output.status.success() {
            bail!("the benches of {package} failed ({})", output.status);
        }
        let text = String::from_utf8(output.stdout).context("the runner's output")?;
        let found = read(package, &text)?;
        if found.is_empty() {
            bail!("the benches of {package} counted nothing");
        }
        counts.extend(found);
    }
    Ok(counts)
}

/// The counts in the runner's output: one JSON object a bench.
fn read(package: &str, text: &str) -> Result<Counts> {
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| {
            let bench: Value = serde_json::from_str(line).context("the runner's output")?;
            let function = bench["function_name"].as_str().unwrap_or_default();
            let case = bench["id"].as_str().map(|id| format!("::{id}")).unwrap_or_default();
            let name = format!("{package}::{function}{case}");
            let count = instructions(&bench)
                .with_context(|| format!("{name}: no instructions in {}", bench["profiles"]))?;
            Ok((name, count))
        })
        .collect()
}

/// `Ir` of Callgrind in this run; beside it may stand that of the run before.
fn instructions(bench: &Value) -> Option<u64> {
    let mut profiles = bench["profiles"].as_array()?.iter();
    let values = profiles
        .find_map(|profile| profile["data"]["total"]["metrics"]["Ir"].as_object())?
        .get("values")?;
    values.get("new").unwrap_or(values).as_u64()
}
