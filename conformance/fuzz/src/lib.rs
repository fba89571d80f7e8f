//! What the fuzzers run.
//!
//! A [`Target`] is a plain function over bytes that panics where a promise of the parser or machine
//! behind it is broken. libFuzzer drives the same functions on a nightly toolchain (the folder
//! `libfuzzer`); [`smoke`] drives them on a stable one, over seeds, kept regressions and seeded
//! mutations of both, so that every change is tried.
#![forbid(unsafe_code)]

mod disk;
mod frames;
mod handshake;
mod mutate;
mod records;
mod seeds;
mod session;
mod texts;

pub use mutate::Mutator;

/// One fuzz target.
pub struct Target {
    /// Its name, which is the libFuzzer program's and the corpus folder's too.
    pub name: &'static str,
    /// What is read.
    pub about: &'static str,
    /// Reads one input.
    ///
    /// # Panics
    /// Where a promise is broken: that is what fuzzers look for.
    pub run: fn(&[u8]),
    /// Inputs to begin with, well-formed ones.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets, by name.
pub const TARGETS: [Target; 21] = [
    target(
        "act_1",
        "the first act of a handshake, and what follows it",
        handshake::act_1,
        seeds::act_1,
    ),
    target("act_2", "the second act of a handshake", handshake::act_2, seeds::act_2),
    target("authority_key", "keys and certificates", handshake::keys, seeds::keys),
    target(
        "block",
        "the block of a template, held against a declaration",
        records::block,
        seeds::blocks,
    ),
    target("common_messages", "connection set-up", frames::common, seeds::common),
    target("extension_messages", "extension negotiation", frames::extensions, seeds::extensions),
    target("frames", "a stream of frames in pieces", frames::stream, seeds::streams),
    target("gateway_config", "the gateway's configuration", texts::gateway_config, seeds::gateway),
    target("gbt", "a getblocktemplate answer", records::block_template, seeds::block_templates),
    target("http_bodies", "answers of pools and template sources", texts::http, seeds::http),
    target("mining_client", "what miners send", frames::mining_client, seeds::mining_client),
    target(
        "mining_server",
        "what mining servers send",
        frames::mining_server,
        seeds::mining_server,
    ),
    target("ndjson", "lines between gateway and verifier", records::ndjson, seeds::ndjson),
    target("policy", "policy.toml", texts::policy, seeds::policies),
    target("scenario", "scenario files", texts::scenario, seeds::scenarios),
    target("segment", "a segment of the durable log", records::segment, seeds::segments),
    target("session", "a miner's whole session", session::play, session::seeds),
    target("template_messages", "template distribution", frames::templates, seeds::templates),
    target(
        "templates_config",
        "the template-manager's configuration",
        texts::templates_config,
        seeds::template_manager,
    ),
    target("tlvs", "fields of extensions", frames::tlvs, seeds::tlvs),
    target(
        "verifier_config",
        "the verifier's configuration",
        texts::verifier_config,
        seeds::verifier,
    ),
];

const fn target(
    name: &'static str,
    about: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
) -> Target {
    Target { name, about, run, seeds }
}

/// The target of that name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs the target of that name on one input.
///
/// # Panics
/// As the target does, and without such a target.
pub fn run(name: &str, input: &[u8]) {
    let target = named(name).expect("the caller knows the names");
    (target.run)(input);
}

/// Runs a target over its seeds, over `kept` inputs, and over so many `mutations` of them, the same
/// ones for the same `seed`. How many inputs that were.
///
/// # Panics
/// As the target does.
pub fn smoke(target: &Target, kept: Vec<Vec<u8>>, seed: u64, mutations: usize) -> usize {
    let mut corpus = (target.seeds)();
    corpus.extend(kept);
    for input in &corpus {
        check(target, input);
    }
    let mut mutator = Mutator::new(seed, corpus);
    for _ in 0..mutations {
        check(target, mutator.next_input());
    }
    mutator.corpus_len() + mutations
}

/// Runs a target, and shows the input that it panics on.
///
/// # Panics
/// As the target does.
pub fn check(target: &Target, input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| (target.run)(input)) {
        eprintln!("{} breaks a promise on {}", target.name, const_hex::encode(input));
        std::panic::resume_unwind(panic);
    }
}
