//! What a scenario expects of its run.

use std::time::Duration;

use super::quantity::{duration, show_duration};
use super::reader::{Reader, unknown};
use crate::properties::{ALWAYS, EVENTUALLY, LATENCY_METRICS, Occurrence};

/// One `[[expect]]` of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// A named property holds at every moment.
    Always(&'static str),
    /// A named property holds at the end.
    Eventually(&'static str),
    /// Something happens at least once.
    Sometimes(Occurrence),
    /// Something does not happen before the programs are told to end.
    Never(Occurrence),
    /// Something happens inside a window after each time that something else happens.
    Within {
        /// What starts the window.
        after: Occurrence,
        /// What must happen.
        event: Occurrence,
        /// Not earlier than this after it.
        min: Duration,
        /// Not later than this after it.
        max: Duration,
    },
    /// Percentiles of a latency stay at or below bounds.
    Latency {
        /// Which latency.
        metric: &'static str,
        /// Percentile (50, 95, …) and bound.
        bounds: Vec<(u8, Duration)>,
    },
}

const KINDS: [&str; 6] = ["always", "eventually", "latency", "never", "sometimes", "within"];
const PERCENTILES: [(&str, u8); 5] =
    [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("max", 100)];

impl Expect {
    /// Reads one `[[expect]]` table.
    pub(super) fn read(mut table: Reader<'_>) -> Option<Self> {
        let kinds: Vec<_> = table.keys().filter(|key| KINDS.contains(key)).collect();
        if kinds.len() > 1 {
            table.problem(kinds[1], format!("stands beside {}; give each its own table", kinds[0]));
        }
        let always = table.parsed("always", |text| named(text, &ALWAYS)).map(Self::Always);
        let eventually =
            table.parsed("eventually", |text| named(text, &EVENTUALLY)).map(Self::Eventually);
        let sometimes = table.parsed("sometimes", Occurrence::parse).map(Self::Sometimes);
        let never = table.parsed("never", Occurrence::parse).map(Self::Never);
        let within = table.table("within").and_then(within);
        let latency = table.table("latency").and_then(latency);
        if kinds.is_empty() {
            let key = table.keys().next().unwrap_or("expect");
            if table.keys().next().is_none() {
                table.problem(key, format!("is empty; write one of {}", KINDS.join(", ")));
            }
        }
        table.finish();
        always.or(eventually).or(sometimes).or(never).or(within).or(latency)
    }

    /// The name reports and failure lines give it.
    pub fn name(&self) -> String {
        match self {
            Self::Always(name) | Self::Eventually(name) => (*name).to_owned(),
            Self::Sometimes(occurrence) | Self::Never(occurrence) => occurrence.to_string(),
            Self::Within { after, event, min, max } => {
                format!("{event} {}..{} after {after}", show_duration(*min), show_duration(*max))
            }
            Self::Latency { metric, bounds } => {
                let bounds: Vec<_> = bounds
                    .iter()
                    .map(|(percentile, bound)| {
                        format!("p{percentile} <= {}", show_duration(*bound))
                    })
                    .collect();
                format!("{metric} {}", bounds.join(", "))
            }
        }
    }
}

fn named(text: &str, names: &[&'static str]) -> Result<&'static str, String> {
    names
        .iter()
        .find(|name| **name == text)
        .copied()
        .ok_or_else(|| format!("property \"{text}\" {}", unknown(text, names.iter().copied())))
}

fn within(mut table: Reader<'_>) -> Option<Expect> {
    let after = table.parsed("after", Occurrence::parse);
    let after = table.required("after", after);
    let event = table.parsed("event", Occurrence::parse);
    let event = table.required("event", event);
    let min = table.duration("min").unwrap_or_default();
    let max = table.duration("max");
    let max = table.required("max", max);
    if let Some(max) = max
        && max < min
    {
        table.problem("max", "is below min");
    }
    table.finish();
    Some(Expect::Within { after: after?, event: event?, min, max: max? })
}

fn latency(mut table: Reader<'_>) -> Option<Expect> {
    let metric = table.parsed("metric", |text| named(text, &LATENCY_METRICS));
    let metric = table.required("metric", metric);
    let mut bounds = Vec::new();
    for (name, percentile) in PERCENTILES {
        if let Some(bound) = table.parsed(name, duration) {
            bounds.push((percentile, bound));
        }
    }
    if bounds.is_empty() {
        table.problem("metric", "has no bound; give at least one of p50, p90, p95, p99, max");
    }
    table.finish();
    Some(Expect::Latency { metric: metric?, bounds })
}
