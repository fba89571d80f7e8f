//! A gateway without sockets and the miner of one channel, who reads every frame.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf, Txid, Wtxid};
use gateway_core::auth::{AuthMode, Authenticator};
use gateway_core::channel::ExtranonceSpace;
use gateway_core::ids::{ConnectionId, InstanceId, TemplateId};
use gateway_core::job::{CoinbaseSpec, PayoutOutput, Template, TemplateTransaction, Work};
use gateway_core::mode::{Mode, ValidationLevel};
use gateway_core::prevhash::{self, Switch, UpstreamFailurePolicy};
use gateway_core::session::{
    DifficultySettings, Input, NtimeWindow, Output, Session, Settings, frames,
};
use gateway_core::target::Difficulty;
use gateway_core::{Moment, SharedBounds, SharedState};
use sv2_wire::common::{MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection};
use sv2_wire::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SetNewPrevHash, SubmitSharesExtended,
    SubmitSharesStandard, UpdateChannel,
};
use sv2_wire::{B032, FrameHeader, Message, MiningServerMessage, Str0255, U256};

use crate::book::{Coinbase, Header, Job, Rules, Share, merkle_root, twice};

/// The wall clock at the start, Unix seconds.
pub(crate) const START_S: u64 = 1_800_000_000;
/// A network target that no share meets by chance.
const HARD_BITS: u32 = 0x1b00_ffff;
const TAG: &[u8] = b"/assay/";
const VALUE: u64 = 312_500_007;
/// Longer than the broadcast interval, so that each template goes out at once.
const STEP_MS: u64 = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Standard,
    Extended,
}

/// The answer to a share.
pub(crate) enum Verdict {
    /// With the header that is forwarded.
    Accepted(Vec<u8>),
    /// With the code.
    Refused(String),
}

pub(crate) struct Gateway {
    session: Session,
    switch: Switch,
    height: u32,
    kind: Kind,
    /// The ids of the transactions of each template.
    templates: Vec<Vec<[u8; 32]>>,
    heights: Vec<u32>,
    extranonce_prefix: Vec<u8>,
    target: [u8; 32],
    future: Option<Job>,
    tips: usize,
    verdict: Option<Verdict>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) rules: Rules,
    pub(crate) now_ms: u64,
}

