use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use gateway_core::event::{BlockFound, LogFault, ShareAccepted, ShareForwardResult, Sv2Response};
use gateway_core::ids::{ChannelId, ConnectionId, InstanceId, JobId, JobRef, ShareId, WorkerId};
use gateway_core::job::JobData;
use gateway_core::mode::ValidationLevel;
use gateway_core::target::Difficulty;
use platform::TaskHandle;
use proptest::prelude::*;

use super::segment::{self, Kind};
use super::*;
use crate::fake_disk::{self, FakeDisk};
use crate::http::events::EventFeed;

/// The name, filled up with zeros.
fn id<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let mut id = [0; LENGTH];
    id[..name.len()].copy_from_slice(name.as_bytes());
    id
}

/// The names of the shares without a result.
fn ids(recovered: &Recovered) -> Vec<&str> {
    let ids = recovered.unresolved.iter().map(|share| &share.event_id.0);
    ids.map(|id| str::from_utf8(id).unwrap().trim_end_matches('\0')).collect()
}

fn accepted(name: &str, job: &str) -> Record {
    accepted_as(ShareId(id(name)), name, job)
}

fn accepted_as(share_id: ShareId, name: &str, job: &str) -> Record {
    let (event_id, channel_id) = (EventId(id(name)), ChannelId(2));
    let worker_id = WorkerId::new("account.rig");
    let job = JobData {
        job_ref: JobRef(id(job)),
        prev_hash: BlockHash::all_zeros(),
        nbits: 0x207f_ffff,
        coinbase_prefix: vec![1],
        coinbase_suffix: vec![2],
        merkle_path: vec![],
    };
    let share = ForwardShare {
        share_id,
        event_id,
        job: Arc::new(job),
        channel_id,
        worker_id: worker_id.clone(),
        version: 0x2000_0000,
        ntime: 1,
        nonce: 2,
        extranonce: [3; 24],
        difficulty: Difficulty::new(1.0).unwrap(),
        timestamp_ms: 7,
        header: [4; 80],
    };
    let event = ShareAccepted {
        share_id: Some(share_id),
        event_id,
        channel_id,
        job_id: JobId(5),
        worker_id: Some(worker_id),
        miner_id: ConnectionId(1),
        validation_level: ValidationLevel::Full,
        sv2_response: Sv2Response::Success,
        fee_tier: None,
        difficulty_target: None,
        timestamp_ms: 7,
        gateway_instance_id: InstanceId::new("gw"),
    };
    Record::Accepted { share: Arc::new(share), event: Event::ShareAccepted(event) }
}

fn resolved(name: &str) -> Record {
    let event_id = EventId(id(name));
    let result = ShareForwardResult {
        share_id: ShareId(id(name)),
        event_id,
        forwarded: true,
        upstream_accepted: Some(true),
        upstream_http_status: Some(200),
        upstream_error: None,
        error_detail: None,
        reason_code: None,
        timestamp_ms: 8,
        attempts: 1,
    };
    Record::Resolved { event_id, event: Event::ShareForwardResult(result) }
}

fn settings(segment_bytes: u64, retention: usize) -> LogSettings {
    LogSettings { path: PathBuf::from("log"), segment_bytes, sync: SyncMode::Group, retention }
}

struct Opened {
    log: Log,
    task: TaskHandle<Result<(), LogError>>,
    end: LogEnd,
}

impl Opened {
    async fn close(self) -> Result<(), LogError> {
        self.end.finish.cancel();
        self.task.await.expect("the writer does not panic")
    }

    async fn record(&self, records: Vec<Record>) {
        assert!(self.log.append(records).await.unwrap().await);
    }
}

async fn opened(disk: &FakeDisk, settings: LogSettings) -> (Opened, Recovered) {
    let env = fake_disk::env(disk);
    let recovered = recover(disk, &settings.path, 9).unwrap();
    let feed = Arc::new(EventFeed::new(recovered.next_seq, 1));
    let end = LogEnd::default();
    let (log, task) = open(&env, settings, &recovered, feed, end.clone()).await.unwrap();
    (Opened { log, task, end }, recovered)
}

