//! Every target over its seeds, its kept regressions, and seeded mutations of both.

use std::path::Path;

use fuzz_targets::{TARGETS, named, smoke};
use platform::Storage;
use rstest::rstest;

/// Mutations of each target in a run of the tests.
const MUTATIONS: usize = 400;

/// Inputs that once broke a promise, kept in `regressions/<target>`.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target);
    let disk = platform::real::Disk;
    let names = disk.list(&folder).expect("a missing folder is empty");
    names.iter().map(|name| disk.read(&folder.join(name)).expect("it was listed")).collect()
}

#[rstest]
fn every_target_keeps_its_promises(
    #[values(
        "act_1",
        "act_2",
        "authority_key",
        "block",
        "common_messages",
        "extension_messages",
        "frames",
        "gateway_config",
        "gbt",
        "http_bodies",
        "mining_client",
        "mining_server",
        "ndjson",
        "policy",
        "scenario",
        "segment",
        "session",
        "template_messages",
        "templates_config",
        "tlvs",
        "verifier_config"
    )]
    name: &str,
) {
    let target = named(name).expect("the table above is that of the targets");
    assert!(smoke(target, kept(name), 1, MUTATIONS) > MUTATIONS, "{name} has no seeds");
}

#[test]
fn every_target_is_run_by_the_test_above_and_by_libfuzzer() {
    let (here, there) = (include_str!("smoke.rs"), include_str!("../libfuzzer/Cargo.toml"));
    for target in &TARGETS {
        let name = format!("\"{}\"", target.name);
        assert!(here.contains(&name) && there.contains(&name), "{name} is not run");
    }
}
