//! The simulator's commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    sim::cli::main()
}