#[tokio::test]
async fn shares_without_a_result_are_found_again_with_what_sends_them() {
    let disk = FakeDisk::default();
    let (log, recovered) = opened(&disk, settings(1 << 20, 4)).await;
    assert_eq!(recovered.next_seq, 1);
    log.record(vec![accepted("a", "j1"), accepted("b", "j1")]).await;
    log.record(vec![resolved("a"), accepted("c", "j2")]).await;
    log.close().await.unwrap();

    let recovered = recover(&disk, "log".as_ref(), 9).unwrap();
    assert_eq!(recovered.next_seq, 5);
    assert_eq!(ids(&recovered), ["b", "c"]);
    let (share, job) = recovered.unresolved[1].resend.clone().unwrap();
    assert!(share.contains(&EventId(id("c")).to_string()), "{share}");
    assert!(job.contains(&JobRef(id("j2")).to_string()), "{job}");
}

/// The hash of a block, which is all of it that the log looks at.
fn hash(name: &str) -> BlockHash {
    BlockHash::from_byte_array(id(name))
}

fn block_found(name: &str, accepted: Option<bool>) -> Event {
    Event::BlockFound(BlockFound {
        hash: hash(name),
        height: 7,
        share_id: ShareId(id(name)),
        worker_id: WorkerId::new("account.rig"),
        accepted,
        results: vec![],
        timestamp_ms: 7,
    })
}

fn block(name: &str) -> Record {
    let hash = hash(name);
    let json = format!(r#"{{"hash":"{hash}"}}"#).into();
    Record::Block(Block { hash: hash.to_string().into(), json })
}

#[tokio::test]
async fn blocks_without_a_final_answer_are_found_again_and_keep_their_segment() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1, 0)).await;
    log.record(vec![block("a"), block("b"), accepted("s", "j")]).await;
    log.record(vec![resolved("s")]).await;
    // A drain that ran out of time is no answer.
    log.record(vec![Record::Event(block_found("a", None))]).await;
    let submitted = |name: &str, accepted| Record::Submitted {
        hash: hash(name).to_string().into(),
        event: block_found(name, Some(accepted)),
    };
    log.record(vec![submitted("b", false)]).await;
    log.close().await.unwrap();

    let (log, recovered) = opened(&disk, settings(1, 0)).await;
    let blocks: Vec<&str> = recovered.blocks.iter().map(|found| &*found.block.hash).collect();
    assert_eq!((blocks, recovered.blocks[0].segment), (vec![&*hash("a").to_string()], 0));
    assert_eq!(recovered.segments.len(), 4);
    log.record(vec![submitted("a", true)]).await;
    log.record(vec![Record::Event(block_found("c", None))]).await;
    log.close().await.unwrap();
    let recovered = recover(&disk, "log".as_ref(), 9).unwrap();
    assert_eq!((recovered.blocks.len(), recovered.segments.len()), (0, 1));
}

#[tokio::test]
async fn the_shares_accepted_last_are_remembered_whatever_became_of_them() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1, 9)).await;
    let ids = [1, 2, 3].map(|byte| ShareId([byte; 32]));
    for id in ids {
        let record = accepted_as(id, "a", "j");
        log.record(vec![record, resolved("a")]).await;
    }
    log.close().await.unwrap();
    let recovered = |most| recover(&disk, "log".as_ref(), most).unwrap().recent_shares;
    assert_eq!(recovered(9), ids);
    assert_eq!(recovered(2), ids[1..]);
    assert_eq!(recovered(0), []);
}

#[tokio::test]
async fn records_that_wait_together_share_one_sync() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1 << 20, 4)).await;
    let mut commits = Vec::new();
    for id in ["a", "b", "c"] {
        commits.push(log.log.append(vec![accepted(id, "j")]).await.unwrap());
    }
    for commit in commits {
        assert!(commit.await);
    }
    assert_eq!(disk.syncs(), 1);
    log.close().await.unwrap();
}

