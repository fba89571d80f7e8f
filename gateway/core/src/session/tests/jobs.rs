//! Work on its way to the miner.

use sv2_wire::mining::{CloseChannel, SetCustomMiningJob, UpdateChannel};
use sv2_wire::{B064K, B0255, Seq0255};

use super::*;
use crate::prevhash::Disconnect;
use crate::reason::ReasonCode;
use crate::sample::{HARD_BITS, tip};

fn lost(tip_byte: u8) -> Input<'static> {
    Input::Disconnect(Disconnect {
        tip: Some(tip(tip_byte)),
        reason: ReasonCode::PrevhashSwitchTimeout,
    })
}

#[test]
fn a_new_tip_is_a_future_job_and_its_start_in_one_buffer() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    rig.frame(0, &open("b", 0.0, Target::MAX));
    assert_eq!(
        rig.publish(10, work(2, 2, HARD_BITS)),
        ["job 2 future + prevhash for 2 + job 2 future + prevhash for 2"],
        "one buffer for both channels"
    );
    assert_eq!(rig.session.tip(), Some(tip(2)));
}

#[test]
fn better_work_on_the_same_tip_starts_at_once_and_is_sent_once() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    assert_eq!(rig.publish(10, work(2, 1, HARD_BITS)), ["job 2 from 1800000000"]);
    assert_eq!(rig.publish(11, work(2, 1, HARD_BITS)), Vec::<String>::new());
}

#[test]
fn the_minimum_time_never_goes_back_on_a_tip() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let mut earlier = crate::sample::template(2, 1, HARD_BITS);
    earlier.curtime -= 50;
    let earlier = Work::build(Arc::new(earlier), &crate::sample::spec()).unwrap();
    assert_eq!(rig.publish(10, Arc::new(earlier)), ["job 2 from 1800000000"]);
}

#[test]
fn channels_have_different_work() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let first = rig.job.unwrap().merkle_root;
    rig.frame(0, &open("b", 0.0, Target::MAX));
    assert_ne!(rig.job.unwrap().merkle_root, first);
}

#[test]
fn while_a_newer_tip_waits_nothing_of_the_old_one_is_sent() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    rig.shared.withhold_work(true);
    assert_eq!(
        rig.frame(1, &open("b", 0.0, Target::MAX)),
        ["open 3 in group 1", "ChannelOpened"],
        "the new channel waits"
    );
    let update = UpdateChannel {
        channel_id: 2,
        nominal_hash_rate: 0.0,
        maximum_target: U256(Target::from_difficulty(difficulty(8.0)).to_le_bytes()),
    };
    assert_eq!(rig.frame(2, &update), ["target"]);
    let share = rig.share(1);
    assert_eq!(rig.frame(3, &share), ["accepted 1"], "the old work still earns");
    rig.shared.withhold_work(false);
    assert_eq!(
        rig.publish(4, work(2, 2, HARD_BITS)),
        ["job 2 future + prevhash for 2 + job 1 future + prevhash for 1"]
    );
}

#[test]
fn only_the_miners_of_the_lost_tip_are_closed() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    assert_eq!(rig.input(10, lost(9)), Vec::<String>::new());
    rig.publish(11, work(2, 2, HARD_BITS));
    assert_eq!(rig.input(12, lost(1)), Vec::<String>::new(), "it is on the next tip already");
    assert_eq!(
        rig.input(13, lost(2)),
        ["close channel 2 prevhash-switch-timeout", "close prevhash_switch_timeout"]
    );
}

#[test]
fn a_connection_without_work_outlives_a_lost_tip_and_gets_no_work_of_it() {
    let mut rig = Rig::ready(|_| {});
    rig.publish(0, work(1, 1, HARD_BITS));
    assert_eq!(rig.input(1, lost(1)), Vec::<String>::new());
    assert_eq!(rig.frame(2, &open("a", 0.0, Target::MAX))[0], "open 2 in group 1");
}

#[test]
fn a_drain_closes_in_every_phase() {
    for mut rig in [Rig::new(|_| {}), Rig::ready(|_| {})] {
        assert_eq!(rig.input(1, Input::Drain), ["close shutdown_drain"]);
    }
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    assert_eq!(
        rig.input(1, Input::Drain),
        ["close channel 2 shutdown-drain", "close shutdown_drain"]
    );
}

#[test]
fn df04_a_client_without_a_vendor_is_closed_without_a_word() {
    let mut rig = Rig::new(|_| {});
    rig.frame(0, &setup_of(b"", 0, (2, 2), 0b001));
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open("alice", 0.0, Target::MAX));
    let share = rig.share(1);
    rig.frame(1, &share);
    rig.input(2, Input::Durable(Receipt(1)));
    let words = rig.input(3, Input::Drain);
    assert_eq!(words, ["ack 1: 1 worth 0", "close shutdown_drain"], "what it earned is told");
}

#[test]
fn custom_jobs_are_refused() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let empty = B064K::new(b"").unwrap();
    let job = SetCustomMiningJob {
        channel_id: 2,
        request_id: 4,
        mining_job_token: B0255::new(b"t").unwrap(),
        version: 0,
        prev_hash: U256([0; 32]),
        min_ntime: 0,
        nbits: 0,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::new(b"").unwrap(),
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: empty,
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::new(&[]).unwrap(),
    };
    assert_eq!(
        rig.frame(1, &job),
        ["custom error 4 unsupported-feature-flags", "CustomJobRefused"]
    );
}

#[test]
fn new_settings_hold_for_what_comes_after() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    let mut changed = settings();
    changed.max_channels = 1;
    rig.input(1, Input::Settings(Arc::new(changed)));
    assert_eq!(
        rig.frame(2, &open("b", 0.0, Target::MAX))[0],
        "open error channel-capacity-exhausted"
    );
    let close = CloseChannel { channel_id: 2, reason_code: Str0255::new(b"x").unwrap() };
    assert_eq!(rig.frame(3, &close), ["ChannelClosed"]);
}
