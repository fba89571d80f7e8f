//! The suite judged: a conforming server passes, and each broken one is caught by the right case.

#![allow(clippy::unwrap_used)] // A broken test server must stop the test.

mod breakage;
mod memory;
mod server;
mod session;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;

use conformance::report::{Tally, junit, lines, page};
use conformance::{
    Case, Selection, SuiteError, Target, Verdict, Waits, catalogue, client_catalogue, judge,
    rules_page,
};
use platform::Env;
use rstest::rstest;

use crate::breakage::Breakage;

/// What the tests' server cannot be asked: it requires no fixed versions and no extension, never
/// forbids version rolling, its shares are worth less than difficulty 1, and its connections number
/// their channels alike.
const SKIPPED: [&str; 5] = ["MP-22b", "MP-53c", "MP-56j", "MP-57k", "EX-04b"];

/// A broken or unbroken server that acknowledges each share, and the environment that leads to it.
fn bench(breakage: Option<Breakage>) -> (Env, Arc<Target>) {
    gathering_bench(breakage, 1)
}

/// As [`bench`], with a server that gathers so many shares for an acknowledgement.
fn gathering_bench(breakage: Option<Breakage>, batch: u32) -> (Env, Arc<Target>) {
    let (env, shared) = memory::env(breakage, batch);
    let target = Target {
        address: "server:3333".to_owned(),
        authority: Some(shared.authority),
        plaintext: false,
        user_identity: "miner.1".to_owned(),
        grind_budget: 1 << 15,
        waits: Waits::default(),
    };
    (env, Arc::new(target))
}

fn selected(ids: &[&str]) -> Vec<&'static Case> {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Selection { sections: Vec::new(), ids }.cases()
}

#[rstest]
#[case::each_share(1)]
#[case::ten_shares(10)]
#[tokio::test(start_paused = true)]
async fn a_conforming_server_passes_that_acknowledges(#[case] batch: u32) {
    let (env, target) = gathering_bench(None, batch);
    let outcomes = conformance::run(&env, &target, &selected(&[]), 1, |_| {}).await.unwrap();
    let wrong: Vec<String> = outcomes
        .iter()
        .filter(|outcome| match outcome.verdict {
            Verdict::Pass => SKIPPED.contains(&outcome.case.id),
            Verdict::Skip(_) => !SKIPPED.contains(&outcome.case.id),
            _ => true,
        })
        .map(lines)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
    assert!(Tally::of(&outcomes).is_conforming(true));
}

