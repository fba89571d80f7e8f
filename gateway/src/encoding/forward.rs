//! Shares and jobs as the pool gets them and as the log keeps them for sending again.
//!
//! `prev_hash` is in the order that Bitcoin's RPC prints, the nodes of `merkle_path` are in
//! internal byte order, everything else in hex is bytes as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_core::forward::{Batch, ForwardShare, ShareAnswer};
use gateway_core::ids::{ChannelId, EventId, JobRef, ShareId, WorkerId};
use gateway_core::job::JobData;
use gateway_core::target::Difficulty;
use serde::{Deserialize, Serialize};

use super::text::{Hex, write};

/// Few shares take more as JSON.
const SHARE_BYTES: usize = 768;

/// A share as it is written.
#[derive(Serialize)]
struct WireShare<'a> {
    share_id: Hex<'a>,
    event_id: Hex<'a>,
    job_ref: Hex<'a>,
    channel_id: u32,
    worker_id: &'a str,
    version: u32,
    ntime: u32,
    nonce: u32,
    extranonce: Hex<'a>,
    difficulty: f64,
    timestamp_ms: u64,
    header: Hex<'a>,
}

/// A share as it is read.
#[derive(Deserialize)]
struct ReadShare<'a> {
    #[serde(borrow)]
    share_id: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    channel_id: u32,
    #[serde(borrow)]
    worker_id: Cow<'a, str>,
    version: u32,
    ntime: u32,
    nonce: u32,
    #[serde(borrow)]
    extranonce: Cow<'a, str>,
    difficulty: f64,
    timestamp_ms: u64,
    #[serde(borrow)]
    header: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct WireJob {
    prev_hash: String,
    nbits: u32,
    coinbase_prefix: String,
    coinbase_suffix: String,
    merkle_path: Vec<String>,
}

/// A job in the log, which names it.
#[derive(Serialize, Deserialize)]
struct NamedJob {
    job_ref: String,
    #[serde(flatten)]
    job: WireJob,
}

impl<'a> WireShare<'a> {
    fn of(share: &'a ForwardShare) -> Self {
        Self {
            share_id: Hex(&share.share_id.0),
            event_id: Hex(&share.event_id.0),
            job_ref: Hex(&share.job.job_ref.0),
            channel_id: share.channel_id.0,
            worker_id: share.worker_id.as_str(),
            version: share.version,
            ntime: share.ntime,
            nonce: share.nonce,
            extranonce: Hex(&share.extranonce),
            difficulty: share.difficulty.as_f64(),
            timestamp_ms: share.timestamp_ms,
            header: Hex(&share.header),
        }
    }
}

impl WireJob {
    fn of(job: &JobData) -> Self {
        Self {
            prev_hash: job.prev_hash.to_string(),
            nbits: job.nbits,
            coinbase_prefix: const_hex::encode(&job.coinbase_prefix),
            coinbase_suffix: const_hex::encode(&job.coinbase_suffix),
            merkle_path: job.merkle_path.iter().map(const_hex::encode).collect(),
        }
    }
}

/// Appends the share as the log keeps it.
pub(crate) fn write_share(share: &ForwardShare, buffer: &mut Vec<u8>) {
    write(&WireShare::of(share), buffer);
}

/// Appends the job as the log keeps it.
pub(crate) fn write_job(job: &JobData, buffer: &mut Vec<u8>) {
    write(&NamedJob { job_ref: job.job_ref.to_string(), job: WireJob::of(job) }, buffer);
}

/// The body of a post.
pub(crate) fn encode_batch(batch: &Batch) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        shares: Vec<WireShare<'a>>,
        jobs: BTreeMap<String, WireJob>,
    }
    let shares = batch.shares.iter().map(|share| WireShare::of(share)).collect();
    let mut jobs: BTreeMap<JobRef, &JobData> = BTreeMap::new();
    jobs.extend(batch.shares.iter().map(|share| (share.job.job_ref, &*share.job)));
    let jobs = jobs.into_iter().map(|(name, job)| (name.to_string(), WireJob::of(job))).collect();
    let mut body = Vec::with_capacity(SHARE_BYTES * batch.shares.len());
    write(&Body { shares, jobs }, &mut body);
    body
}

