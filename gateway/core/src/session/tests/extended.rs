//! Extended channels: what they are granted, told, and may submit.

use std::collections::BTreeSet;

use bitcoin::Block;
use bitcoin::consensus::deserialize;
use rstest::rstest;
use sv2_wire::extensions::RequestExtensions;
use sv2_wire::mining::{NewExtendedMiningJob, OpenExtendedMiningChannel, SubmitSharesExtended};
use sv2_wire::{B032, B064K, Seq064K, Tlv};

use super::*;
use crate::ids::{JobId, ShareId, sha256d};
use crate::job::{Header, merkle_root};
use crate::limits::{EXTRANONCE_BYTES, ROLLED_EXTRANONCE_BYTES};
use crate::reason::ReasonCode;
use crate::sample::{HARD_BITS, REGTEST_BITS, spec, template_with, tip, transaction};

/// An extended job as a miner keeps it.
pub(super) struct ExtendedJob {
    id: JobId,
    version: u32,
    version_rolling_allowed: bool,
    pub(super) path: Vec<[u8; 32]>,
    pub(super) prefix: Vec<u8>,
    pub(super) suffix: Vec<u8>,
}

impl Rig {
    pub(super) fn extended(&mut self, job: &NewExtendedMiningJob<'_>) -> String {
        self.extended = Some(ExtendedJob {
            id: JobId(job.job_id),
            version: job.version,
            version_rolling_allowed: job.version_rolling_allowed,
            path: job.merkle_path.iter().map(|node| node.0).collect(),
            prefix: job.coinbase_tx_prefix.as_bytes().to_vec(),
            suffix: job.coinbase_tx_suffix.as_bytes().to_vec(),
        });
        let (id, channel) = (job.job_id, job.channel_id);
        match job.min_ntime {
            Some(min_ntime) => {
                self.ntime = min_ntime;
                format!("extended job {id} on {channel} from {min_ntime}")
            }
            None => format!("extended job {id} on {channel} future"),
        }
    }

    fn extended_mining(work: Arc<Work>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut rig = Self::ready(adjust);
        rig.publish(0, work);
        let words = rig.frame(0, &open_extended("alice", 2));
        let expected =
            "open 2 extended 8+16 in group 1 + extended job 1 on 2 future + prevhash for 1";
        assert_eq!(words, [expected, "ChannelOpened"]);
        rig
    }

    /// The header of a share with this rolled extranonce, as the miner reckons it.
    fn header(&self, rolled: &[u8], nonce: u32) -> Header {
        let job = self.extended.as_ref().unwrap();
        let coinbase = sha256d(&[&job.prefix, &self.prefix, rolled, &job.suffix]);
        Header {
            version: job.version,
            prev_hash: tip(1),
            merkle_root: merkle_root(coinbase, &job.path),
            ntime: self.ntime,
            nbits: REGTEST_BITS,
            nonce,
        }
    }
}

pub(super) fn open_extended(
    identity: &str,
    min_extranonce_size: u16,
) -> OpenExtendedMiningChannel<'_> {
    OpenExtendedMiningChannel {
        request_id: 12,
        user_identity: Str0255::new(identity.as_bytes()).unwrap(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
        min_extranonce_size,
    }
}

fn share<'a>(rig: &Rig, rolled: &'a [u8], nonce: u32) -> SubmitSharesExtended<'a> {
    let job = rig.extended.as_ref().unwrap();
    SubmitSharesExtended {
        channel_id: 2,
        sequence_number: nonce,
        job_id: job.id.0,
        nonce,
        ntime: rig.ntime,
        version: job.version,
        extranonce: B032::new(rolled).unwrap(),
    }
}

const ROLLED: [u8; ROLLED_EXTRANONCE_BYTES] = [0xab; ROLLED_EXTRANONCE_BYTES];

#[rstest]
#[case::mp36_none(0, "open 2 extended 8+16 in group 1")]
#[case::mp36_all_there_is(16, "open 2 extended 8+16 in group 1")]
#[case::mp36_too_much(17, "open error min-extranonce-size-too-large")]
fn a_channel_gets_at_least_the_extranonce_it_asks_for(#[case] least: u16, #[case] answer: &str) {
    let mut rig = Rig::ready(|_| {});
    assert_eq!(rig.frame(0, &open_extended("a", least))[0], answer);
}

#[test]
fn mp23_a_client_that_requires_standard_jobs_gets_no_extended_channel() {
    let mut rig = Rig::new(|_| {});
    rig.frame(0, &setup(0, 2, 2, 0b001));
    let refused =
        ["open error extended-channel-unsupported", "OpenRefused(ExtendedChannelUnsupported)"];
    assert_eq!(rig.frame(0, &open_extended("a", 2)), refused);
}

#[test]
fn mp02_mp14_every_channel_has_its_own_space_and_the_same_size() {
    let mut rig = Rig::ready(|settings| settings.max_channels = 10);
    rig.publish(0, work(1, 1, HARD_BITS));
    let prefixes: BTreeSet<_> = (0..4)
        .map(|_| {
            rig.frame(0, &open_extended("a", 8));
            assert_eq!(rig.prefix.len() + ROLLED_EXTRANONCE_BYTES, EXTRANONCE_BYTES);
            rig.prefix.clone()
        })
        .collect();
    assert_eq!(prefixes.len(), 4);
}

