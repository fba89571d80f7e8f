//! The suite for clients judged: a conforming miner passes, and each broken one is caught by the
//! right case.

#![allow(clippy::unwrap_used)] // A broken test miner must stop the test.

mod breakage;
mod memory;
mod miner;
mod work;

use std::sync::Arc;

use conformance::report::lines;
use conformance::{ClientWaits, Hosting, Outcome, Selection, Verdict, serve};
use rstest::rstest;
use sv2_noise::AuthoritySecretKey;

use crate::breakage::Breakage;
use crate::miner::Miner;

/// Runs the cases of these ids (all without any) on one miner.
async fn suite(ids: &[&str], is_extended: bool, breakage: Option<Breakage>) -> Vec<Outcome> {
    let env = memory::env();
    let authority = AuthoritySecretKey::generate(&mut |out| env.rng.fill(out));
    let miner = Miner { env: env.clone(), authority: authority.public(), is_extended, breakage };
    drop(env.tasks.spawn("miner", miner.mine()));
    let hosting = Arc::new(Hosting {
        listen: "server:3333".to_owned(),
        authority,
        client_knows_authority: true,
        hashes_per_share: Some(32),
        waits: ClientWaits::default(),
    });
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let cases = Selection { sections: Vec::new(), ids }.client_cases();
    serve(&env, &hosting, &cases, |_| {}).await.unwrap()
}

#[rstest]
// It requires standard jobs, and a new prefix is not seen on its channel.
#[case(false, &["CL-MP-64a", "CL-MP-44a"])]
#[case(true, &[])]
#[tokio::test(start_paused = true)]
async fn a_conforming_miner_passes(#[case] is_extended: bool, #[case] skipped: &[&str]) {
    let outcomes = suite(&[], is_extended, None).await;
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|outcome| match outcome.verdict {
            Verdict::Pass => skipped.contains(&outcome.case.id),
            Verdict::Skip(_) => !skipped.contains(&outcome.case.id),
            _ => true,
        })
        .map(lines)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[rstest]
#[case(Breakage::BytesAfterAct1, "CL-SE-06a")]
#[case(Breakage::TrustsAnyone, "CL-SE-11a")]
#[case(Breakage::ClockBehind, "CL-SE-13a")]
#[case(Breakage::ClockAhead, "CL-SE-13b")]
#[case(Breakage::KeepsUnauthentic, "CL-SE-09b")]
#[case(Breakage::OpensFirst, "CL-OV-30a")]
#[case(Breakage::DoesNotWait, "CL-OV-30b")]
#[case(Breakage::WrongProtocol, "CL-OV-31a")]
#[case(Breakage::OldVersion, "CL-OV-31b")]
#[case(Breakage::NoVendor, "CL-OV-32a")]
#[case(Breakage::OddFlags, "CL-MP-20a")]
#[case(Breakage::ChannelBit, "CL-OV-07a")]
#[case(Breakage::TrailingByte, "CL-OV-16a")]
#[case(Breakage::AsksOnRefusal, "CL-HY-07a")]
#[case(Breakage::JudgesCodes, "CL-OV-24a")]
#[case(Breakage::GivesUp, "CL-HY-08a")]
#[case(Breakage::GivesUp, "CL-HY-08b")]
#[case(Breakage::PlainSecondTime, "CL-OV-18a")]
#[case(Breakage::GivesUp, "CL-SE-07b")]
#[case(Breakage::UnknownExtensionFatal, "CL-OV-12a")]
#[case(Breakage::ReconnectUnheard, "CL-OV-37a")]
#[case(Breakage::LateExtensions, "CL-EX-02a")]
#[case(Breakage::NeverOpens, "CL-MP-33a")]
#[case(Breakage::RequestIdReused, "CL-MP-31a")]
#[case(Breakage::NegativeRate, "CL-MP-38a")]
#[case(Breakage::MinesRefused, "CL-MP-37a")]
#[case(Breakage::UpdatesUnknown, "CL-MP-40a")]
#[case(Breakage::UpdatesOften, "CL-MP-42a")]
#[case(Breakage::CloseUnheard, "CL-MP-43a")]
#[case(Breakage::WorksOnFuture, "CL-MP-61a")]
#[case(Breakage::WorksOnFuture, "CL-MP-62b")]
#[case(Breakage::JobNowUnheard, "CL-MP-62a")]
#[case(Breakage::TipUnheard, "CL-MP-67a")]
#[case(Breakage::GroupUnheard, "CL-MP-64a")]
#[case(Breakage::PrefixUnheard, "CL-MP-44a")]
#[case(Breakage::TargetUnheard, "CL-MP-80a")]
#[case(Breakage::TargetUnheard, "CL-MP-81a")]
#[case(Breakage::NeverWorks, "CL-MP-50a")]
#[case(Breakage::UnknownJob, "CL-MP-50b")]
#[case(Breakage::AnyDifficulty, "CL-MP-80b")]
#[case(Breakage::FutureTime, "CL-MP-52a")]
#[case(Breakage::WildVersion, "CL-MP-57a")]
#[case(Breakage::RollsFixed, "CL-MP-22a")]
#[case(Breakage::ShortExtranonce, "CL-MP-51a")]
#[case(Breakage::Replays, "CL-MP-56a")]
#[case(Breakage::StopsOnRefusal, "CL-OV-23a")]
#[case(Breakage::StopsUnanswered, "CL-MP-53a")]
#[tokio::test(start_paused = true)]
async fn a_broken_miner_is_caught(#[case] breakage: Breakage, #[case] id: &str) {
    let outcomes = suite(&[id], true, Some(breakage)).await;
    let [outcome] = &outcomes[..] else { panic!("{id} names one case") };
    let is_caught = matches!(outcome.verdict, Verdict::Fail(_) | Verdict::Deviation(_));
    assert!(is_caught, "{}", lines(outcome));
    assert!(!outcome.record.is_empty(), "it says what was sent and seen");
}

/// A rule about messages that a client need not send is not kept by sending none.
#[tokio::test(start_paused = true)]
async fn what_is_never_sent_is_not_judged() {
    let ids = ["CL-EX-02a", "CL-MP-40a", "CL-MP-42a"];
    let outcomes = suite(&ids, true, Some(Breakage::SaysLittle)).await;
    assert_eq!(outcomes.len(), ids.len());
    for outcome in outcomes {
        assert!(matches!(outcome.verdict, Verdict::Skip(_)), "{}", lines(&outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_client_comes_nothing_is_judged() {
    let env = memory::env();
    let authority = AuthoritySecretKey::generate(&mut |out| env.rng.fill(out));
    let hosting = Arc::new(Hosting {
        listen: "server:3333".to_owned(),
        authority,
        client_knows_authority: true,
        hashes_per_share: None,
        waits: ClientWaits::default(),
    });
    let cases = Selection::default().client_cases();
    let outcomes = serve(&env, &hosting, &cases[..3], |_| {}).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome.verdict, Verdict::Skip(_))));
}
