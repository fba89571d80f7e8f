//! The rules no compiler checks.

mod graph;
mod reference;
mod source;

use std::path::Path;

use anyhow::{Result, bail};

/// Checks every rule and prints each breach with its place.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut breaches = graph::check(root)?;
    breaches.extend(source::check(root)?);
    breaches.extend(reference::check(root)?);
    for breach in &breaches {
        println!("tidy: {breach}");
    }
    match breaches.len() {
        0 => Ok(()),
        count => bail!("{count} breaches of the rules above"),
    }
}
