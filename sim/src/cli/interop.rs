//! Other people's programs.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{FAILED, root, say};
use crate::interop::{MINING_DEVICE, Options, POOL, TRANSLATOR, ensure, judge_pool};

#[derive(Args)]
pub(super) struct InteropArgs {
    /// The folder of `gateway`, `verifier`, `template-manager` and `conformance`; default: beside
    /// this program
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Keeps configuration and logs
    #[arg(long)]
    keep: bool,
    /// Instead: the suite judges the reference pool, which need not pass
    #[arg(long)]
    pool_sv2: bool,
    /// Only builds the programs into the cache
    #[arg(long, conflicts_with = "pool_sv2")]
    install: bool,
}

pub(super) fn run(args: &InteropArgs) -> Result<u8> {
    let mut progress = |step: &str| say(format!("interop: {step}"));
    if args.install {
        let folder = ensure(&[MINING_DEVICE, TRANSLATOR, POOL], &mut progress)?;
        say(format!("interop: the programs are in {}", folder.display()));
        return Ok(0);
    }
    let options = Options { programs: args.programs.clone(), bitcoind: None, keep: args.keep };
    if args.pool_sv2 {
        let judged = judge_pool(&options, &mut progress)?;
        let file = root().join("reports").join("pool_sv2.md");
        std::fs::write(&file, &judged.page)
            .with_context(|| format!("{} cannot be written", file.display()))?;
        say(judged.numbers);
        say(format!("interop: the table is {}", file.display()));
        return Ok(0);
    }
    let table = crate::interop::run(&options, &mut progress)?;
    say(table.to_string().trim_end());
    Ok(if table.holds() { 0 } else { FAILED })
}