#[rstest]
#[case(Breakage::WrongAuthority, "SE-11a")]
#[case(Breakage::ExpiredCertificate, "SE-13a")]
#[case(Breakage::FreshCertificate, "SE-13b")]
#[case(Breakage::CertificateVersion, "SE-12a")]
#[case(Breakage::SpeaksFirst, "SE-06b")]
#[case(Breakage::BytesAfterAct2, "SE-07a")]
#[case(Breakage::ServesPlaintext, "SE-01a")]
#[case(Breakage::RefusesPlaintext, "SE-01a")]
#[case(Breakage::NoHandshakeDeadline, "SE-18b")]
#[case(Breakage::KeepsUnauthentic, "SE-09e")]
#[case(Breakage::SuccessUnasked, "OV-30a")]
#[case(Breakage::ServesBeforeSetup, "OV-30b")]
#[case(Breakage::AnyVersion, "OV-35a")]
#[case(Breakage::UsedVersion, "OV-31a")]
#[case(Breakage::AnyProtocol, "OV-30n")]
#[case(Breakage::FlagsOneByOne, "OV-34g")]
#[case(Breakage::FlagsAlways, "OV-34e")]
#[case(Breakage::ControlCharacters, "OV-26a")]
#[case(Breakage::ControlCharacters, "OV-26d")]
#[case(Breakage::ControlCharacters, "OV-26e")]
#[case(Breakage::SilentOnMalformed, "OV-05c")]
#[case(Breakage::SilentOnMalformed, "OV-16b")]
#[case(Breakage::KeepsFirstMessages, "OV-30b")]
#[case(Breakage::SecondSetupUnheard, "OV-30h")]
#[case(Breakage::OldBitFatal, "DF-08a")]
#[case(Breakage::TrailingBytes, "OV-16c")]
#[case(Breakage::UnknownExtensionFatal, "OV-12a")]
#[case(Breakage::ChannelBit, "OV-07a")]
#[case(Breakage::WholeReadsOnly, "OV-10a")]
#[case(Breakage::RequestIdLost, "MP-31b")]
#[case(Breakage::ChannelIdReused, "MP-11a")]
#[case(Breakage::GroupIsChannel, "MP-12a")]
#[case(Breakage::PrefixReused, "MP-02a")]
#[case(Breakage::TargetAboveMax, "MP-32b")]
#[case(Breakage::ExtranonceTooSmall, "MP-36b")]
#[case(Breakage::NoExtended, "MP-10b")]
#[case(Breakage::ZeroHashRateFatal, "MP-38a")]
#[case(Breakage::UpdateUnheard, "MP-41a")]
#[case(Breakage::UpdateUnknownUnheard, "MP-40b")]
#[case(Breakage::CloseUnheard, "MP-43a")]
#[case(Breakage::GroupCloseUnheard, "MP-43d")]
#[case(Breakage::CustomJobGranted, "MP-71a")]
#[case(Breakage::FirstJobNotFuture, "MP-61a")]
#[case(Breakage::TipBeforeJob, "MP-61a")]
#[case(Breakage::TipNamesNoJob, "MP-68a")]
#[case(Breakage::JobIdReused, "MP-63a")]
#[case(Breakage::SecondJobReused, "MP-63a")]
#[case(Breakage::SecondJobUnknown, "MP-64a")]
#[case(Breakage::GroupTipForStrangers, "MP-68a")]
#[case(Breakage::SuccessUnaddressed, "OV-08a")]
#[case(Breakage::ExtendedInSpite, "MP-23c")]
#[case(Breakage::ExtendedJobForStandard, "MP-23a")]
#[case(Breakage::WitnessInCoinbase, "OV-40a")]
#[case(Breakage::LongScript, "MP-15b")]
#[case(Breakage::SequenceNumberLost, "MP-56f")]
#[case(Breakage::Duplicates, "MP-56d")]
#[case(Breakage::AnyDifficulty, "MP-56a")]
#[case(Breakage::AnyNtime, "MP-52b")]
#[case(Breakage::AnyVersionBits, "MP-57e")]
#[case(Breakage::ReservedBit, "MP-57i")]
#[case(Breakage::ReservedBit, "MP-57j")]
#[case(Breakage::RollsForbidden, "MP-57k")]
#[case(Breakage::DayAhead, "MP-52d")]
#[case(Breakage::LosesLateAnswers, "MP-56k")]
#[case(Breakage::AnyExtranonceLength, "MP-51c")]
#[case(Breakage::CountersGoOn, "MP-54a")]
#[case(Breakage::AnyKindOfShare, "MP-50b")]
#[case(Breakage::AnyKindOfShare, "MP-51f")]
#[case(Breakage::CutShares, "OV-05e")]
#[case(Breakage::FullBatchesOnly, "DF-07a")]
#[case(Breakage::TargetOfTheMoment, "MP-81a")]
#[case(Breakage::FirstTargetForEver, "MP-81b")]
#[case(Breakage::GrantsAnyExtension, "EX-03a")]
#[case(Breakage::ExtensionRequestIdLost, "EX-01a")]
#[case(Breakage::RequiresWhatWasAsked, "EX-03c")]
#[case(Breakage::RequiresInVain, "EX-04b")]
#[case(Breakage::LongWorkers, "EX-11c")]
#[tokio::test(start_paused = true)]
async fn a_broken_server_is_caught(#[case] breakage: Breakage, #[case] id: &str) {
    is_caught(breakage, id, 1).await;
}

/// A server that acknowledges nothing at once is not taken for one that accepts nothing.
#[rstest]
#[case(Breakage::TrailingBytes, "OV-16c")]
#[case(Breakage::CutShares, "OV-05e")]
#[case(Breakage::CloseUnheard, "MP-43a")]
#[case(Breakage::GroupCloseUnheard, "MP-43d")]
#[case(Breakage::AnyKindOfShare, "MP-50b")]
#[case(Breakage::AnyKindOfShare, "MP-51f")]
#[case(Breakage::CountersGoOn, "MP-54a")]
#[case(Breakage::Duplicates, "MP-56d")]
#[case(Breakage::TargetOfTheMoment, "MP-81a")]
#[case(Breakage::FirstTargetForEver, "MP-81b")]
#[tokio::test(start_paused = true)]
async fn a_broken_server_is_caught_that_gathers(#[case] breakage: Breakage, #[case] id: &str) {
    is_caught(breakage, id, 10).await;
}

