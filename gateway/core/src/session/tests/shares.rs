//! Shares: every refusal, the acknowledgement, the block.

use bitcoin::Block;
use bitcoin::consensus::deserialize;
use rstest::rstest;
use sv2_wire::B032;
use sv2_wire::mining::{SubmitSharesExtended, UpdateChannel};

use super::*;
use crate::event::Sv2Response;
use crate::ids::{ShareId, WorkerId};
use crate::limits::{MAX_JOBS_PER_CHANNEL, MAX_UNLOGGED_SHARES};
use crate::reason::ReasonCode;
use crate::sample::{HARD_BITS, REGTEST_BITS};

fn refused(sequence: u32, code: &str, reason: ReasonCode) -> Vec<String> {
    vec![format!("rejected Error({reason:?})"), format!("share {sequence} {code}")]
}

type Share = SubmitSharesStandard;
type Twist = fn(&mut Share);

#[rstest]
#[case::other_channel(
    |share: &mut Share| share.channel_id = 9,
    "invalid-channel-id",
    ReasonCode::InvalidChannelId
)]
#[case::group(
    |share: &mut Share| share.channel_id = 1,
    "invalid-channel-id",
    ReasonCode::InvalidChannelId
)]
#[case::job_ahead(
    |share: &mut Share| share.job_id = 2,
    "invalid-job-id",
    ReasonCode::ShareInvalidJobId
)]
#[case::job_zero(
    |share: &mut Share| share.job_id = 0,
    "invalid-job-id",
    ReasonCode::ShareInvalidJobId
)]
#[case::version(
    |share: &mut Share| share.version ^= 1,
    "invalid-non-rollable-version-bit",
    ReasonCode::VersionBitViolation
)]
#[case::version_top(
    |share: &mut Share| share.version ^= 1 << 29,
    "invalid-non-rollable-version-bit",
    ReasonCode::VersionBitViolation
)]
#[case::early(
    |share: &mut Share| share.ntime -= 1,
    "ntime-out-of-range",
    ReasonCode::NtimeOutOfRange
)]
#[case::late(
    |share: &mut Share| share.ntime += 7213,
    "ntime-out-of-range",
    ReasonCode::NtimeOutOfRange
)]
fn a_bad_share_is_refused_for_its_reason(
    #[case] twist: Twist,
    #[case] code: &str,
    #[case] reason: ReasonCode,
) {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let mut share = rig.share(7);
    twist(&mut share);
    assert_eq!(rig.frame(2000, &share), refused(7, code, reason));
    let event = rig.rejected.pop().unwrap();
    assert_eq!(event.sv2_response, Sv2Response::Error(reason));
    assert_eq!(event.channel_id.0, share.channel_id);
    assert_eq!(event.timestamp_ms, at(2000).unix_ms);
}

#[rstest]
#[case::rolled_bits(|share: &mut Share| share.version ^= 0x1fff_ffe0)]
#[case::wall_clock_and_a_minute(|share: &mut Share| share.ntime += 62)]
#[case::at_the_end_of_the_window(|share: &mut Share| share.ntime += 7202)]
fn a_share_within_the_rules_is_accepted(#[case] twist: Twist) {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let mut share = rig.share(7);
    twist(&mut share);
    assert_eq!(rig.frame(2000, &share), ["accepted 1"]);
}

#[test]
fn strict_time_is_the_letter_of_the_specification() {
    let mut rig = Rig::mining(HARD_BITS, |settings| settings.ntime_window = NtimeWindow::Strict);
    let mut share = rig.share(1);
    share.ntime += 2;
    assert_eq!(rig.frame(2000, &share), ["accepted 1"]);
    share.ntime += 1;
    assert_eq!(rig.frame(2999, &share)[1], "share 1 ntime-out-of-range");
}

#[test]
fn df01_a_time_ahead_of_the_clock_is_taken_however_old_the_template_is() {
    let mut rig = Rig::ready(|settings| {
        settings.ntime_window = NtimeWindow::DeFacto(Duration::from_secs(60));
    });
    rig.publish(40_000, work(1, 1, HARD_BITS));
    rig.frame(40_000, &open("alice", 0.0, Target::MAX));
    let mut share = rig.share(1);
    // The wall clock of the miner, which is ten seconds ahead, and a minute.
    share.ntime += 40 + 10 + 60;
    assert_eq!(rig.frame(40_000, &share), ["accepted 1"]);
    share.ntime += 1;
    assert_eq!(rig.frame(40_999, &share)[1], "share 1 ntime-out-of-range");
}

