//! The suite judged: a conforming server passes, and each broken one is caught by the right case.

#![allow(clippy::unwrap_used)] // A broken test server must stop the test.

mod breakage;
mod memory;
mod server;
mod session;
mod work;

use std::collections::BTreeSet;
use std::fmt::Write as _;
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

/// Every way to be broken, a case that has to catch it, and how many shares the server gathers for
/// an acknowledgement.
const CAUGHT: &[(Breakage, &str, u32)] = &[
    (Breakage::WrongAuthority, "SE-11a", 1),
    (Breakage::ExpiredCertificate, "SE-13a", 1),
    (Breakage::FreshCertificate, "SE-13b", 1),
    (Breakage::CertificateVersion, "SE-12a", 1),
    (Breakage::SpeaksFirst, "SE-06b", 1),
    (Breakage::BytesAfterAct2, "SE-07a", 1),
    (Breakage::ServesPlaintext, "SE-01a", 1),
    (Breakage::RefusesPlaintext, "SE-01a", 1),
    (Breakage::NoHandshakeDeadline, "SE-18b", 1),
    (Breakage::KeepsUnauthentic, "SE-09e", 1),
    (Breakage::SuccessUnasked, "OV-30a", 1),
    (Breakage::ServesBeforeSetup, "OV-30b", 1),
    (Breakage::AnyVersion, "OV-35a", 1),
    (Breakage::UsedVersion, "OV-31a", 1),
    (Breakage::AnyProtocol, "OV-30n", 1),
    (Breakage::FlagsOneByOne, "OV-34g", 1),
    (Breakage::FlagsAlways, "OV-34e", 1),
    (Breakage::ControlCharacters, "OV-26a", 1),
    (Breakage::ControlCharacters, "OV-26d", 1),
    (Breakage::ControlCharacters, "OV-26e", 1),
    (Breakage::SilentOnMalformed, "OV-05c", 1),
    (Breakage::SilentOnMalformed, "OV-16b", 1),
    (Breakage::KeepsFirstMessages, "OV-30b", 1),
    (Breakage::SecondSetupUnheard, "OV-30h", 1),
    (Breakage::OldBitFatal, "DF-08a", 1),
    (Breakage::TrailingBytes, "OV-16c", 1),
    (Breakage::UnknownExtensionFatal, "OV-12a", 1),
    (Breakage::ChannelBit, "OV-07a", 1),
    (Breakage::WholeReadsOnly, "OV-10a", 1),
    (Breakage::RequestIdLost, "MP-31b", 1),
    (Breakage::ChannelIdReused, "MP-11a", 1),
    (Breakage::GroupIsChannel, "MP-12a", 1),
    (Breakage::PrefixReused, "MP-02a", 1),
    (Breakage::TargetAboveMax, "MP-32b", 1),
    (Breakage::ExtranonceTooSmall, "MP-36b", 1),
    (Breakage::NoExtended, "MP-10b", 1),
    (Breakage::ZeroHashRateFatal, "MP-38a", 1),
    (Breakage::UpdateUnheard, "MP-41a", 1),
    (Breakage::UpdateRefused, "MP-41a", 1),
    (Breakage::UpdateUnknownUnheard, "MP-40b", 1),
    (Breakage::CloseUnheard, "MP-43a", 1),
    (Breakage::GroupCloseUnheard, "MP-43d", 1),
    (Breakage::CustomJobGranted, "MP-71a", 1),
    (Breakage::FirstJobNotFuture, "MP-61a", 1),
    (Breakage::TipBeforeJob, "MP-61a", 1),
    (Breakage::TipNamesNoJob, "MP-68a", 1),
    (Breakage::JobIdReused, "MP-63a", 1),
    (Breakage::SecondJobReused, "MP-63a", 1),
    (Breakage::SecondJobUnknown, "MP-64a", 1),
    (Breakage::GroupTipForStrangers, "MP-68a", 1),
    (Breakage::SuccessUnaddressed, "OV-08a", 1),
    (Breakage::ExtendedInSpite, "MP-23c", 1),
    (Breakage::ExtendedJobForStandard, "MP-23a", 1),
    (Breakage::WitnessInCoinbase, "OV-40a", 1),
    (Breakage::LongScript, "MP-15b", 1),
    (Breakage::SequenceNumberLost, "MP-56f", 1),
    (Breakage::Duplicates, "MP-56d", 1),
    (Breakage::AnyDifficulty, "MP-56a", 1),
    (Breakage::AnyNtime, "MP-52b", 1),
    (Breakage::AnyVersionBits, "MP-57e", 1),
    (Breakage::ReservedBit, "MP-57i", 1),
    (Breakage::ReservedBit, "MP-57j", 1),
    (Breakage::RollsForbidden, "MP-57k", 1),
    (Breakage::DayAhead, "MP-52d", 1),
    (Breakage::LosesLateAnswers, "MP-56k", 1),
    (Breakage::AnyExtranonceLength, "MP-51c", 1),
    (Breakage::CountersGoOn, "MP-54a", 1),
    (Breakage::AnyKindOfShare, "MP-50b", 1),
    (Breakage::AnyKindOfShare, "MP-51f", 1),
    (Breakage::CutShares, "OV-05e", 1),
    (Breakage::FullBatchesOnly, "DF-07a", 1),
    (Breakage::TargetOfTheMoment, "MP-81a", 1),
    (Breakage::FirstTargetForEver, "MP-81b", 1),
    (Breakage::GrantsAnyExtension, "EX-03a", 1),
    (Breakage::ExtensionRequestIdLost, "EX-01a", 1),
    (Breakage::RequiresWhatWasAsked, "EX-03c", 1),
    (Breakage::RequiresInVain, "EX-04b", 1),
    (Breakage::LongWorkers, "EX-11c", 1),
    (Breakage::FixedEphemeral, "SE-07b", 1),
    (Breakage::FixedEphemeral, "SE-07c", 1),
    (Breakage::NoPatience, "MP-33a", 1),
    (Breakage::NoDeadline, "SE-18c", 1),
    (Breakage::NoDeadline, "MP-33b", 1),
    (Breakage::FlagsUntold, "OV-34a", 1),
    (Breakage::FlagsVary, "OV-34d", 1),
    (Breakage::FlagsDishonest, "OV-34c", 1),
    (Breakage::UndefinedFlags, "MP-22a", 1),
    (Breakage::FixedVersionFlag, "MP-21a", 1),
    (Breakage::FixedVersionFlag, "MP-22b", 1),
    (Breakage::OtherProtocolsUnheard, "OV-30o", 1),
    (Breakage::OtherProtocolsUnheard, "OV-30p", 1),
    (Breakage::AnonymousRefused, "DF-02a", 1),
    (Breakage::AnonymousRefused, "DF-02b", 1),
    (Breakage::LongTextsRefused, "OV-31d", 1),
    (Breakage::ExtensionUnasked, "OV-14a", 1),
    (Breakage::UnknownTlvFatal, "EX-11a", 1),
    (Breakage::UnknownTlvFatal, "EX-11b", 1),
    (Breakage::GroupsStandardJobs, "MP-23b", 1),
    (Breakage::EmptyPrefix, "MP-02d", 1),
    (Breakage::RefusesGood, "MP-50a", 1),
    (Breakage::RefusesGood, "MP-51a", 1),
    (Breakage::RefusesGood, "MP-53e", 1),
    (Breakage::LastMissing, "MP-53a", 1),
    (Breakage::CountsDouble, "MP-53b", 1),
    (Breakage::NumbersMustRise, "MP-55a", 1),
    (Breakage::NoTimeRolled, "MP-52a", 1),
    (Breakage::NoTimeRolled, "DF-01a", 1),
    (Breakage::NothingRolled, "MP-57b", 1),
    (Breakage::NothingRolled, "MP-57c", 1),
    (Breakage::NothingRolled, "MP-57d", 1),
    (Breakage::ErrorsUnaddressed, "MP-56h", 1),
    // A server that acknowledges nothing at once is not taken for one that accepts nothing.
    (Breakage::TrailingBytes, "OV-16c", 10),
    (Breakage::CutShares, "OV-05e", 10),
    (Breakage::CloseUnheard, "MP-43a", 10),
    (Breakage::GroupCloseUnheard, "MP-43d", 10),
    (Breakage::AnyKindOfShare, "MP-50b", 10),
    (Breakage::AnyKindOfShare, "MP-51f", 10),
    (Breakage::CountersGoOn, "MP-54a", 10),
    (Breakage::Duplicates, "MP-56d", 10),
    (Breakage::TargetOfTheMoment, "MP-81a", 10),
    (Breakage::FirstTargetForEver, "MP-81b", 10),
];

