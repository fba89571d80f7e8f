//! The walk of the real programs.

use anyhow::Result;

use super::{FAILED, WalkArgs};
use crate::walk::{Options, WalkError, judge, run as walk};

pub(super) fn run(args: WalkArgs) -> Result<u8> {
    let options = Options { programs: args.programs, keep: args.keep, ..Options::default() };
    let mut progress = |step: &str| println!("walk: {step}");
    let told = match args.conformance {
        true => judge(options, &mut progress),
        false => walk(options, &mut progress).map(|summary| summary.to_string()),
    };
    match told {
        Ok(told) => {
            print!("{told}");
            Ok(0)
        }
        Err(WalkError::Violated(what)) => {
            println!("FAIL walk: {what}");
            Ok(FAILED)
        }
        Err(error) => Err(error.into()),
    }
}