/// A share and its job from the log; `None` where they are not what this program writes.
pub(crate) fn decode_share(share: &str, job: &str) -> Option<ForwardShare> {
    let share: ReadShare = serde_json::from_str(share).ok()?;
    let named: NamedJob = serde_json::from_str(job).ok()?;
    let path = named.job.merkle_path.iter().map(|node| const_hex::decode_to_array(node).ok());
    let job = JobData {
        job_ref: JobRef(const_hex::decode_to_array(&named.job_ref).ok()?),
        prev_hash: named.job.prev_hash.parse().ok()?,
        nbits: named.job.nbits,
        coinbase_prefix: const_hex::decode(&named.job.coinbase_prefix).ok()?,
        coinbase_suffix: const_hex::decode(&named.job.coinbase_suffix).ok()?,
        merkle_path: path.collect::<Option<Vec<[u8; 32]>>>()?,
    };
    Some(ForwardShare {
        share_id: ShareId(const_hex::decode_to_array(&*share.share_id).ok()?),
        event_id: EventId(const_hex::decode_to_array(&*share.event_id).ok()?),
        job: Arc::new(job),
        channel_id: ChannelId(share.channel_id),
        worker_id: WorkerId::new(&share.worker_id),
        version: share.version,
        ntime: share.ntime,
        nonce: share.nonce,
        extranonce: const_hex::decode_to_array(&*share.extranonce).ok()?,
        difficulty: Difficulty::new(share.difficulty)?,
        timestamp_ms: share.timestamp_ms,
        header: const_hex::decode_to_array(&*share.header).ok()?,
    })
}

/// The results in the body of a pool's answer; what names no share is left out.
///
/// # Errors
/// What is wrong with the body.
pub fn parse_pool_answer(body: &[u8]) -> Result<Vec<ShareAnswer>, String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        results: Vec<Answer<'a>>,
    }
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        share_id: Cow<'a, str>,
        accepted: bool,
        error: Option<String>,
    }
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| format!("the pool's answer cannot be read: {error}"))?;
    let answers = body.results.into_iter().filter_map(|answer| {
        // An id that is none names no share of ours.
        let share_id = ShareId(const_hex::decode_to_array(&*answer.share_id).ok()?);
        Some(ShareAnswer { share_id, accepted: answer.accepted, error: answer.error })
    });
    Ok(answers.collect())
}

#[cfg(test)]
mod tests {
    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash as _;
    use gateway_core::ids::BatchId;

    use super::*;

    fn share() -> ForwardShare {
        let job = JobData {
            job_ref: JobRef([3; 16]),
            prev_hash: BlockHash::from_byte_array([1; 32]),
            nbits: 0x207f_ffff,
            coinbase_prefix: vec![1, 2],
            coinbase_suffix: vec![],
            merkle_path: vec![[5; 32], [6; 32]],
        };
        ForwardShare {
            share_id: ShareId([7; 32]),
            event_id: EventId([8; 32]),
            job: Arc::new(job),
            channel_id: ChannelId(2),
            worker_id: WorkerId::new("a\"b"),
            version: 0x2000_0000,
            ntime: 1,
            nonce: u32::MAX,
            extranonce: [0xab; 24],
            difficulty: Difficulty::new(0.1).unwrap(),
            timestamp_ms: 1_700_000_000_123,
            header: [9; 80],
        }
    }

    #[test]
    fn a_share_comes_back_from_the_log_as_it_was() {
        let share = share();
        let (mut json, mut job) = (Vec::new(), Vec::new());
        write_share(&share, &mut json);
        write_job(&share.job, &mut job);
        let (json, job) = (str::from_utf8(&json).unwrap(), str::from_utf8(&job).unwrap());
        assert_eq!(decode_share(json, job), Some(share));
        assert_eq!(decode_share("{}", job), None);
        assert_eq!(decode_share(json, "{}"), None);
    }

    #[test]
    fn a_batch_says_each_job_once() {
        let shares = vec![Arc::new(share()), Arc::new(share())];
        let batch = Batch { batch_id: BatchId(1), attempt: 1, shares };
        let body: serde_json::Value = serde_json::from_slice(&encode_batch(&batch)).unwrap();
        assert_eq!(body["shares"].as_array().unwrap().len(), 2);
        let jobs = body["jobs"].as_object().unwrap();
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs["03".repeat(16).as_str()]["merkle_path"][1], "06".repeat(32));
        assert_eq!(body["shares"][0]["job_ref"], "03".repeat(16));
    }

    #[test]
    fn answers_for_ids_that_are_none_are_passed_over() {
        let id = "07".repeat(32);
        let body = format!(
            r#"{{"results":[{{"share_id":"x","accepted":true}},{{"share_id":"{id}","accepted":false,"error":"stale"}}]}}"#
        );
        let answers = parse_pool_answer(body.as_bytes()).unwrap();
        let error = Some("stale".to_owned());
        assert_eq!(answers, [ShareAnswer { share_id: ShareId([7; 32]), accepted: false, error }]);
        assert!(parse_pool_answer(b"{}").unwrap_err().contains("results"));
    }
}