#[tokio::test]
async fn old_segments_go_only_when_their_shares_are_resolved() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1, 1)).await;
    log.record(vec![accepted("a", "j")]).await;
    for id in ["b", "c", "d"] {
        log.record(vec![accepted(id, "j")]).await;
        log.record(vec![resolved(id)]).await;
    }
    assert_eq!(disk.names().len(), 7, "the first segment holds an open share");
    log.record(vec![resolved("a")]).await;
    assert_eq!(disk.names().len(), 2, "one closed segment and the current one");
    log.close().await.unwrap();
    assert_eq!(recover(&disk, "log".as_ref(), 9).unwrap().next_seq, 9);
}

#[tokio::test]
async fn each_segment_holds_the_jobs_of_its_shares() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1, 9)).await;
    log.record(vec![accepted("a", "j")]).await;
    log.record(vec![accepted("b", "j")]).await;
    log.close().await.unwrap();
    let recovered = recover(&disk, "log".as_ref(), 9).unwrap();
    assert!(recovered.unresolved.iter().all(|share| share.resend.is_some()));
    assert_eq!(recovered.segments.iter().map(|s| s.unresolved).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_acknowledges_nothing_until_there_is_room() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1 << 20, 4)).await;
    log.record(vec![accepted("a", "j")]).await;
    disk.leave_room_for(Some(40));
    let mut commit = log.log.append(vec![accepted("b", "j")]).await.unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_secs(5), &mut commit).await;
    assert!(waited.is_err(), "acknowledged without being written");
    let stalled = log.log.status().stall().map(|stall| stall.cause);
    assert_eq!(stalled, Some(LogFault::DiskFull));
    disk.leave_room_for(None);
    assert!(commit.await);
    assert_eq!(log.log.status(), LogStatus::Writing);
    log.close().await.unwrap();
    let recovered = recover(&disk, "log".as_ref(), 9).unwrap();
    assert_eq!(ids(&recovered), ["a", "b"]);
    assert_eq!(recovered.torn, None);
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_sync_the_records_are_written_again_once() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1 << 20, 4)).await;
    disk.fail_next_syncs(3);
    log.record(vec![accepted("a", "j")]).await;
    log.close().await.unwrap();
    assert_eq!(ids(&recover(&disk, "log".as_ref(), 9).unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_written_ends_when_told_to_give_up() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1 << 20, 4)).await;
    disk.leave_room_for(Some(0));
    let commit = log.log.append(vec![accepted("a", "j")]).await.unwrap();
    log.end.give_up.cancel();
    assert!(!commit.await);
    let error = log.close().await.unwrap_err();
    assert!(matches!(error, LogError::Unwritten { records: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_torn_end_is_cut_and_the_log_goes_on() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1 << 20, 4)).await;
    log.record(vec![accepted("a", "j")]).await;
    log.close().await.unwrap();
    let path = format!("log/{}", segment::name(1));
    let whole = disk.bytes(&path);
    disk.put(&path, &[&whole[..], b"0123abcd E {\"event\":\"sh"].concat());

    let (log, recovered) = opened(&disk, settings(1 << 20, 4)).await;
    assert_eq!(recovered.torn.unwrap().offset, whole.len() as u64);
    assert_eq!(disk.bytes(&path), whole);
    log.record(vec![accepted("b", "j")]).await;
    log.close().await.unwrap();
    assert_eq!(ids(&recover(&disk, "log".as_ref(), 9).unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn a_last_line_that_was_whole_once_is_damage_and_not_a_torn_end() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1 << 20, 4)).await;
    log.record(vec![accepted("a", "j")]).await;
    log.close().await.unwrap();
    let path = format!("log/{}", segment::name(1));
    let whole = disk.bytes(&path);
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;

    let mut flipped = whole.clone();
    flipped[last + 20] ^= 1;
    disk.put(&path, &flipped);
    let error = recover(&disk, "log".as_ref(), 9).unwrap_err().to_string();
    assert!(error.contains(&format!("damaged at byte {last}")), "{error}");

    // Blocks that the disk never wrote read as zeros, even where later ones were written.
    let mut unwritten = whole.clone();
    unwritten[last..last + 20].fill(0);
    disk.put(&path, &unwritten);
    let recovered = recover(&disk, "log".as_ref(), 9).unwrap();
    assert_eq!(recovered.torn.unwrap().offset, last as u64);
}

