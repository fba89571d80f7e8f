//! Seeded bugs, on which the simulator proves that it catches bugs.
//!
//! A place in the product names a bug in one line, with [`pick!`] or [`bug!`]. In a normal build
//! both macros come to what is right and the wrong half is not even compiled; the bugs exist only
//! where the whole workspace is built with `--cfg sim_mutants`, as `cargo ci mutants` does. Then at
//! most one of them is armed on a thread, by the simulator, and every other place stays right.
#![forbid(unsafe_code)]

mod list;

pub use list::Mutant;

#[cfg(sim_mutants)]
thread_local! {
    static ARMED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this build carries the bugs at all.
pub const BUILT_IN: bool = cfg!(sim_mutants);

/// Arms a bug on this thread, or none. Without the bugs in the build it does nothing.
pub fn arm(mutant: Option<Mutant>) {
    #[cfg(sim_mutants)]
    ARMED.set(mutant);
    #[cfg(not(sim_mutants))]
    let _ = mutant;
}

/// The bug that is armed on this thread.
pub fn armed() -> Option<Mutant> {
    #[cfg(sim_mutants)]
    return ARMED.get();
    #[cfg(not(sim_mutants))]
    None
}

/// An expression with its bug: `pick!(VersionMaskIgnored, u32::MAX, mask)`.
#[cfg(not(sim_mutants))]
#[macro_export]
macro_rules! pick {
    ($mutant:ident, $wrong:expr, $right:expr) => {
        $right
    };
}

/// An expression with its bug: `pick!(VersionMaskIgnored, u32::MAX, mask)`.
#[cfg(sim_mutants)]
#[macro_export]
macro_rules! pick {
    ($mutant:ident, $wrong:expr, $right:expr) => {
        if $crate::armed() == Some($crate::Mutant::$mutant) { $wrong } else { $right }
    };
}

/// A statement that only the bug makes: `bug!(ResultLost, return);`.
#[cfg(not(sim_mutants))]
#[macro_export]
macro_rules! bug {
    ($mutant:ident, $wrong:expr) => {};
}

/// A statement that only the bug makes: `bug!(ResultLost, return);`.
#[cfg(sim_mutants)]
#[macro_export]
macro_rules! bug {
    ($mutant:ident, $wrong:expr) => {
        if $crate::armed() == Some($crate::Mutant::$mutant) {
            let _: () = $wrong;
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen() -> u32 {
        bug!(Canary, return 3);
        pick!(VersionMaskIgnored, 2, 1)
    }

    #[test]
    fn only_what_is_armed_goes_wrong_and_only_in_a_build_for_it() {
        assert_eq!(chosen(), 1);
        arm(Some(Mutant::VersionMaskIgnored));
        assert_eq!(chosen(), if BUILT_IN { 2 } else { 1 });
        arm(Some(Mutant::Canary));
        assert_eq!(chosen(), if BUILT_IN { 3 } else { 1 });
        assert_eq!(armed().is_some(), BUILT_IN);
        arm(None);
        assert_eq!(chosen(), 1);
    }
}