impl Gateway {
    /// With one channel that has its first job.
    pub(crate) fn new(kind: Kind, version_mask: u32, ahead_s: Option<u64>, height: u32) -> Self {
        let bounds =
            SharedBounds { replay_window: 10_000, templates: 64, channels: 64, workers: 64 };
        let started = moment(0);
        let shared = Arc::new(SharedState::new(InstanceId::new("gw-1"), bounds, started, 7));
        let settings = Arc::new(settings(version_mask, ahead_s));
        let mut gateway = Self {
            session: Session::new(ConnectionId(5), settings, Arc::clone(&shared), started),
            switch: Switch::new(switch_settings(), shared, started),
            height,
            kind,
            templates: Vec::new(),
            heights: Vec::new(),
            extranonce_prefix: Vec::new(),
            target: [0xff; 32],
            future: None,
            tips: 0,
            verdict: None,
            jobs: Vec::new(),
            rules: Rules { channel_id: 0, rolled_bytes: 0, version_mask, ahead_s },
            now_ms: 0,
        };
        gateway.template(true, 3);
        gateway.send(&setup());
        let (user_identity, max_target) = (text("account.rig-17"), U256::MAX);
        let (request_id, nominal_hash_rate) = (1, 1e14);
        match kind {
            Kind::Standard => gateway.send(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            }),
            Kind::Extended => gateway.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size: 8,
            }),
        }
        gateway
    }

    /// The tip that the channel is on, counted from its first.
    pub(crate) fn tip(&self) -> usize {
        self.tips
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        let now = moment(self.now_ms);
        self.switch.handle(prevhash::Input::Tick, now);
        self.publish();
        self.session.handle(Input::Tick, now);
        self.read();
    }

    /// A new template, and time for it to get to the miner.
    pub(crate) fn template(&mut self, is_new_tip: bool, transactions: usize) {
        let id = self.templates.len() as u64 + 1;
        self.height += u32::from(is_new_tip);
        let txid = |number: usize| twice(&[id as u8, number as u8]);
        self.templates.push((0..transactions).map(txid).collect());
        self.heights.push(self.height);
        let template = template(id, self.height, &self.templates[self.templates.len() - 1]);
        let work = Work::build(Arc::new(template), &spec()).expect("the template is sound");
        let now = moment(self.now_ms);
        self.switch.handle(prevhash::Input::Template(Arc::new(work)), now);
        self.publish();
        self.wait(STEP_MS);
    }

    /// The miner takes no easier target than this one.
    pub(crate) fn limit_target(&mut self, target: [u8; 32]) {
        self.send(&UpdateChannel {
            channel_id: self.rules.channel_id,
            nominal_hash_rate: 1e14,
            maximum_target: U256(target),
        });
    }

    pub(crate) fn submit(&mut self, share: &Share) -> Verdict {
        let Share { channel_id, job_id, version, ntime, nonce, .. } = *share;
        let sequence_number = nonce;
        match self.kind {
            Kind::Standard => self.send(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            Kind::Extended => self.send(&SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: B032::new(&share.rolled).expect("no more than 32 bytes"),
            }),
        }
        self.verdict.take().expect("a share is accepted or refused at once")
    }

    /// The header of a share: by concatenation, from the template and what the channel was given.
    pub(crate) fn header(&self, share: &Share, job: &Job) -> Header {
        Header {
            version: share.version,
            prev_hash: job.prev_hash,
            merkle_root: self.merkle_root(job.template, &share.rolled),
            ntime: share.ntime,
            nbits: job.nbits,
            nonce: share.nonce,
        }
    }

    fn merkle_root(&self, template: usize, rolled: &[u8]) -> [u8; 32] {
        let extranonce = [self.extranonce_prefix.as_slice(), rolled].concat();
        let (payouts, commitment) = (payouts(), commitment());
        let coinbase = Coinbase {
            height: self.heights[template],
            tag: TAG,
            value: VALUE,
            payouts: &payouts,
            commitment: &commitment,
        };
        let coinbase = twice(&coinbase.bytes(&extranonce));
        merkle_root(coinbase, &self.templates[template])
    }

    fn publish(&mut self) {
        while let Some(output) = self.switch.poll() {
            if let prevhash::Output::Publish(publication) = output {
                self.session.handle(Input::Work(publication), moment(self.now_ms));
                self.read();
            }
        }
    }

    fn send<'a>(&mut self, message: &impl Message<'a>) {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        let (header, payload) = frame.split_first_chunk().expect("a frame has a header");
        let input = Input::Frame { header: FrameHeader::decode(*header), payload };
        self.session.handle(input, moment(self.now_ms));
        self.read();
    }

    fn read(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => {
                    for (header, frame) in frames(&bytes) {
                        let decoded =
                            MiningServerMessage::decode(header, &frame[FrameHeader::LEN..])
                                .expect("the gateway speaks SV2");
                        self.take(&decoded.message);
                    }
                }
                Output::Accepted(share) => {
                    self.verdict = Some(Verdict::Accepted(share.forward.header.to_vec()));
                }
                Output::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    fn take(&mut self, message: &MiningServerMessage<'_>) {
        match message {
            MiningServerMessage::OpenStandardMiningChannelSuccess(opened) => {
                self.rules.channel_id = opened.channel_id;
                self.target = opened.target.0;
                self.extranonce_prefix = opened.extranonce_prefix.as_bytes().to_vec();
            }
            MiningServerMessage::OpenExtendedMiningChannelSuccess(opened) => {
                self.rules.channel_id = opened.channel_id;
                self.rules.rolled_bytes = opened.extranonce_size.into();
                self.target = opened.target.0;
                self.extranonce_prefix = opened.extranonce_prefix.as_bytes().to_vec();
            }
            MiningServerMessage::NewMiningJob(job) => {
                let by_the_book = self.merkle_root(self.templates.len() - 1, &[]);
                assert_eq!(job.merkle_root.0, by_the_book);
                self.announced(job.job_id, job.min_ntime, job.version);
            }
            MiningServerMessage::NewExtendedMiningJob(job) => {
                let rolled = vec![3; self.rules.rolled_bytes];
                let (before, after) = (&job.coinbase_tx_prefix, &job.coinbase_tx_suffix);
                let parts = [before.as_bytes(), &self.extranonce_prefix, &rolled, after.as_bytes()];
                let path = job.merkle_path.iter();
                let root = path.fold(twice(&parts.concat()), |node, sibling| {
                    twice(&[node, sibling.0].concat())
                });
                assert_eq!(root, self.merkle_root(self.templates.len() - 1, &rolled));
                self.announced(job.job_id, job.min_ntime, job.version);
            }
            MiningServerMessage::SetNewPrevHash(new) => self.start(new),
            MiningServerMessage::SetTarget(target) => self.target = target.maximum_target.0,
            MiningServerMessage::SubmitSharesError(refusal) => {
                let code = String::from_utf8_lossy(refusal.error_code.as_bytes()).into_owned();
                self.verdict = Some(Verdict::Refused(code));
            }
            _ => {}
        }
    }

    fn announced(&mut self, id: u32, min_ntime: Option<u32>, version: u32) {
        let before = self.jobs.last();
        let mut job = Job {
            id,
            version,
            min_ntime: min_ntime.unwrap_or_default(),
            sent_ms: self.now_ms,
            prev_hash: before.map_or([0; 32], |job| job.prev_hash),
            nbits: before.map_or(0, |job| job.nbits),
            target: self.target,
            template: self.templates.len() - 1,
            tip: self.tips,
        };
        if min_ntime.is_some() {
            self.jobs.push(job);
        } else {
            job.tip += 1;
            self.future = Some(job);
        }
    }

    fn start(&mut self, new: &SetNewPrevHash) {
        let mut job = self.future.take().expect("its job was announced");
        assert_eq!(job.id, new.job_id);
        (job.prev_hash, job.nbits, job.min_ntime) = (new.prev_hash.0, new.nbits, new.min_ntime);
        self.tips = job.tip;
        self.jobs.push(job);
    }
}

