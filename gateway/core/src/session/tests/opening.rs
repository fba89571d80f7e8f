//! Setting up, negotiating, opening and closing.

use rstest::rstest;
use sv2_wire::common::ChannelEndpointChanged;
use sv2_wire::extensions::RequestExtensions;
use sv2_wire::mining::{CloseChannel, OpenExtendedMiningChannel, UpdateChannel};
use sv2_wire::{Seq064K, Tlv};

use super::*;
use crate::sample::{HARD_BITS, tip};
use crate::vardiff::Aim;

#[rstest]
#[case::all_served(setup(0, 2, 2, 0b101), &["SetupConnectionSuccess"])]
#[case::wide_versions(setup(0, 1, 9, 0), &["SetupConnectionSuccess"])]
#[case::job_declarator(
    setup(0, 2, 2, 0b110),
    &[
        "setup error unsupported-feature-flags 0b11111111111111111111111111111010",
        "close unsupported_protocol_version",
    ]
)]
#[case::probe(
    setup(0, 2, 2, u32::MAX),
    &[
        "setup error unsupported-feature-flags 0b11111111111111111111111111111010",
        "close unsupported_protocol_version",
    ]
)]
#[case::old(
    setup(0, 1, 1, 0b10),
    &["setup error protocol-version-mismatch 0b0", "close unsupported_protocol_version"]
)]
#[case::no_version(
    setup(0, 3, 2, 0),
    &["setup error protocol-version-mismatch 0b0", "close unsupported_protocol_version"]
)]
#[case::job_declaration(
    setup(1, 2, 2, 0),
    &["setup error unsupported-protocol 0b0", "close unsupported_protocol_version"]
)]
fn setup_is_answered_honestly(#[case] setup: SetupConnection<'static>, #[case] expected: &[&str]) {
    assert_eq!(Rig::new(|_| {}).frame(0, &setup), expected);
}

#[test]
fn without_version_rolling_a_miner_that_needs_it_is_refused() {
    let mut rig = Rig::new(|settings| settings.version_rolling_mask = 0);
    let words = rig.frame(0, &setup(0, 2, 2, 0b100));
    assert_eq!(
        words[0],
        "setup error unsupported-feature-flags 0b11111111111111111111111111111110"
    );
}

#[test]
fn a_message_out_of_phase_closes() {
    let closed = ["close frame_decode_error"];
    assert_eq!(Rig::new(|_| {}).frame(0, &open("a", 0.0, Target::MAX)), closed);
    assert_eq!(Rig::ready(|_| {}).frame(1, &setup(0, 2, 2, 0)), closed);
    let close = CloseChannel { channel_id: 2, reason_code: Str0255::new(b"bye").unwrap() };
    assert_eq!(Rig::ready(|_| {}).frame(1, &close), closed);
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    assert_eq!(rig.frame(1, &setup(0, 2, 2, 0)), closed);
    assert!(rig.session.is_closed());
    assert_eq!(rig.frame(2, &setup(0, 2, 2, 0)), Vec::<String>::new(), "nothing follows");
}

#[test]
fn each_phase_has_its_deadline() {
    let wake = |rig: &mut Rig| {
        let deadline = rig.session.next_deadline().unwrap().as_millis() as u64;
        assert_eq!(rig.input(deadline - 1, Input::Tick), Vec::<String>::new());
        assert_eq!(rig.input(deadline, Input::Tick), ["close peer_quota_exceeded"]);
        deadline
    };
    assert_eq!(wake(&mut Rig::new(|_| {})), 10_000);
    assert_eq!(wake(&mut Rig::ready(|_| {})), 60_000);
    let idle = |settings: &mut Settings| settings.idle_timeout = Duration::from_secs(40);
    assert_eq!(wake(&mut Rig::mining(HARD_BITS, idle)), 40_000);
}

#[rstest]
#[case::ex03_none(&[3], "no extensions [3]")]
#[case::ex03_some(&[1, 2, 3], "extensions [1, 2]")]
#[case(&[], "extensions []")]
fn extensions_are_granted_as_far_as_they_are_served(#[case] asked: &[u16], #[case] answer: &str) {
    let mut rig = Rig::ready(|_| {});
    let requested_extensions = Seq064K::new(asked).unwrap();
    assert_eq!(rig.frame(0, &RequestExtensions { request_id: 3, requested_extensions }), [answer]);
    assert_eq!(rig.frame(0, &open("a", 0.0, Target::MAX))[0], "open 2 in group 1");
}

