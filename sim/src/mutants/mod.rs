//! Proof that the bench catches bugs: it is run against programs with a known bug in them.
//!
//! Each [`Mutant`] is armed by itself, and seeds of a sweep are played until the property that it
//! must violate is violated. The canary is a bug that nothing can miss; and each run that caught one
//! is played again with no bug armed and must be green, or the bench cries wolf.

mod hunt;
mod prey;

pub use hunt::{Board, Caught, Hunt, Row, hunt};
pub use mutant::{BUILT_IN, Mutant};
pub use prey::{Prey, prey};
