//! `sim verify-load`: how late verdicts are under a fixed rate.

use std::time::Duration;

use anyhow::{Context, Result};
use platform::real;

use super::{FAILED, VerifyLoadArgs, say};
use crate::verify_load::{Load, full, offered};

pub(super) fn run(args: VerifyLoadArgs) -> Result<u8> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let env = real::env();
        let (load, own) = match args.verifier {
            Some(verifier) => (Load { env, verifier, http: args.http }, None),
            None => {
                let (load, own) = Load::with_own_verifier(&env).await?;
                (load, Some(own))
            }
        };
        let held = match args.full {
            Some(count) => {
                let report = full::run(&load, count).await?;
                say(&report);
                report.holds()
            }
            None => {
                let offer = offered::Offer {
                    rate: args.rate,
                    time: Duration::from_secs(args.seconds.into()),
                    links: args.links,
                    swaps: args.swaps,
                };
                let report = offered::run(&load, offer).await?;
                say(&report);
                report.holds()
            }
        };
        if let Some(own) = own {
            own.stop().await?;
        }
        Ok(if held { 0 } else { FAILED })
    })
}