#[test]
fn where_no_version_may_be_rolled_the_answer_says_so() {
    let mut rig = Rig::mining(HARD_BITS, |settings| settings.version_rolling_mask = 0);
    let mut share = rig.share(1);
    share.version ^= 1 << 10;
    let reason = ReasonCode::VersionBitViolation;
    assert_eq!(rig.frame(1, &share), refused(1, "version-rolling-not-allowed", reason));
}

#[test]
fn a_hash_above_the_target_is_too_low_a_difficulty() {
    let hard = difficulty(1e9);
    let mut rig = Rig::mining(HARD_BITS, |settings| settings.difficulty.initial = hard);
    let share = rig.share(1);
    let reason = ReasonCode::ShareDifficultyBelowTarget;
    assert_eq!(rig.frame(1, &share), refused(1, "difficulty-too-low", reason));
    let event = rig.rejected.pop().unwrap();
    assert!((event.difficulty_target.unwrap().as_f64() / 1e9 - 1.0).abs() < 1e-9);
    assert!(event.share_id.is_some());
}

#[test]
fn a_replay_is_refused_from_full_on_and_counted_as_work_in_basic() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let share = rig.share(1);
    assert_eq!(rig.frame(1, &share), ["accepted 1"]);
    let reason = ReasonCode::ShareReplayDetected;
    assert_eq!(rig.frame(2, &share), refused(1, "duplicate-share", reason));
    let first = &rig.accepted[0].event;
    assert_eq!(rig.rejected[0].share_id, first.share_id);
    assert_ne!(rig.rejected[0].event_id, first.event_id);

    let mut rig = Rig::mining(HARD_BITS, |settings| settings.validation = ValidationLevel::Basic);
    let share = rig.share(1);
    assert_eq!(rig.frame(1, &share), ["accepted 1"]);
    assert_eq!(rig.frame(2, &share), ["accepted 2"]);
}

#[test]
fn a_share_of_the_tip_before_is_stale() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let share = rig.share(1);
    rig.publish(10, work(2, 2, HARD_BITS));
    let reason = ReasonCode::StaleJobSubmission;
    assert_eq!(rig.frame(11, &share), refused(1, "stale-share", reason));
    rig.publish(12, work(3, 3, HARD_BITS));
    assert_eq!(rig.frame(13, &share), refused(1, "stale-share", reason), "however old it is");
}

#[test]
fn a_job_whose_template_is_no_longer_held_earns_nothing() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let share = rig.share(1);
    rig.publish(10, work(2, 1, HARD_BITS));
    rig.publish(11, work(3, 1, HARD_BITS));
    let reason = ReasonCode::TemplateCacheMiss;
    assert_eq!(rig.frame(12, &share), refused(1, "template-cache-miss", reason));
    let share = rig.share(2);
    assert_eq!(rig.frame(13, &share), ["accepted 1"]);
}

#[test]
fn enhanced_asks_for_the_accepting_verdict() {
    let mut rig =
        Rig::mining(HARD_BITS, |settings| settings.validation = ValidationLevel::Enhanced);
    let share = rig.share(1);
    let reason = ReasonCode::TemplateCacheMiss;
    assert_eq!(rig.frame(1, &share), refused(1, "template-cache-miss", reason));
    rig.pass(1);
    assert_eq!(rig.frame(2, &share), ["accepted 1"]);
    assert_eq!(rig.accepted[0].event.fee_tier, Some("mid"));
}

#[test]
fn an_extended_share_must_not_bring_an_extranonce_to_a_standard_channel() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let standard = rig.share(3);
    let extended = |extranonce: &'static [u8]| SubmitSharesExtended {
        channel_id: standard.channel_id,
        sequence_number: 3,
        job_id: standard.job_id,
        nonce: 3,
        ntime: standard.ntime,
        version: standard.version,
        extranonce: B032::new(extranonce).unwrap(),
    };
    let reason = ReasonCode::ShareInvalidNonce;
    assert_eq!(rig.frame(1, &extended(&[1])), refused(3, "bad-extranonce-size", reason));
    assert_eq!(rig.frame(1, &extended(&[])), ["accepted 1"]);
}