fn moment(ms: u64) -> Moment {
    Moment::new(Duration::from_millis(ms), START_S * 1000 + ms)
}

fn text(text: &'static str) -> Str0255<'static> {
    Str0255::new(text.as_bytes()).expect("the text is short")
}

/// Three payees in parts by which the value cannot be divided.
fn payouts() -> Vec<(Vec<u8>, u64)> {
    let script = |byte: u8| [&[0, 20][..], &[byte; 20]].concat();
    vec![(script(7), 3), (script(8), 1), (script(9), 7)]
}

fn commitment() -> Vec<u8> {
    [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[5; 32]].concat()
}

fn spec() -> CoinbaseSpec {
    let payee = |(script, parts): (Vec<u8>, u64)| PayoutOutput {
        script_pubkey: ScriptBuf::from_bytes(script),
        parts: parts as u32,
    };
    CoinbaseSpec { tag: TAG.to_vec(), payouts: payouts().into_iter().map(payee).collect() }
}

fn template(id: u64, height: u32, txids: &[[u8; 32]]) -> Template {
    let transaction = |txid: &[u8; 32]| TemplateTransaction {
        data: vec![1; 100],
        txid: Txid::from_byte_array(*txid),
        wtxid: Wtxid::from_byte_array(*txid),
        fee: 1500,
        sigops: 4,
        weight: 400,
    };
    Template {
        template_id: TemplateId(id),
        source: "node".to_owned(),
        observed_at_ms: START_S * 1000,
        height,
        prev_hash: BlockHash::from_byte_array(twice(&height.to_le_bytes())),
        version: 0x2000_0000,
        bits: CompactTarget::from_consensus(HARD_BITS),
        curtime: START_S as u32 - 30,
        mintime: START_S as u32 - 1_000,
        coinbase_value: VALUE,
        transactions: txids.iter().map(transaction).collect(),
        witness_commitment: Some(commitment()),
        mempool_tx: None,
    }
}

fn setup() -> SetupConnection<'static> {
    SetupConnection {
        protocol: MINING_PROTOCOL,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags: 0,
        endpoint_host: text("pool"),
        endpoint_port: 3333,
        vendor: text("vendor"),
        hardware_version: text("1"),
        firmware: text("1"),
        device_id: text(""),
    }
}

fn switch_settings() -> prevhash::Settings {
    prevhash::Settings {
        mode: Mode::Observe,
        verdict_window: Duration::from_millis(50),
        stale_hold: Duration::from_secs(5),
        max_pending: 2,
        max_template_age: Duration::from_secs(60),
        broadcast_interval: Duration::from_millis(STEP_MS),
        upstream_stale_max: Duration::from_secs(3600),
        upstream_failure: UpstreamFailurePolicy::FailOpen,
    }
}

fn settings(version_rolling_mask: u32, ahead_s: Option<u64>) -> Settings {
    let difficulty = |value| Difficulty::new(value).expect("it is positive");
    let ahead = |seconds| NtimeWindow::DeFacto(Duration::from_secs(seconds));
    Settings {
        auth: Authenticator { mode: AuthMode::Open, max_worker_id_bytes: 128 },
        validation: ValidationLevel::Full,
        version_rolling_mask,
        extended_channels: true,
        group_addressing: false,
        extranonce_space: ExtranonceSpace::of_index(0),
        reconnect: None,
        difficulty: DifficultySettings {
            // Every hash is a share at first.
            initial: difficulty(1e-12),
            aim: None,
            least: difficulty(1e-12),
            most: difficulty(1e12),
        },
        ntime_window: ahead_s.map_or(NtimeWindow::Strict, ahead),
        setup_timeout: Duration::from_secs(10),
        first_channel_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(3600),
        max_channels: 2,
        max_workers: 2,
        max_frame_bytes: 65_536,
        messages_per_second: 100_000,
        bytes_per_second: 100_000_000,
        shares_per_second: 100_000,
        ack_batch: 8,
        ack_max_delay: Duration::from_millis(100),
    }
}
