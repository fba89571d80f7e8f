//! Dependencies point one way (ARCHITECTURE.md), and each exists once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Which members each member may depend on (outside its tests).
const ALLOWED: [(&str, &[&str]); 15] = [
    ("mutant", &[]),
    ("sv2-wire", &[]),
    ("sv2-noise", &["mutant", "sv2-wire"]),
    ("gateway-core", &["mutant", "sv2-wire"]),
    ("verifier-protocol", &[]),
    ("policy", &["verifier-protocol"]),
    ("consensus", &["verifier-protocol"]),
    ("platform", &[]),
    ("templates", &["platform"]),
    ("verifier", &["consensus", "platform", "policy", "templates", "verifier-protocol"]),
    (
        "gateway",
        &[
            "gateway-core",
            "mutant",
            "platform",
            "sv2-noise",
            "sv2-wire",
            "templates",
            "verifier",
            "verifier-protocol",
        ],
    ),
    (
        "sim",
        &[
            "consensus",
            "gateway",
            "gateway-core",
            "mutant",
            "platform",
            "policy",
            "sv2-noise",
            "sv2-wire",
            "templates",
            "verifier",
            "verifier-protocol",
        ],
    ),
    ("conformance", &["platform", "sv2-noise", "sv2-wire"]),
    (
        // A tool like ci, of which nothing else knows: the one that reads scenarios beside sim.
        "fuzz-targets",
        &[
            "consensus",
            "gateway",
            "gateway-core",
            "platform",
            "policy",
            "sim",
            "sv2-noise",
            "sv2-wire",
            "templates",
            "verifier",
            "verifier-protocol",
        ],
    ),
    ("ci", &[]),
];

/// Members without input or output, and what must not be among their dependencies.
const CORES: [&str; 6] =
    ["sv2-wire", "sv2-noise", "gateway-core", "verifier-protocol", "policy", "consensus"];
const NOT_IN_CORES: [&str; 4] = ["tokio", "platform", "rand", "tracing"];

/// Packages of which the product may link one version only.
const ONCE: [&str; 4] = ["bitcoin", "ring", "secp256k1-sys", "tokio"];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .context("cargo metadata fails; is Cargo.lock up to date?")?;
    let members: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut breaches = Vec::new();

    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some(may) = allowed.get(name) else {
            breaches.push(format!("{name}: not in the dependency table of ci/src/tidy/graph.rs"));
            continue;
        };
        for dependency in &package.dependencies {
            let on = dependency.name.as_str();
            if dependency.kind != DependencyKind::Normal {
                continue;
            }
            if members.contains(on) && !may.contains(&on) {
                breaches.push(format!("{name}: must not depend on {on} (ARCHITECTURE.md)"));
            }
            if CORES.contains(&name) && NOT_IN_CORES.contains(&on) {
                breaches.push(format!("{name}: a core has no I/O and so no {on}"));
            }
        }
    }
    breaches.extend(versions(&metadata));
    Ok(breaches)
}

/// Two versions of one of [`ONCE`] in what is shipped. The reference crates that `conformance`
/// tests against bring their own libsecp256k1, and they are not shipped.
fn versions(metadata: &cargo_metadata::Metadata) -> Vec<String> {
    let Some(resolve) = &metadata.resolve else { return Vec::new() };
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut reached = BTreeSet::new();
    let mut queue: Vec<_> = metadata
        .workspace_packages()
        .iter()
        .filter(|package| package.name.as_str() != "conformance")
        .map(|package| &package.id)
        .collect();
    while let Some(id) = queue.pop() {
        if !reached.insert(id) {
            continue;
        }
        let Some(node) = nodes.get(id) else { continue };
        queue.extend(node.deps.iter().filter(|dep| is_shipped(dep)).map(|dep| &dep.pkg));
    }
    let mut breaches = Vec::new();
    for name in ONCE {
        let count = metadata
            .packages
            .iter()
            .filter(|package| package.name.as_str() == name && reached.contains(&package.id))
            .count();
        if count > 1 {
            breaches.push(format!("{count} versions of {name} are linked; one is the rule"));
        }
    }
    breaches
}

fn is_shipped(dependency: &cargo_metadata::NodeDep) -> bool {
    dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
}
