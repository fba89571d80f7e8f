//! Jobs addressed to the group channel.

use rstest::rstest;
use sv2_wire::B032;
use sv2_wire::mining::{SubmitSharesExtended, UpdateChannel};

use super::extended::open_extended;
use super::*;
use crate::ids::sha256d;
use crate::job::merkle_root;
use crate::limits::{EXTRANONCE_BYTES, ROLLED_EXTRANONCE_BYTES};
use crate::sample::HARD_BITS;

const ROLLED: [u8; ROLLED_EXTRANONCE_BYTES] = [7; ROLLED_EXTRANONCE_BYTES];

fn grouping(settings: &mut Settings) {
    settings.group_addressing = true;
    settings.max_channels = 3;
}

/// A connection of this vendor with the extended channel 2 and the standard channel 3, both on
/// template 1.
fn pair_of(vendor: &'static [u8], adjust: impl FnOnce(&mut Settings)) -> Rig {
    let mut rig = Rig::new(adjust);
    rig.frame(0, &setup_of(vendor, 0, (2, 2), 0));
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open_extended("alice", 2));
    rig.frame(0, &open("bob", 0.0, Target::MAX));
    rig
}

fn pair() -> Rig {
    pair_of(b"proxy", grouping)
}

/// A share of channel 2 on any job.
fn extended_share(rig: &Rig, job_id: u32, nonce: u32) -> SubmitSharesExtended<'static> {
    SubmitSharesExtended {
        channel_id: 2,
        sequence_number: nonce,
        job_id,
        nonce,
        ntime: rig.ntime,
        version: 0x2000_0000,
        extranonce: B032::new(&ROLLED).unwrap(),
    }
}

/// A share of channel 3 on any job.
fn standard_share(rig: &Rig, job_id: u32, nonce: u32) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id: 3,
        sequence_number: nonce,
        job_id,
        nonce,
        ntime: rig.ntime,
        version: 0x2000_0000,
    }
}

#[test]
fn mp64_one_job_and_one_start_serve_every_channel() {
    let mut rig = pair();
    assert_eq!(
        rig.publish(10, work(2, 2, HARD_BITS)),
        ["extended job 2 on 1 future + prevhash for 2 in the group"]
    );
    assert_eq!(rig.publish(20, work(3, 2, HARD_BITS)), ["extended job 3 on 1 from 1800000000"]);
    assert_eq!(rig.publish(21, work(3, 2, HARD_BITS)), Vec::<String>::new());
}

#[test]
fn shares_of_a_group_job_are_each_channels_own() {
    let mut rig = pair();
    let prefix = rig.prefix.clone();
    rig.publish(10, work(2, 2, HARD_BITS));
    let share = standard_share(&rig, 2, 1);
    assert_eq!(rig.frame(11, &share), ["accepted 1"]);
    let job = rig.extended.as_ref().unwrap();
    let coinbase = sha256d(&[&job.prefix, &prefix, &job.suffix]);
    let root = merkle_root(coinbase, &job.path);
    assert_eq!(prefix.len(), EXTRANONCE_BYTES, "mp14: as long as prefix and rolled bytes");
    assert_eq!(rig.accepted[0].forward.header[36..68], root, "the miner reckons the same");
    let share = extended_share(&rig, 2, 1);
    assert_eq!(rig.frame(12, &share), ["accepted 2"]);
    assert_ne!(rig.accepted[1].forward.header[36..68], root);
    let late = extended_share(&rig, 1, 2);
    assert_eq!(rig.frame(13, &late)[1], "share 2 stale-share");
}

#[test]
fn a_lone_channel_gets_its_work_by_its_own_number() {
    let mut rig = Rig::ready(grouping);
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open_extended("alice", 2));
    assert_eq!(
        rig.publish(10, work(2, 2, HARD_BITS)),
        ["extended job 2 on 2 future + prevhash for 2"]
    );
}

#[rstest]
#[case::df04_nameless(b"")]
#[case::df05_drops_frames_of_the_group(b"bitaxe")]
fn a_client_that_cannot_read_group_jobs_gets_its_own(#[case] vendor: &'static [u8]) {
    let mut rig = pair_of(vendor, grouping);
    assert_eq!(
        rig.publish(10, work(2, 2, HARD_BITS)),
        ["extended job 2 on 2 future + prevhash for 2 + job 2 future + prevhash for 2"]
    );
}

