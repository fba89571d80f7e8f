//! Which node a run stands on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::node::{EmbeddedNode, Found, RealNode, Recorder, Recording, Replay, find, install};
use crate::run::{NODE_START_UNIX_S, RunNode};
use crate::scenario::{NodeChoice, Scenario};

/// Where runs get their nodes.
pub(super) enum Source {
    /// A real node, started anew for each run.
    Bitcoind(Found),
    /// Recordings.
    Replay(PathBuf),
    /// The chain inside this program.
    Embedded,
}

impl Source {
    /// The source for a choice; a real node is fetched where it is asked for and there is none.
    pub(super) fn new(choice: NodeChoice, root: &Path) -> Result<Self> {
        Ok(match choice {
            NodeChoice::Embedded => Self::Embedded,
            NodeChoice::Replay => Self::Replay(root.join("scenarios/cassettes")),
            NodeChoice::Auto => find().map_or(Self::Embedded, Self::Bitcoind),
            NodeChoice::Bitcoind => match find() {
                Some(found) => Self::Bitcoind(found),
                None => Self::Bitcoind(install()?),
            },
        })
    }

    /// What to tell people of it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bitcoind(found) => format!("{} ({})", found.version, found.origin),
            Self::Replay(_) => "recorded answers of a real node".to_owned(),
            Self::Embedded => "the embedded chain".to_owned(),
        }
    }

    /// A node for one run; with `record` also what it will have answered.
    pub(super) fn node(
        &self,
        scenario: &Scenario,
        seed: u64,
        record: bool,
    ) -> Result<(RunNode, Option<Recording>)> {
        let (node, kind): (Box<dyn crate::node::Node>, _) = match self {
            // A difficulty of its own has only the embedded chain.
            _ if scenario.sim.node == NodeChoice::Embedded => (embedded(scenario), "embedded"),
            Self::Embedded => (embedded(scenario), "embedded"),
            Self::Bitcoind(found) => {
                (Box::new(RealNode::start(&found.exe, NODE_START_UNIX_S)?), "bitcoind")
            }
            Self::Replay(directory) => {
                let path = cassette(directory, scenario, seed);
                let text = std::fs::read_to_string(&path).with_context(|| {
                    let (path, name) = (path.display(), &scenario.name);
                    format!(
                        "no recording {path}; make it with `cargo sim run {name} --seed {seed} \
                         --node bitcoind --record`"
                    )
                })?;
                let replay = Replay::parse(&text).with_context(|| path.display().to_string())?;
                (Box::new(replay), "replay")
            }
        };
        if !record || scenario.sim.node == NodeChoice::Embedded {
            return Ok((RunNode { node, kind }, None));
        }
        if kind != "bitcoind" {
            bail!("only a real node's answers are recorded; add `--node bitcoind`");
        }
        let (recorder, recording) = Recorder::new(node);
        Ok((RunNode { node: Box::new(recorder), kind }, Some(recording)))
    }
}

fn embedded(scenario: &Scenario) -> Box<EmbeddedNode> {
    Box::new(match scenario.sim.bits {
        None => EmbeddedNode::new(NODE_START_UNIX_S),
        Some(bits) => {
            let bits = bitcoin::CompactTarget::from_consensus(bits);
            EmbeddedNode::with_bits(NODE_START_UNIX_S, bits)
        }
    })
}

/// The file of a scenario's recording.
pub(super) fn cassette(directory: &Path, scenario: &Scenario, seed: u64) -> PathBuf {
    directory.join(format!("{}.{seed}.ndjson", scenario.name))
}

/// Fetches a node, unless there is one, and tells how it goes.
pub(super) fn install() -> Result<Found> {
    if let Some(found) = find() {
        eprintln!("{} is at {} already", found.version, found.exe.display());
        return Ok(found);
    }
    let found = install::run(&mut |step| eprintln!("{step}"))?;
    eprintln!("{} at {}", found.version, found.exe.display());
    Ok(found)
}