#[test]
fn messages_of_unknown_extensions_are_dropped_but_not_in_place_of_setup() {
    let frame = [0x02, 0x40, 0x99, 1, 0, 0, 0xff];
    assert_eq!(Rig::new(|_| {}).bytes(0, &frame), ["close frame_decode_error"]);
    assert_eq!(Rig::ready(|_| {}).bytes(0, &frame), ["UnknownExtension"]);
    assert_eq!(Rig::mining(HARD_BITS, |_| {}).bytes(0, &frame), ["UnknownExtension"]);
}

#[test]
fn a_frame_is_too_large_by_its_header_alone() {
    let mut rig = Rig::ready(|_| {});
    let header = FrameHeader::decode([0, 0, 0x10, 0xe9, 3, 0]);
    let words = rig.input(0, Input::Frame { header, payload: &[] });
    assert_eq!(words, ["close frame_too_large"]);
}

#[test]
fn garbage_and_trailing_bytes_close_and_unasked_fields_do_not() {
    let mut bytes = Vec::new();
    open("a", 0.0, Target::MAX).encode_frame(&mut bytes);
    bytes[3] += 1;
    bytes.push(9);
    assert_eq!(Rig::ready(|_| {}).bytes(0, &bytes), ["close frame_decode_error"]);
    assert_eq!(Rig::ready(|_| {}).bytes(0, &[0, 0, 0x77, 0, 0, 0]), ["close frame_decode_error"]);

    let tlv = Tlv { extension_type: 2, field_type: 1, value: sv2_wire::B064K::new(b"x").unwrap() };
    let mut bytes = Vec::new();
    open("a", 0.0, Target::MAX).encode_frame_with_tlvs(&[tlv], &mut bytes);
    let words = Rig::ready(|_| {}).bytes(0, &bytes);
    assert_eq!(words, ["UnexpectedTlv", "open 2 in group 1", "ChannelOpened"]);
}

#[test]
fn a_peer_that_sends_too_much_is_closed() {
    let mut rig = Rig::ready(|settings| settings.messages_per_second = 3);
    let changed = ChannelEndpointChanged { channel_id: 1 };
    assert_eq!(rig.frame(0, &changed), Vec::<String>::new());
    assert_eq!(rig.frame(0, &changed), Vec::<String>::new());
    assert_eq!(rig.frame(0, &changed), ["close peer_quota_exceeded"]);
    let mut rig = Rig::ready(|settings| settings.bytes_per_second = 40);
    assert_eq!(rig.frame(0, &open("a", 0.0, Target::MAX)), ["close peer_quota_exceeded"]);
}

#[rstest]
#[case::nan(open("a", f32::NAN, Target::MAX), "invalid-nominal-hashrate")]
#[case::infinite(open("a", f32::INFINITY, Target::MAX), "invalid-nominal-hashrate")]
#[case::negative(open("a", -1.0, Target::MAX), "invalid-nominal-hashrate")]
#[case::zero_target(open("a", 0.0, Target::from_le_bytes([0; 32])), "max-target-out-of-range")]
#[case::too_hard(
    open("a", 0.0, Target::from_difficulty(difficulty(2e12))),
    "max-target-out-of-range"
)]
#[case::nameless(open("", 0.0, Target::MAX), "invalid-user-identity")]
#[case::long_name(
    open("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0.0, Target::MAX),
    "invalid-user-identity"
)]
fn a_channel_is_refused_for_a_reason(
    #[case] open: OpenStandardMiningChannel<'static>,
    #[case] code: &str,
) {
    let mut rig = Rig::ready(|_| {});
    assert_eq!(rig.frame(0, &open)[0], format!("open error {code}"));
    assert_eq!(rig.session.channels(), 0);
}