#[test]
fn the_share_rate_is_bounded() {
    let mut rig = Rig::mining(HARD_BITS, |settings| settings.shares_per_second = 1);
    let (first, second) = (rig.share(1), rig.share(2));
    assert_eq!(rig.frame(1, &first), ["accepted 1"]);
    let reason = ReasonCode::ShareRateLimited;
    assert_eq!(rig.frame(2, &second), refused(2, "share-rate-limited", reason));
    assert_eq!(rig.rejected[0].worker_id, Some(WorkerId::new("alice")));
    assert_eq!(rig.frame(1002, &second), ["accepted 2"]);
}

#[test]
fn a_peer_cannot_outrun_the_log_without_bound() {
    let mut rig = Rig::mining(HARD_BITS, |settings| {
        settings.messages_per_second = 1_000_000;
        settings.bytes_per_second = 100_000_000;
        settings.shares_per_second = 1_000_000;
    });
    let bound = u32::try_from(MAX_UNLOGGED_SHARES).unwrap();
    for nonce in 1..=bound {
        let share = rig.share(nonce);
        assert_eq!(rig.frame(1, &share), [format!("accepted {nonce}")]);
    }
    let share = rig.share(bound + 1);
    let reason = ReasonCode::ShareRateLimited;
    assert_eq!(rig.frame(1, &share), refused(bound + 1, "share-rate-limited", reason));
    rig.input(2, Input::Durable(Receipt(1)));
    assert_eq!(rig.frame(3, &share).last().unwrap(), &format!("accepted {}", bound + 1));
}

#[test]
fn a_job_that_was_forgotten_was_still_issued() {
    let mut rig = Rig::sharing(shared(16, 1000), |_| {});
    rig.frame(0, &setup(0, 2, 2, 0));
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open("alice", 0.0, Target::MAX));
    let first = rig.share(1);
    for id in 2..=MAX_JOBS_PER_CHANNEL as u64 {
        rig.publish(id, work(id, 1, HARD_BITS));
    }
    assert_eq!(rig.frame(100, &first), ["accepted 1"]);
    rig.publish(101, work(999, 1, HARD_BITS));
    let reason = ReasonCode::TemplateCacheMiss;
    assert_eq!(rig.frame(102, &first), refused(1, "template-cache-miss", reason));
}

#[test]
fn a_job_keeps_the_target_it_was_sent_with() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let before = rig.share(1);
    let update = UpdateChannel {
        channel_id: 2,
        nominal_hash_rate: 0.0,
        maximum_target: U256(Target::from_difficulty(difficulty(1e9)).to_le_bytes()),
    };
    rig.frame(1, &update);
    assert_eq!(rig.frame(2, &before), ["accepted 1"]);
    let after = rig.share(2);
    assert_eq!(rig.frame(3, &after)[1], "share 2 difficulty-too-low");
}

#[test]
fn the_miner_is_told_of_success_only_when_the_log_has_it() {
    let mut rig =
        Rig::mining(HARD_BITS, |settings| settings.difficulty.initial = difficulty(1e-11));
    let shares = [1, 2, 3].map(|nonce| rig.share(nonce));
    for share in &shares {
        assert_eq!(rig.frame(10, share).len(), 1);
    }
    assert_eq!(rig.input(500, Input::Tick), Vec::<String>::new());
    assert_eq!(rig.input(600, Input::Durable(Receipt(2))), ["ack 2: 2 worth 0"], "by count");
    assert_eq!(rig.input(700, Input::Durable(Receipt(3))), Vec::<String>::new());
    assert_eq!(rig.session.next_deadline(), Some(Duration::from_millis(800)));
    assert_eq!(rig.input(800, Input::Tick), ["ack 3: 1 worth 0"], "by time");
}

#[test]
fn a_leaving_session_acknowledges_what_is_durable() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let share = rig.share(1);
    rig.frame(10, &share);
    rig.input(11, Input::Durable(Receipt(1)));
    let words = rig.input(12, Input::Drain);
    assert_eq!(words[0], "ack 1: 1 worth 0 + close channel 2 shutdown-drain");
}

