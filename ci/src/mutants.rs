//! A build with the seeded bugs in it.
//!
//! The bugs exist under `--cfg sim_mutants`. Passed as flags for every crate it would build all
//! dependencies anew; so this program wraps the compiler for the workspace's own crates, and Cargo
//! keeps both builds beside each other.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::steps::target;

/// What to build: the simulator alone, with the features that the build of everything has. A test
/// is among it because only then Cargo counts what tests ask for; else dependencies are built anew.
const BUILD: [&str; 7] = ["build", "--workspace", "--bin", "sim", "--test", "worlds", "--quiet"];
/// Set for the compiler wrapper and for nobody else.
const WRAPS: &str = "ASSAY_CI_WRAPS_RUSTC";

/// This program, kept where builds do not replace it: they put another build of it in its place
/// while it runs.
pub(crate) struct Wrapper(PathBuf);

impl Wrapper {
    /// Keeps it; before anything is built.
    pub(crate) fn keep(root: &Path) -> Result<Self> {
        let this = std::env::current_exe().context("this program cannot be found")?;
        let kept = PathBuf::from(target(root)?.join("debug/ci-wraps-rustc"));
        std::fs::copy(this, &kept).with_context(|| format!("{}", kept.display()))?;
        Ok(Self(kept))
    }
}

/// Builds the simulator with the bugs and runs `sim mutants` with these arguments.
pub(crate) fn run(root: &Path, wrapper: &Wrapper, arguments: &[String]) -> Result<()> {
    let program = build(root, wrapper)?;
    let status = Command::new(&program)
        .arg("mutants")
        .args(arguments)
        .current_dir(root)
        .status()
        .with_context(|| format!("{} does not start", program.display()))?;
    if !status.success() {
        bail!("`sim mutants {}` failed ({status})", arguments.join(" "));
    }
    Ok(())
}

/// Builds it under a name of its own, and then the ordinary one again, which only takes its place.
fn build(root: &Path, wrapper: &Wrapper) -> Result<PathBuf> {
    cargo_build(root, Some(&wrapper.0))?;
    let target = target(root)?;
    let program = PathBuf::from(target.join("debug/sim-mutants"));
    std::fs::copy(target.join("debug/sim"), &program).context("the program was not built")?;
    cargo_build(root, None)?;
    Ok(program)
}

fn cargo_build(root: &Path, wrapper: Option<&Path>) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(BUILD).current_dir(root);
    if let Some(wrapper) = wrapper {
        // A cache of compilations (RUSTC_WRAPPER) would not know this program as a compiler.
        cargo.env("RUSTC_WORKSPACE_WRAPPER", wrapper).env("RUSTC_WRAPPER", "").env(WRAPS, "1");
    }
    let status = cargo.status().context("cargo does not start")?;
    if !status.success() {
        bail!("the build failed ({status})");
    }
    Ok(())
}

/// Where Cargo calls this program as the compiler's wrapper: compiles with the bugs.
pub(crate) fn as_compiler() -> Option<ExitCode> {
    std::env::var_os(WRAPS)?;
    let mut arguments = std::env::args_os().skip(1);
    let compiler = arguments.next()?;
    let status = Command::new(compiler).args(arguments).args(["--cfg", "sim_mutants"]).status();
    let succeeded = status.is_ok_and(|status| status.success());
    Some(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