#[tokio::test]
async fn damage_before_the_end_names_the_file_and_the_place() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1, 9)).await;
    log.record(vec![accepted("a", "j")]).await;
    log.record(vec![accepted("b", "j")]).await;
    log.close().await.unwrap();
    let path = format!("log/{}", segment::name(1));
    let mut bytes = disk.bytes(&path);
    let offset = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[offset + 20] ^= 1;
    disk.put(&path, &bytes);
    let error = recover(&disk, "log".as_ref(), 9).unwrap_err().to_string();
    assert!(error.contains(&format!("{path}: damaged at byte {offset}")), "{error}");
}

#[tokio::test]
async fn a_missing_segment_is_noticed() {
    let disk = FakeDisk::default();
    let (log, _) = opened(&disk, settings(1, 9)).await;
    for id in ["a", "b", "c"] {
        log.record(vec![accepted(id, "j")]).await;
    }
    log.close().await.unwrap();
    let middle = format!("log/{}", segment::name(2));
    platform::Storage::remove(&disk, middle.as_ref()).unwrap();
    let error = recover(&disk, "log".as_ref(), 9).unwrap_err().to_string();
    assert!(error.contains("events before this segment are missing"), "{error}");
}

/// Lines of a log as the writer makes them, and the id of the share that each accepts, if any.
fn lines(choices: &[(u8, bool)]) -> Vec<(Vec<u8>, Option<String>)> {
    let mut seq = 0;
    let mut lines = Vec::new();
    for (index, (kind, success)) in choices.iter().enumerate() {
        let (mut line, mut accepts) = (Vec::new(), None);
        match kind % 3 {
            0 => segment::encode(Kind::Job, &format!(r#"{{"job_ref":"j{index}"}}"#), &mut line),
            1 => {
                let id = EventId(id(&format!("e{index}")));
                let json = format!(r#"{{"event_id":"{id}","job_ref":"j{index}"}}"#);
                segment::encode(Kind::Share, &json, &mut line);
            }
            _ => {
                seq += 1;
                let response = if *success { "success" } else { "error" };
                let name = format!("e{index}");
                let id = EventId(id(&name));
                let event = format!(
                    r#"{{"event":"share_accepted","seq":{seq},"share_id":"{id}","event_id":"{id}","sv2_response":"{response}"}}"#
                );
                segment::encode(Kind::Event, &event, &mut line);
                accepts = success.then_some(name);
            }
        }
        lines.push((line, accepts));
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_log_cut_anywhere_is_recovered_up_to_its_last_whole_record(
        choices in prop::collection::vec((any::<u8>(), any::<bool>()), 0..24),
        cut in any::<prop::sample::Index>(),
    ) {
        let lines = lines(&choices);
        let whole: Vec<u8> = lines.iter().flat_map(|(line, _)| line.clone()).collect();
        let cut = cut.index(whole.len() + 1);
        let disk = FakeDisk::default();
        disk.put(&format!("log/{}", segment::name(1)), &whole[..cut]);
        let recovered = recover(&disk, "log".as_ref(), 9).unwrap();

        let (mut length, mut expected) = (0, Vec::new());
        for (line, accepts) in &lines {
            if length + line.len() > cut {
                break;
            }
            length += line.len();
            expected.extend(accepts.as_deref());
        }
        prop_assert_eq!(ids(&recovered), expected);
        prop_assert_eq!(recovered.segments[0].length, length as u64);
        prop_assert_eq!(recovered.torn.is_some(), length < cut);
    }

    #[test]
    fn no_bytes_make_recovery_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let disk = FakeDisk::default();
        disk.put(&format!("log/{}", segment::name(1)), &bytes);
        let _ = recover(&disk, "log".as_ref(), 9);
    }
}