#[test]
fn an_accepted_share_carries_all_that_a_pool_needs() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let share = rig.share(9);
    rig.frame(10, &share);
    let AcceptedShare { receipt, event, forward } = &rig.accepted[0];
    assert_eq!(*receipt, Receipt(1));
    assert_eq!(event.share_id, Some(forward.share_id));
    assert_eq!(event.event_id, forward.event_id);
    assert_eq!(event.sv2_response, Sv2Response::Success);
    assert_eq!(forward.share_id, ShareId::of_header(&forward.header));
    assert_eq!((forward.channel_id, forward.nonce), (ChannelId(2), 9));
    // The header follows from the job data and the extranonce alone.
    let coinbase =
        [forward.job.coinbase_prefix.as_slice(), &forward.extranonce, &forward.job.coinbase_suffix];
    let root = crate::job::merkle_root(crate::ids::sha256d(&coinbase), &forward.job.merkle_path);
    assert_eq!(forward.header[36..68], root);
}

/// A nonce whose hash meets the network target, or does not.
fn grind(rig: &Rig, wants_block: bool) -> SubmitSharesStandard {
    let job = rig.job.unwrap();
    let found = (0..1000).find(|nonce| {
        let header = crate::job::Header {
            version: job.version,
            prev_hash: crate::sample::tip(1),
            merkle_root: job.merkle_root.0,
            ntime: rig.ntime,
            nbits: REGTEST_BITS,
            nonce: *nonce,
        };
        let hash = ShareId::of_header(&header.serialize()).header_hash();
        let network = Target::from_compact(bitcoin::CompactTarget::from_consensus(REGTEST_BITS));
        network.is_met_by(hash) == wants_block
    });
    rig.share(found.expect("every second hash is a block"))
}

#[test]
fn a_block_comes_before_anything_else_and_once() {
    let mut rig = Rig::mining(REGTEST_BITS, |_| {});
    let share = grind(&rig, true);
    assert_eq!(rig.frame(1, &share), ["block", "accepted 1"]);
    assert_eq!(rig.frame(2, &share)[0], "rejected Error(ShareReplayDetected)");
    let found = rig.blocks.pop().unwrap();
    let block: Block = deserialize(&found.bytes).unwrap();
    assert_eq!(block.block_hash(), found.hash);
    assert!(block.check_merkle_root());
    assert!(block.check_witness_commitment());
    assert!(block.header.validate_pow(block.header.target()).is_ok());
    assert_eq!(found.height, 101);
    let share = grind(&rig, false);
    assert_eq!(rig.frame(3, &share), ["accepted 2"]);
}

#[test]
fn a_block_goes_out_even_if_the_share_is_too_easy_for_its_channel() {
    let mut rig = Rig::mining(REGTEST_BITS, |settings| {
        settings.difficulty.initial = difficulty(1e9);
    });
    let share = grind(&rig, true);
    let words = rig.frame(1, &share);
    assert_eq!(words[0], "block");
    assert!(words[2].ends_with("difficulty-too-low"), "{words:?}");
}

#[rstest]
#[case::rolled_too_far(|share: &mut Share| share.version ^= 1, "invalid-non-rollable-version-bit")]
#[case::too_early(|share: &mut Share| share.ntime -= 1, "ntime-out-of-range")]
#[case::too_late(|share: &mut Share| share.ntime += 7300, "ntime-out-of-range")]
fn a_header_that_the_job_does_not_allow_is_no_block(#[case] twist: Twist, #[case] code: &str) {
    let mut rig = Rig::mining(REGTEST_BITS, |_| {});
    let mut share = rig.share(0);
    twist(&mut share);
    // Every second of these hashes meets the network target.
    for nonce in 0..32 {
        share.nonce = nonce;
        let words = rig.frame(1, &share);
        assert!(words[1].ends_with(code), "{words:?}");
    }
    rig.publish(10, work(2, 2, REGTEST_BITS));
    for nonce in 32..64 {
        share.nonce = nonce;
        let words = rig.frame(2000, &share);
        assert!(words[1].ends_with("stale-share"), "no late block either: {words:?}");
    }
}

#[test]
fn a_late_block_on_the_tip_before_is_still_submitted() {
    let mut rig = Rig::mining(REGTEST_BITS, |_| {});
    let share = grind(&rig, true);
    rig.publish(10, work(2, 2, REGTEST_BITS));
    let words = rig.frame(11, &share);
    assert_eq!(words[..2], ["block", "rejected Error(StaleJobSubmission)"]);
}