#[rstest]
#[case::mp57_rolls(0x1fff_ffe0, true)]
#[case::mp22_fixed(0, false)]
fn jobs_say_whether_the_version_may_roll(#[case] mask: u32, #[case] allowed: bool) {
    let rig = Rig::extended_mining(work(1, 1, HARD_BITS), |settings| {
        settings.version_rolling_mask = mask;
    });
    assert_eq!(rig.extended.unwrap().version_rolling_allowed, allowed);
}

#[test]
fn an_honest_share_is_accepted_and_carries_the_full_extranonce() {
    let mut rig = Rig::extended_mining(work(1, 1, HARD_BITS), |settings| {
        settings.validation = ValidationLevel::Enhanced;
    });
    rig.pass(1);
    let submitted = share(&rig, &ROLLED, 5);
    assert_eq!(rig.frame(10, &submitted), ["accepted 1"]);
    let forward = &rig.accepted[0].forward;
    assert_eq!(forward.extranonce.as_slice(), [rig.prefix.as_slice(), &ROLLED].concat());
    let coinbase =
        [forward.job.coinbase_prefix.as_slice(), &forward.extranonce, &forward.job.coinbase_suffix];
    let root = merkle_root(sha256d(&coinbase), &forward.job.merkle_path);
    assert_eq!(forward.header[36..68], root);
    assert_eq!(root, rig.header(&ROLLED, 5).merkle_root, "the miner reckons the same");
    let again = share(&rig, &ROLLED, 5);
    assert_eq!(rig.frame(11, &again)[0], "rejected Error(ShareReplayDetected)");
    let other = share(&rig, &[0xac; 16], 5);
    assert_eq!(rig.frame(12, &other), ["accepted 2"], "another extranonce is another share");
}

#[rstest]
#[case::mp51_none(0)]
#[case::mp51_short(15)]
#[case::mp51_long(17)]
#[case::mp51_longest(32)]
fn a_share_rolls_exactly_what_was_granted(#[case] len: usize) {
    let mut rig = Rig::extended_mining(work(1, 1, HARD_BITS), |_| {});
    let rolled = vec![1; len];
    let submitted = share(&rig, &rolled, 3);
    let reason = ReasonCode::ShareInvalidNonce;
    let words = rig.frame(1, &submitted);
    assert_eq!(
        words,
        [format!("rejected Error({reason:?})"), "share 3 bad-extranonce-size".into()]
    );
}

#[test]
fn a_standard_share_does_not_do_on_an_extended_channel() {
    let mut rig = Rig::extended_mining(work(1, 1, HARD_BITS), |_| {});
    let standard = SubmitSharesStandard {
        channel_id: 2,
        sequence_number: 4,
        job_id: 1,
        nonce: 4,
        ntime: rig.ntime,
        version: 0x2000_0000,
    };
    assert_eq!(rig.frame(1, &standard)[1], "share 4 bad-extranonce-size");
}

#[test]
fn mp40_a_block_of_an_extended_channel_is_whole() {
    let transactions = [transaction([1; 32], true), transaction([2; 32], false)];
    let template = template_with(&transactions, 101);
    let built = Work::build(Arc::new(template), &spec()).unwrap();
    let mut rig = Rig::extended_mining(Arc::new(built), |_| {});
    let network = Target::from_compact(bitcoin::CompactTarget::from_consensus(REGTEST_BITS));
    let nonce = (0..1000)
        .find(|nonce| {
            let header = rig.header(&ROLLED, *nonce).serialize();
            network.is_met_by(ShareId::of_header(&header).header_hash())
        })
        .expect("every second hash is a block");
    let submitted = share(&rig, &ROLLED, nonce);
    assert_eq!(rig.frame(1, &submitted), ["block", "accepted 1"]);
    let block: Block = deserialize(&rig.blocks[0].bytes).unwrap();
    assert_eq!(block.block_hash(), rig.blocks[0].hash);
    assert_eq!(block.txdata.len(), 3);
    assert!(block.check_merkle_root());
    assert!(block.check_witness_commitment());
}

/// Rig whose miner asked for these extensions and works on an extended channel.
fn naming(extensions: &[u16]) -> Rig {
    let mut rig = Rig::ready(|_| {});
    let requested_extensions = Seq064K::new(extensions).unwrap();
    rig.frame(0, &RequestExtensions { request_id: 3, requested_extensions });
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open_extended("alice", 2));
    rig
}

fn named(rig: &mut Rig, nonce: u32, tlvs: &[Tlv<'_>]) -> Vec<String> {
    let mut bytes = Vec::new();
    share(rig, &ROLLED, nonce).encode_frame_with_tlvs(tlvs, &mut bytes);
    rig.bytes(1_000, &bytes)
}

fn worker(name: &[u8]) -> Tlv<'_> {
    Tlv { extension_type: 2, field_type: 1, value: B064K::new(name).unwrap() }
}

