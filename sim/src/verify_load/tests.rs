use std::time::Duration;

use super::*;
use crate::world;

#[test]
fn a_verifier_answers_every_proposal_under_changing_policies() {
    let report = world::run(1, async |world| {
        let env = world.host("load").env();
        let (load, own) = Load::with_own_verifier(&env).await.unwrap();
        let time = Duration::from_secs(10);
        let offer = offered::Offer { rate: 50, time, links: 3, swaps: 20 };
        let report = offered::run(&load, offer).await.unwrap();
        own.stop().await.unwrap();
        assert!(report.holds(), "{report}");
        report.to_string()
    });
    assert!(report.contains("500 proposals on 3 links, 50/s for 10 s"), "{report}");
    assert!(report.contains("CL-02 none dropped: held (0)"), "{report}");
    assert!(
        report.contains("20 policies, 21 seen in verdicts, each says its own: held"),
        "{report}"
    );
}

#[test]
fn a_recorded_full_template_is_accepted_by_its_bytes_and_by_name() {
    let report = world::run(1, async |world| {
        let env = world.host("load").env();
        let (load, own) = Load::with_own_verifier(&env).await.unwrap();
        let report = full::run(&load, 2).await.unwrap();
        own.stop().await.unwrap();
        report.to_string()
    });
    assert!(report.starts_with("a template of 3700 transactions and 39"), "{report}");
}
