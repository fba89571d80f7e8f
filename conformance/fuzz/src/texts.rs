//! Files that people write.

use std::collections::BTreeMap;

use policy::Policy;
use sim::scenario::Scenario;
use templates::client::{BlockSubmission, SubmitAnswer};

use crate::disk::OneFile;

/// Secrets and certificates come from files; this is in all of them.
const FILE: &[u8] = b"0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

/// What is taken prints to what is taken, and means the same.
pub(crate) fn policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Policy::from_toml(text) {
        Ok(policy) => {
            let again = Policy::from_toml(&policy.to_toml()).expect("what was printed is taken");
            assert_eq!(again.content_hash(), policy.content_hash());
        }
        Err(problems) => assert!(!problems.is_empty(), "refused without a reason"),
    }
}

/// For each program: refused with reasons, or taken.
macro_rules! configurations {
    ($($run:ident: $config:ty;)*) => {$(
        pub(crate) fn $run(input: &[u8]) {
            let Ok(text) = std::str::from_utf8(input) else { return };
            let disk = OneFile { bytes: FILE, names: Vec::new() };
            if let Err(problems) = <$config>::from_toml(text, &BTreeMap::new(), &disk) {
                assert!(!problems.is_empty(), "refused without a reason");
                for problem in problems {
                    assert!(!problem.to_string().is_empty(), "a problem without words");
                }
            }
        }
    )*};
}

configurations! {
    gateway_config: gateway::Config;
    templates_config: templates::Config;
    verifier_config: verifier::Config;
}

/// The bodies that other people's servers answer with: a pool's results name each share at most as
/// often as the body does, and what nodes said to a block reads back as it was written.
pub(crate) fn http(input: &[u8]) {
    if let Ok(answers) = gateway::parse_pool_answer(input) {
        let digits = input.len() / 64;
        assert!(answers.len() <= digits, "{} ids of {digits}", answers.len());
    }
    if let Ok(answer) = serde_json::from_slice::<SubmitAnswer>(input) {
        let again = serde_json::to_vec(&answer).expect("an answer is JSON");
        assert_eq!(serde_json::from_slice::<SubmitAnswer>(&again).ok(), Some(answer));
    }
    if let Ok(found) = serde_json::from_slice::<BlockSubmission>(input) {
        let again = serde_json::to_vec(&found).expect("a block is JSON");
        assert_eq!(serde_json::from_slice::<BlockSubmission>(&again).ok(), Some(found));
    }
}

/// What is taken can be planned, and twice the same.
pub(crate) fn scenario(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Scenario::parse("fuzz", "fuzz", text) {
        Ok(scenario) => {
            let (one, two) = (scenario.plan(7), scenario.plan(7));
            assert_eq!(one.steps.len(), two.steps.len());
            assert_eq!(one.duration, two.duration);
        }
        Err(problems) => assert!(!problems.is_empty(), "refused without a reason"),
    }
}