/// Each is caught by its case, and by no other of the section but those that are kept with it.
#[tokio::test(start_paused = true)]
async fn each_broken_server_is_caught() {
    let (mut page, mut missed) = (String::new(), String::new());
    for (breakage, id, batch) in CAUGHT {
        let (env, target) = gathering_bench(Some(*breakage), *batch);
        let section = selected(&[id])[0].section;
        let cases = Selection { sections: vec![section], ids: Vec::new() }.cases();
        let mut caught = Vec::new();
        for case in cases {
            let outcome = judge(&env, &target, case).await;
            if matches!(outcome.verdict, Verdict::Fail(_) | Verdict::Deviation(_)) {
                assert!(!outcome.record.is_empty(), "{id} says what was sent and seen");
                caught.push(case.id);
            }
        }
        if !caught.contains(id) {
            writeln!(missed, "{breakage:?} is caught by {caught:?}, not by {id}").unwrap();
        }
        let (section, caught) = (section.as_str(), caught.join(" "));
        writeln!(page, "{breakage:?}, {batch} at a time, {section}: {caught}").unwrap();
    }
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/conformance"),
        prepend_module_to_snapshot => false,
        omit_expression => true
    }, {
        insta::assert_snapshot!("breakages", page);
    });
    assert!(missed.is_empty(), "{missed}");
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
