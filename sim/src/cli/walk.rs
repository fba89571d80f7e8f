//! The walk of the real programs.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{FAILED, WalkArgs, say};
use crate::walk::{Options, Trial, WalkError, endure, judge, run as walk};

/// How long a load and a flood last, in minutes.
const LOAD: f64 = 2.0;
const FLOOD: f64 = 10.0;

pub(super) fn run(args: WalkArgs) -> Result<u8> {
    let lasting = |usual| {
        let minutes = args.minutes.unwrap_or(usual);
        Duration::try_from_secs_f64(minutes * 60.0).context("--minutes")
    };
    let trial = if args.load {
        Some(Trial::Load { miners: args.miners, lasting: lasting(LOAD)? })
    } else if args.flood {
        Some(Trial::Flood { lasting: lasting(FLOOD)? })
    } else {
        args.disk_full.then_some(Trial::FullDisk)
    };
    let options = Options { programs: args.programs, keep: args.keep, ..Options::default() };
    let mut progress = |step: &str| say(format!("walk: {step}"));
    let told = match trial {
        Some(trial) => {
            endure(options, trial, &mut progress).map(|shown| (shown.to_string(), shown.all_hold()))
        }
        None if args.conformance => judge(options, &mut progress).map(|told| (told, true)),
        None => walk(options, &mut progress).map(|summary| (summary.to_string(), true)),
    };
    match told {
        Ok((told, holds)) => {
            print!("{told}");
            Ok(if holds { 0 } else { FAILED })
        }
        Err(WalkError::Violated(what)) => {
            say(format!("FAIL walk: {what}"));
            Ok(FAILED)
        }
        Err(error) => Err(error.into()),
    }
}