async fn is_caught(breakage: Breakage, id: &str, batch: u32) {
    let (env, target) = gathering_bench(Some(breakage), batch);
    let [case] = selected(&[id])[..] else { panic!("{id} names one case") };
    let outcome = judge(&env, &target, case).await;
    let is_caught = matches!(outcome.verdict, Verdict::Fail(_) | Verdict::Deviation(_));
    assert!(is_caught, "{}", lines(&outcome));
    assert!(!outcome.record.is_empty(), "it says what was sent and seen");
}

#[tokio::test(start_paused = true)]
async fn a_report_says_what_was_sent_and_seen() {
    let (env, target) = bench(Some(Breakage::RequestIdLost));
    let outcomes = [judge(&env, &target, selected(&["MP-31b"])[0]).await];
    let text = lines(&outcomes[0]);
    assert!(text.contains("-> OpenStandardMiningChannel { request_id: 4294967295"), "{text}");
    assert!(text.contains("<- OpenStandardMiningChannelSuccess"), "{text}");
    let xml = junit("server:3333", &outcomes, false);
    assert!(xml.contains("tests=\"1\" failures=\"1\" skipped=\"0\""), "{xml}");
    assert!(!xml.contains("\"miner.1\""), "quotes are escaped: {xml}");
}

#[tokio::test(start_paused = true)]
async fn a_deviation_is_a_failure_where_should_binds() {
    let (env, target) = bench(Some(Breakage::FullBatchesOnly));
    let outcomes = [judge(&env, &target, selected(&["DF-07a"])[0]).await];
    let (lenient, strict) =
        (junit("server:3333", &outcomes, false), junit("server:3333", &outcomes, true));
    assert!(lenient.contains("failures=\"0\"") && lenient.contains("<system-out>"), "{lenient}");
    assert!(strict.contains("failures=\"1\"") && strict.contains("<failure "), "{strict}");
    for xml in [lenient, strict] {
        assert!(xml.contains("-&gt; SubmitSharesStandard"), "the record is in it: {xml}");
    }
}

/// What is waited for is told in words too.
#[tokio::test(start_paused = true)]
async fn frames_before_a_close_are_decoded() {
    let (env, target) = bench(Some(Breakage::RequiresInVain));
    let outcome = judge(&env, &target, selected(&["EX-04b"])[0]).await;
    let text = lines(&outcome);
    assert!(text.contains("<- OpenStandardMiningChannelSuccess"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn cases_side_by_side_come_out_as_one_by_one() {
    let (env, target) = bench(Some(Breakage::TargetAboveMax));
    let cases = selected(&["MP-3", "OV-3"]);
    let verdicts = async |at_once| {
        let outcomes = conformance::run(&env, &target, &cases, at_once, |_| {}).await.unwrap();
        outcomes.iter().map(|outcome| (outcome.case.id, outcome.verdict.as_str())).collect()
    };
    let (one_by_one, side_by_side): (Vec<_>, Vec<_>) = (verdicts(1).await, verdicts(16).await);
    assert_eq!(one_by_one, side_by_side);
}

#[tokio::test(start_paused = true)]
async fn nothing_selected_is_no_success() {
    let (env, target) = bench(None);
    let outcomes = conformance::run(&env, &target, &selected(&["XX-99"]), 1, |_| {}).await;
    assert_eq!(outcomes.unwrap_err(), SuiteError::NothingSelected);
}

#[test]
fn ids_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for case in catalogue().chain(client_catalogue()) {
        assert!(seen.insert(case.id), "{} stands twice", case.id);
        let id = case.id.strip_prefix("CL-").unwrap_or(case.id);
        let (family, rest) = id.split_once('-').expect("a family and a number");
        assert!(["OV", "SE", "MP", "EX", "DF", "HY"].contains(&family), "{}", case.id);
        let (number, letter) = rest.split_at(2);
        assert!(number.bytes().all(|digit| digit.is_ascii_digit()), "{}", case.id);
        assert!(matches!(letter.as_bytes(), [b'a'..=b'z']), "{}", case.id);
        assert!(case.sentence.ends_with('.') && !case.sentence.contains('|'), "{}", case.id);
    }
    assert!(catalogue().count() >= 150, "{} cases", seen.len());
}

#[test]
fn the_page_shows_the_rules() {
    let kept = include_str!("../../RULES.md");
    assert!(
        kept == rules_page(),
        "RULES.md is not what the registry makes; make it anew with \
         `cargo run -p conformance -- list --rules > conformance/RULES.md`"
    );
}

#[test]
fn the_page_shows_the_catalogue() {
    let kept = include_str!("../../CASES.md");
    assert!(
        kept == page(),
        "CASES.md is not what the catalogue makes; make it anew with \
         `cargo run -p conformance -- list --page > conformance/CASES.md`"
    );
}