#[rstest]
#[case::its_own("alice", "alice")]
#[case::below("alice.rig1", "alice.rig1")]
#[case::no_one_elses("bob", "alice.bob")]
#[case::no_one_elses_beginning_alike("alicex", "alice.alicex")]
fn ex10_a_share_counts_for_the_worker_it_names(#[case] name: &str, #[case] credited: &str) {
    let mut rig = naming(&[1, 2]);
    assert_eq!(named(&mut rig, 1, &[worker(name.as_bytes())]), ["accepted 1"]);
    let AcceptedShare { event, forward, .. } = &rig.accepted[0];
    assert_eq!(event.worker_id.as_ref().unwrap().as_str(), credited);
    assert_eq!(forward.worker_id.as_str(), credited);
    let reports = rig.shared.worker_reports(None, 9, Duration::from_secs(10));
    let working: Vec<_> = reports
        .iter()
        .filter(|report| report.rates.one_minute > 0.0)
        .map(|report| report.worker.as_str())
        .collect();
    assert_eq!(working, [credited]);
}

#[test]
fn ex11_unless_agreed_on_a_name_is_ignored() {
    let mut rig = naming(&[1]);
    assert_eq!(named(&mut rig, 1, &[worker(b"bob")]), ["UnexpectedTlv", "accepted 1"]);
    assert_eq!(rig.accepted[0].forward.worker_id.as_str(), "alice");
}

#[test]
fn ex11_a_share_without_the_name_counts_for_the_channel() {
    let mut rig = naming(&[2]);
    assert_eq!(named(&mut rig, 1, &[]), ["WorkerMissing", "accepted 1"]);
    assert_eq!(rig.accepted[0].forward.worker_id.as_str(), "alice");
}

#[rstest]
#[case::ov16_too_long(&[b'a'; 33])]
#[case::no_text(&[0xff])]
#[case::control(b"a\nb")]
fn ex11_a_name_that_is_none_spoils_the_message(#[case] name: &[u8]) {
    let mut rig = naming(&[1, 2]);
    assert_eq!(named(&mut rig, 1, &[worker(name)]), ["close frame_decode_error"]);
}

#[test]
fn a_channel_brings_only_so_many_workers() {
    let mut rig = naming(&[1, 2]);
    for (nonce, name) in [(1, "a"), (2, "b"), (3, "a")] {
        assert_eq!(named(&mut rig, nonce, &[worker(name.as_bytes())]).len(), 1);
    }
    assert_eq!(named(&mut rig, 4, &[worker(b"c")]), ["WorkerOverCap", "accepted 4"]);
    assert_eq!(rig.accepted[3].forward.worker_id.as_str(), "alice");
    let shared = Arc::clone(&rig.shared);
    assert_eq!(shared.worker_reports(None, 9, Duration::ZERO).len(), 3);
    drop(rig);
    assert_eq!(shared.worker_reports(None, 9, Duration::ZERO), []);
}

#[test]
fn the_gateway_knows_only_so_many_workers() {
    let first = naming(&[1, 2]);
    let shared = Arc::clone(&first.shared);
    let mut rig = Rig::sharing(Arc::clone(&shared), |settings| {
        settings.max_channels = 10;
        settings.max_workers = 10;
    });
    rig.frame(0, &setup(0, 2, 2, 0));
    let requested_extensions = Seq064K::new(&[1, 2]).unwrap();
    rig.frame(0, &RequestExtensions { request_id: 3, requested_extensions });
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open_extended("alice", 2));
    for name in ["b", "c", "d", "e"] {
        rig.frame(0, &open(name, 0.0, Target::MAX));
    }
    assert_eq!(named(&mut rig, 1, &[worker(b"f")]), ["accepted 1"]);
    assert_eq!(shared.workers(), 6);
    assert_eq!(named(&mut rig, 2, &[worker(b"g")]), ["WorkerOverCap", "accepted 2"]);
    let refused = ["open error channel-capacity-exhausted", "OpenRefused(ChannelLimitExceeded)"];
    assert_eq!(rig.frame(1, &open("h", 0.0, Target::MAX)), refused);
    let known = rig.frame(2, &open("b", 0.0, Target::MAX));
    assert!(known[0].starts_with("open 7"), "a worker that is known is no further one: {known:?}");
    drop((first, rig));
    assert_eq!((shared.workers(), shared.channels()), (0, 0));
}

#[test]
fn both_kinds_live_on_one_connection_and_follow_the_tip() {
    let mut rig = Rig::extended_mining(work(1, 1, HARD_BITS), |_| {});
    rig.frame(0, &open("bob", 0.0, Target::MAX));
    assert_eq!(
        rig.publish(10, work(2, 2, HARD_BITS)),
        ["extended job 2 on 2 future + prevhash for 2 + job 2 future + prevhash for 2"]
    );
    assert_eq!(
        rig.publish(20, work(3, 2, HARD_BITS)),
        ["extended job 3 on 2 from 1800000000 + job 3 from 1800000000"]
    );
    let late = SubmitSharesExtended { job_id: 1, ..share(&rig, &ROLLED, 9) };
    assert_eq!(rig.frame(21, &late)[1], "share 9 stale-share");
}