#[test]
fn strangers_extended_channels_and_one_channel_too_many_are_refused() {
    let mut rig = Rig::ready(|settings| settings.auth.mode = AuthMode::Allowlist(Vec::new()));
    assert_eq!(
        rig.frame(0, &open("a", 0.0, Target::MAX)),
        ["open error unknown-user", "OpenRefused(MinerUnauthorized)"]
    );
    let mut rig = Rig::ready(|settings| settings.extended_channels = false);
    let extended = OpenExtendedMiningChannel {
        request_id: 1,
        user_identity: Str0255::new(b"a").unwrap(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
        min_extranonce_size: 2,
    };
    assert_eq!(
        rig.frame(0, &extended),
        ["open error extended-channel-unsupported", "OpenRefused(ExtendedChannelUnsupported)"]
    );
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    rig.frame(0, &open("b", 0.0, Target::MAX));
    assert_eq!(
        rig.frame(0, &open("c", 0.0, Target::MAX)),
        ["open error channel-capacity-exhausted", "OpenRefused(ChannelLimitExceeded)"]
    );
}

#[test]
fn without_work_a_channel_waits_and_without_a_source_it_is_refused() {
    let mut rig = Rig::ready(|_| {});
    rig.input(0, Input::Upstream(false));
    assert_eq!(rig.frame(0, &open("a", 0.0, Target::MAX))[0], "open error upstream-unavailable");
    rig.input(0, Input::Upstream(true));
    let opened = rig.frame(0, &open("a", 0.0, Target::MAX));
    assert_eq!(opened, ["open 2 in group 1", "ChannelOpened"]);
    assert_eq!(rig.session.tip(), None);
    assert_eq!(rig.publish(5, work(1, 1, HARD_BITS)), ["job 1 future + prevhash for 1"]);
    assert_eq!(rig.session.tip(), Some(tip(1)));
}

#[test]
fn the_first_target_follows_the_hash_rate_within_bounds_and_never_passes_the_miners_own() {
    let granted = |rate: f32, max_target: Target| {
        let mut rig = Rig::ready(|settings| {
            settings.difficulty.aim =
                Some(Aim { shares_per_minute: 6.0, interval: Duration::from_secs(60) });
            settings.difficulty.most = difficulty(1e6);
        });
        rig.frame(0, &open("a", rate, max_target));
        rig.target
    };
    // 4.294967296e12 hashes a second are 1000 shares of difficulty 1 a second, 10 000 in ten.
    let expected = Target::from_difficulty(difficulty(10_000.0));
    let ratio =
        granted(4.294_967_3e12, Target::MAX).difficulty().as_f64() / expected.difficulty().as_f64();
    assert!((ratio - 1.0).abs() < 1e-6, "{ratio}");
    assert_eq!(granted(1e30, Target::MAX), Target::from_difficulty(difficulty(1e6)));
    assert_eq!(granted(0.0, Target::MAX), Target::from_difficulty(difficulty(TRIVIAL)));
    let own = Target::from_difficulty(difficulty(20_000.0));
    assert_eq!(granted(4.294_967_3e12, own), own);
}

#[test]
fn a_harder_maximum_is_followed_with_a_target_and_a_fresh_job() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let update = |value: f64| UpdateChannel {
        channel_id: 2,
        nominal_hash_rate: 1.0,
        maximum_target: U256(Target::from_difficulty(difficulty(value)).to_le_bytes()),
    };
    let words = rig.frame(10, &update(64.0));
    assert_eq!(words, ["target + job 2 from 1800000000"]);
    assert_eq!(rig.target, Target::from_difficulty(difficulty(64.0)));
    assert_eq!(rig.frame(11, &update(1.0)), Vec::<String>::new(), "easier needs no answer");
    // MP-41: also beyond the hardest that is given unasked (vardiff.max_difficulty).
    assert!(difficulty(1e13) > settings().difficulty.most);
    assert_eq!(rig.frame(12, &update(1e13)), ["target + job 3 from 1800000000"]);
    assert_eq!(rig.target, Target::from_difficulty(difficulty(1e13)));
    let impossible = UpdateChannel { maximum_target: U256([0; 32]), ..update(64.0) };
    assert_eq!(
        rig.frame(12, &impossible),
        ["update error max-target-out-of-range", "UpdateRefused(ChannelOpenRejected)"]
    );
    let unknown = UpdateChannel { channel_id: 9, ..update(64.0) };
    assert_eq!(
        rig.frame(13, &unknown),
        ["update error invalid-channel-id", "UpdateRefused(InvalidChannelId)"]
    );
    let no_rate = UpdateChannel { nominal_hash_rate: f32::NAN, ..update(64.0) };
    assert_eq!(rig.frame(14, &no_rate)[0], "update error invalid-nominal-hashrate");
}

#[test]
fn closing_frees_the_search_space_and_ids_are_not_used_again() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    assert!(rig.frame(0, &open("b", 0.0, Target::MAX))[0].starts_with("open 3 in group 1"));
    assert_eq!(rig.shared.channels(), 2);
    let close = |channel_id| CloseChannel { channel_id, reason_code: Str0255::new(b"x").unwrap() };
    assert_eq!(rig.frame(1, &close(2)), ["ChannelClosed"]);
    assert_eq!(rig.shared.channels(), 1);
    assert_eq!(rig.frame(1, &close(2)), Vec::<String>::new());
    assert!(rig.frame(1, &open("c", 0.0, Target::MAX))[0].starts_with("open 4 in group 1"));
    assert_eq!(rig.frame(2, &close(1)), ["ChannelClosed", "ChannelClosed"], "the whole group");
    assert_eq!(rig.shared.channels(), 0);
    assert_eq!(rig.publish(3, work(2, 2, HARD_BITS)), Vec::<String>::new());
}

#[test]
fn a_session_that_ends_frees_its_search_space() {
    let rig = Rig::mining(HARD_BITS, |_| {});
    let shared = Arc::clone(&rig.shared);
    drop(rig);
    assert_eq!(shared.channels(), 0);
}