#[test]
fn mp23_a_client_that_requires_standard_jobs_gets_no_group_job() {
    let mut rig = Rig::new(grouping);
    rig.frame(0, &setup(0, 2, 2, 0b001));
    rig.publish(0, work(1, 1, HARD_BITS));
    for name in ["a", "b"] {
        rig.frame(0, &open(name, 0.0, Target::MAX));
    }
    assert_eq!(
        rig.publish(10, work(2, 2, HARD_BITS)),
        ["job 2 future + prevhash for 2 + job 2 future + prevhash for 2"]
    );
}

#[test]
fn a_newcomer_starts_on_its_own_and_joins_with_the_next_job() {
    let mut rig = pair();
    rig.publish(10, work(2, 2, HARD_BITS));
    assert_eq!(
        rig.frame(11, &open("carol", 0.0, Target::MAX))[0],
        "open 4 in group 1 + job 1 future + prevhash for 1"
    );
    assert_eq!(rig.publish(20, work(3, 2, HARD_BITS)), ["extended job 3 on 1 from 1800000000"]);
    let share = SubmitSharesStandard { channel_id: 4, ..standard_share(&rig, 3, 1) };
    assert_eq!(rig.frame(21, &share), ["accepted 1"]);
    let never = SubmitSharesStandard { job_id: 2, ..share };
    assert_eq!(rig.frame(22, &never)[1], "share 1 invalid-job-id", "job 2 was before its time");
}

#[test]
fn members_on_different_tips_get_a_job_each() {
    let mut rig = pair();
    rig.shared.withhold_work(true);
    rig.frame(1, &open("carol", 0.0, Target::MAX));
    rig.shared.withhold_work(false);
    let words = rig.publish(2, work(2, 1, HARD_BITS));
    assert_eq!(
        words,
        ["extended job 2 on 2 from 1800000000 + job 2 from 1800000000 \
          + job 1 future + prevhash for 1"]
    );
    assert_eq!(rig.publish(3, work(3, 1, HARD_BITS)), ["extended job 3 on 1 from 1800000000"]);
}

#[test]
fn mp81_a_retarget_is_one_channels_own_affair() {
    let mut rig = pair();
    let harder = UpdateChannel {
        channel_id: 3,
        nominal_hash_rate: 0.0,
        maximum_target: U256(Target::from_difficulty(difficulty(64.0)).to_le_bytes()),
    };
    assert_eq!(rig.frame(1, &harder), ["target + job 2 from 1800000000"]);
    let others = extended_share(&rig, 2, 1);
    assert_eq!(rig.frame(2, &others)[1], "share 1 invalid-job-id");
    assert_eq!(rig.publish(3, work(2, 1, HARD_BITS)), ["extended job 3 on 1 from 1800000000"]);
    let (easy, hard) = (extended_share(&rig, 3, 2), standard_share(&rig, 3, 3));
    assert_eq!(rig.frame(4, &easy), ["accepted 1"], "each job is worth what its channel is");
    assert_eq!(rig.frame(5, &hard)[1], "share 3 difficulty-too-low");
}

#[test]
fn a_quiet_group_gets_a_later_job_within_a_minute() {
    let mut rig = pair();
    assert_eq!(rig.input(54_999, Input::Tick), Vec::<String>::new());
    assert_eq!(rig.input(55_000, Input::Tick), ["extended job 2 on 1 from 1800000055"]);
    assert_eq!(rig.session.next_deadline(), Some(Duration::from_secs(110)));
}

#[test]
fn mp82_a_client_learns_its_group_when_the_gateway_begins_to_use_it() {
    let mut rig = pair_of(b"proxy", |_| {});
    let reload = |adjust: fn(&mut Settings)| {
        let mut settings = settings();
        adjust(&mut settings);
        Input::Settings(Arc::new(settings))
    };
    assert_eq!(rig.input(1, reload(grouping)), ["group 1 of [2, 3]"]);
    assert_eq!(rig.input(2, reload(grouping)), Vec::<String>::new());
    assert_eq!(rig.publish(3, work(2, 1, HARD_BITS)), ["extended job 2 on 1 from 1800000000"]);
    assert_eq!(rig.input(4, reload(|_| {})), Vec::<String>::new());
    let words = rig.publish(5, work(3, 1, HARD_BITS));
    assert_eq!(words, ["extended job 3 on 2 from 1800000000 + job 3 from 1800000000"]);
}
