//! Every target over its seeds, its kept regressions, and seeded mutations of both.

use std::path::{Path, PathBuf};

use fuzz_targets::{TARGETS, named, smoke};
use platform::Storage;
use rstest::rstest;

/// Mutations of each target in a run of the tests.
const MUTATIONS: usize = 400;

/// What `regressions` says of itself; the folder is there, or this does not compile.
const ABOUT: &str = include_str!("../regressions/README.md");

fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

/// Inputs that once broke a promise, kept in `regressions/<target>`; most targets have none.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = regressions().join(target);
    let disk = platform::real::Disk;
    let names = disk.list(&folder).expect("a target without a folder has an empty list");
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

/// A folder of a misspelt or former target would be passed over in silence.
#[test]
#[allow(clippy::disallowed_methods)] // `Storage` lists files, and these are folders.
fn every_kept_input_is_of_a_target() {
    assert!(ABOUT.contains("One folder for each target"));
    for entry in std::fs::read_dir(regressions()).expect("the folder is there") {
        let name = entry.expect("it can be read").file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || named(&name).is_some(), "{name} is no target");
    }
}

/// Templates of real nodes, not only of the embedded one.
#[test]
fn recorded_templates_are_seeds() {
    let target = named("gbt").expect("it is in the table");
    let seeds = (target.seeds)();
    let with_transactions =
        |seed: &&Vec<u8>| seed.windows(6).any(|window| window == b"\"txid\"".as_slice());
    assert!(seeds.iter().filter(with_transactions).count() > 1, "{} seeds", seeds.len());
}

#[test]
fn every_target_is_run_by_the_test_above_and_by_libfuzzer() {
    let (here, there) = (include_str!("smoke.rs"), include_str!("../libfuzzer/Cargo.toml"));
    for target in &TARGETS {
        let name = format!("\"{}\"", target.name);
        assert!(here.contains(&name) && there.contains(&name), "{name} is not run");
    }
}
