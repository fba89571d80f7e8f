//! `sim coverage`.

use anyhow::{Context, Result};

use super::{COVERAGE_SHORT, CoverageArgs, root, say};
use crate::report::coverage::{Codes, Coverage};
use crate::report::golden;
use crate::scenario::Catalogue;

/// Reads the golden of each scenario, and shows which codes they hold.
pub(super) fn run(catalogue: &Catalogue, args: &CoverageArgs) -> Result<u8> {
    let mut coverage = Coverage::default();
    for scenario in catalogue.select("all")? {
        let path = golden::path(&root(), &scenario.name);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("{}; make it with `sim golden bless {}`", path.display(), scenario.name)
        })?;
        let codes: Codes =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        coverage.add(&scenario.name, &codes);
    }
    say(coverage.to_string().trim_end());
    if let Some(path) = &args.json {
        std::fs::write(path, coverage.to_json()).with_context(|| path.display().to_string())?;
    }
    Ok(if coverage.is_complete() { 0 } else { COVERAGE_SHORT })
}
