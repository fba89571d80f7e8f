//! The walk of the real programs.

use anyhow::Result;

use super::{FAILED, WalkArgs};
use crate::walk::{Options, WalkError, run as walk};

pub(super) fn run(args: WalkArgs) -> Result<u8> {
    let options = Options { programs: args.programs, keep: args.keep, ..Options::default() };
    match walk(options, &mut |step| println!("walk: {step}")) {
        Ok(summary) => {
            print!("{summary}");
            Ok(0)
        }
        Err(WalkError::Violated(what)) => {
            println!("FAIL walk: {what}");
            Ok(FAILED)
        }
        Err(error) => Err(error.into()),
    }
}
