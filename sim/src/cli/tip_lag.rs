//! `sim tip-lag`: how fast new tips become templates at a gateway.

use std::time::Duration;

use anyhow::{Context, Result};
use platform::real;

use super::{FAILED, TipLagArgs, say};
use crate::node;
use crate::tip_lag::{self, Options};

pub(super) fn run(args: &TipLagArgs) -> Result<u8> {
    let found = node::find().context("no bitcoind is here; `sim node install` fetches one")?;
    let options = Options {
        bitcoind: found.exe,
        tips: args.tips,
        transactions: args.transactions,
        poll_interval: Duration::from_millis(args.poll_interval_ms.into()),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let env = real::env();
    let report = runtime.block_on(async {
        let report = tip_lag::run(&env, &options).await;
        env.tasks.end().await;
        report
    })?;
    say(&report);
    Ok(if report.holds() { 0 } else { FAILED })
}
