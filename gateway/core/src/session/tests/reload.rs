//! Changed settings and the channels that are open, and where clients go at the end.

use rstest::rstest;
use sv2_wire::B032;
use sv2_wire::mining::SubmitSharesExtended;

use super::extended::open_extended;
use super::*;
use crate::auth::{AllowedWorker, PrefixRule};
use crate::ids::sha256d;
use crate::job::merkle_root;
use crate::limits::ROLLED_EXTRANONCE_BYTES;
use crate::sample::HARD_BITS;

const ROLLED: [u8; ROLLED_EXTRANONCE_BYTES] = [9; ROLLED_EXTRANONCE_BYTES];

fn reload(adjust: impl FnOnce(&mut Settings)) -> Input<'static> {
    let mut settings = settings();
    adjust(&mut settings);
    Input::Settings(Arc::new(settings))
}

/// A client of this vendor with the extended channel 2 on template 1.
fn extended_of(vendor: &'static [u8]) -> Rig {
    let mut rig = Rig::new(|_| {});
    rig.frame(0, &setup_of(vendor, 0, (2, 2), 0));
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open_extended("alice", 2));
    rig
}

fn moved(settings: &mut Settings) {
    settings.extranonce_space = ExtranonceSpace::of_index(5);
}

fn share(rig: &Rig, job_id: u32) -> SubmitSharesExtended<'static> {
    SubmitSharesExtended {
        channel_id: 2,
        sequence_number: job_id,
        job_id,
        nonce: 1,
        ntime: rig.ntime,
        version: 0x2000_0000,
        extranonce: B032::new(&ROLLED).unwrap(),
    }
}

#[test]
fn mp44_a_new_prefix_holds_for_jobs_sent_after_it() {
    let mut rig = extended_of(b"proxy");
    let before = rig.prefix.clone();
    let words = rig.input(1_000, reload(moved));
    assert_eq!(words, ["prefix of 2 + extended job 2 on 2 from 1800000001"]);
    assert_eq!(rig.prefix.len(), before.len(), "mp14: the length stays");
    assert_eq!((&before[..4], &rig.prefix[..4]), (&[0; 4][..], &[0, 0, 0, 5][..]));
    let job = rig.extended.as_ref().unwrap();
    let root = |prefix: &[u8]| {
        merkle_root(sha256d(&[&job.prefix, prefix, &ROLLED, &job.suffix]), &job.path)
    };
    let roots = [root(&before), root(&rig.prefix)];
    for (job_id, root) in [(1, roots[0]), (2, roots[1])] {
        let share = share(&rig, job_id);
        assert_eq!(rig.frame(2_000, &share), [format!("accepted {job_id}")]);
        assert_eq!(rig.accepted.last().unwrap().forward.header[36..68], root);
    }
    assert_eq!(rig.input(3_000, reload(moved)), Vec::<String>::new());
    assert_eq!(rig.shared.channels(), 1);
}

#[rstest]
#[case::df04_nameless(b"")]
#[case::ignores_it(b"bitaxe")]
fn a_client_that_does_not_follow_keeps_its_prefix(#[case] vendor: &'static [u8]) {
    let mut rig = extended_of(vendor);
    assert_eq!(rig.input(1_000, reload(moved)), Vec::<String>::new());
    let share = share(&rig, 1);
    assert_eq!(rig.frame(2_000, &share), ["accepted 1"]);
}

#[test]
fn a_moved_channel_waits_for_its_job_while_a_newer_tip_is_judged() {
    let mut rig = extended_of(b"proxy");
    rig.shared.withhold_work(true);
    assert_eq!(rig.input(1, reload(moved)), ["prefix of 2"]);
    rig.shared.withhold_work(false);
    let words = rig.publish(2, work(2, 2, HARD_BITS));
    assert_eq!(words, ["extended job 2 on 2 future + prevhash for 2"]);
}

fn only_bob(settings: &mut Settings) {
    let bob = AllowedWorker { username: "bob".into(), password: None };
    settings.auth.mode = AuthMode::Allowlist(vec![bob]);
}

fn only_site(settings: &mut Settings) {
    let site = PrefixRule { prefix: "site-".into(), secret: None };
    settings.auth.mode = AuthMode::PrefixMap(vec![site]);
}

fn without_extended(settings: &mut Settings) {
    settings.extended_channels = false;
}

#[rstest]
#[case::struck_off(only_bob, "miner-unauthorized")]
#[case::prefix_gone(only_site, "identity-prefix-unmatched")]
#[case::kind_gone(without_extended, "extended-channel-unsupported")]
fn mp43_what_may_no_longer_be_open_is_closed(
    #[case] adjust: fn(&mut Settings),
    #[case] reason: &str,
) {
    let mut rig = extended_of(b"proxy");
    let accepted = share(&rig, 1);
    rig.frame(1, &accepted);
    rig.input(2, Input::Durable(Receipt(1)));
    let words = rig.input(3, reload(adjust));
    let expected = [&format!("ack 1: 1 worth 0 + close channel 2 {reason}"), "ChannelClosed"];
    assert_eq!(words, expected);
    assert_eq!((rig.shared.channels(), rig.session.is_closed()), (0, false));
    let late = share(&rig, 1);
    assert_eq!(rig.frame(4, &late)[1], "share 1 invalid-channel-id");
    assert_eq!(rig.publish(5, work(2, 2, HARD_BITS)), Vec::<String>::new());
}

#[test]
fn other_channels_of_the_connection_live_on() {
    let mut rig = extended_of(b"proxy");
    rig.frame(0, &open("bob", 0.0, Target::MAX));
    let words = rig.input(1, reload(only_bob));
    assert_eq!(words, ["close channel 2 miner-unauthorized", "ChannelClosed"]);
    let words = rig.publish(2, work(2, 2, HARD_BITS));
    assert_eq!(words, ["job 2 future + prevhash for 2"]);
}

#[test]
fn df04_a_client_without_a_vendor_loses_its_connection_instead() {
    let mut rig = extended_of(b"");
    assert_eq!(rig.input(1, reload(only_bob)), ["close miner_unauthorized"]);
}

fn elsewhere(settings: &mut Settings) {
    settings.reconnect = Some(ReconnectTo {
        host: "second.example".into(),
        port: 3334,
        vendors: vec!["proxy".into(), "rig".into()],
    });
}

#[test]
fn ov37_a_client_known_to_follow_is_sent_elsewhere_at_the_end() {
    let mut rig = extended_of(b"proxy");
    rig.input(0, reload(elsewhere));
    let last = share(&rig, 1);
    rig.frame(1, &last);
    rig.input(2, Input::Durable(Receipt(1)));
    assert_eq!(
        rig.input(3, Input::Drain),
        ["ack 1: 1 worth 0 + reconnect to second.example:3334", "close shutdown_drain"]
    );
}

#[test]
fn df03_anyone_else_is_closed() {
    let mut rig = extended_of(b"other");
    rig.input(0, reload(elsewhere));
    let words = rig.input(3, Input::Drain);
    assert_eq!(words, ["close channel 2 shutdown-drain", "close shutdown_drain"]);
    let mut unknown = Rig::new(elsewhere);
    assert_eq!(unknown.input(0, Input::Drain), ["close shutdown_drain"]);
    let mut channelless = Rig::new(elsewhere);
    channelless.frame(0, &setup_of(b"rig", 0, (2, 2), 0));
    let words = channelless.input(0, Input::Drain);
    assert_eq!(words, ["reconnect to second.example:3334", "close shutdown_drain"]);
}
