//! A gateway without sockets, with a miner or two.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf, Txid, Wtxid};
use gateway_core::auth::{AuthMode, Authenticator};
use gateway_core::channel::ExtranonceSpace;
use gateway_core::ids::{ConnectionId, InstanceId, TemplateId};
use gateway_core::job::{CoinbaseSpec, PayoutOutput, Template, TemplateTransaction, Work};
use gateway_core::mode::{Mode, ValidationLevel};
use gateway_core::prevhash::{self, Publication, Switch, UpstreamFailurePolicy};
use gateway_core::session::{
    DifficultySettings, Input, NtimeWindow, Output, Session, Settings, frames,
};
use gateway_core::target::Difficulty;
use gateway_core::{Moment, SharedBounds, SharedState};
use sv2_wire::common::{MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection};
use sv2_wire::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended,
    SubmitSharesStandard,
};
use sv2_wire::{B032, FrameHeader, Message, MiningServerMessage, Str0255, U256};

/// The wall clock at the start, Unix milliseconds.
const START_MS: u64 = 1_800_000_000_000;
/// Transactions of a full block.
pub(crate) const FULL: usize = 4000;
/// A network target that no share meets by chance.
const HARD_BITS: u32 = 0x1b00_ffff;
/// So easy that every hash is a share.
const TRIVIAL: f64 = 1e-12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Standard,
    Extended,
}

pub(crate) fn at(ms: u64) -> Moment {
    Moment::new(Duration::from_millis(ms), START_MS + ms)
}

pub(crate) fn spec() -> CoinbaseSpec {
    let script_pubkey = ScriptBuf::from_bytes([&[0, 20][..], &[7; 20]].concat());
    CoinbaseSpec {
        tag: b"/assay/".to_vec(),
        payouts: vec![PayoutOutput { script_pubkey, parts: 1 }],
    }
}

/// A template of so many transactions. What they hold is of no account to the gateway.
pub(crate) fn template(id: u64, tip: u8, transactions: usize) -> Arc<Template> {
    let transaction = |number: usize| {
        let mut id = [3; 32];
        id[..8].copy_from_slice(&(number as u64).to_le_bytes());
        TemplateTransaction {
            data: vec![number as u8; 250],
            txid: Txid::from_byte_array(id),
            wtxid: Wtxid::from_byte_array(id),
            fee: 1500,
            sigops: 4,
            weight: 1000,
        }
    };
    let commitment = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[5; 32]].concat();
    Arc::new(Template {
        template_id: TemplateId(id),
        source: "node".to_owned(),
        observed_at_ms: START_MS,
        height: 900_000 + u32::from(tip),
        prev_hash: BlockHash::from_byte_array([tip; 32]),
        version: 0x2000_0000,
        bits: CompactTarget::from_consensus(HARD_BITS),
        curtime: 1_800_000_000,
        mintime: 1_799_999_000,
        coinbase_value: 312_500_000,
        transactions: (0..transactions).map(transaction).collect(),
        witness_commitment: Some(commitment),
        mempool_tx: Some(50_000),
    })
}

pub(crate) struct Rig {
    shared: Arc<SharedState>,
    switch: Switch,
    latest: Arc<Publication>,
    transactions: usize,
    /// Of the job that was sent last.
    job_id: u32,
}

impl Rig {
    /// In observe mode, on a first tip.
    pub(crate) fn new(transactions: usize) -> Self {
        let bounds =
            SharedBounds { replay_window: 10_000, templates: 64, channels: 64, workers: 64 };
        let shared = Arc::new(SharedState::new(InstanceId::new("gw-1"), bounds, at(0), 7));
        let mut switch = Switch::new(switch_settings(), Arc::clone(&shared), at(0));
        let latest = publish(&mut switch, template(1, 1, transactions), at(0));
        Self { shared, switch, latest, transactions, job_id: 0 }
    }

    /// What the switch publishes for a template on this tip.
    pub(crate) fn publish(&mut self, id: u64, tip: u8) -> Arc<Publication> {
        let template = template(id, tip, self.transactions);
        self.latest = publish(&mut self.switch, template, at(1000));
        Arc::clone(&self.latest)
    }

    /// The session of a miner with one channel that has its first job.
    pub(crate) fn miner(&mut self, kind: Kind) -> Session {
        let settings = Arc::new(settings());
        let mut session = Session::new(ConnectionId(5), settings, Arc::clone(&self.shared), at(0));
        session.handle(Input::Work(Arc::clone(&self.latest)), at(0));
        self.send(&mut session, &setup());
        let user_identity = text("account.rig-17");
        let (nominal_hash_rate, max_target) = (1e14, U256::MAX);
        match kind {
            Kind::Standard => self.send(
                &mut session,
                &OpenStandardMiningChannel {
                    request_id: 1,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                },
            ),
            Kind::Extended => self.send(
                &mut session,
                &OpenExtendedMiningChannel {
                    request_id: 1,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size: 8,
                },
            ),
        }
        assert_ne!(self.job_id, 0, "the channel has a job");
        session
    }

    /// The frame of a share on the latest job.
    pub(crate) fn share(&self, kind: Kind, nonce: u32) -> Vec<u8> {
        let (channel_id, job_id, sequence_number) = (2, self.job_id, nonce);
        let (ntime, version) = (1_800_000_000, 0x2000_0000);
        match kind {
            Kind::Standard => framed(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            Kind::Extended => framed(&SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: B032::new(&[9; 16]).expect("16 bytes fit 32"),
            }),
        }
    }

    fn send<'a>(&mut self, session: &mut Session, message: &impl Message<'a>) {
        let frame = framed(message);
        let (header, payload) = frame.split_first_chunk().expect("a frame has a header");
        session.handle(Input::Frame { header: FrameHeader::decode(*header), payload }, at(0));
        while let Some(output) = session.poll() {
            match output {
                Output::Send(bytes) => self.read(&bytes),
                Output::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    fn read(&mut self, sent: &[u8]) {
        for (header, frame) in frames(sent) {
            let decoded = MiningServerMessage::decode(header, &frame[FrameHeader::LEN..])
                .expect("the gateway speaks SV2");
            match decoded.message {
                MiningServerMessage::NewMiningJob(job) => self.job_id = job.job_id,
                MiningServerMessage::NewExtendedMiningJob(job) => self.job_id = job.job_id,
                _ => {}
            }
        }
    }
}

fn publish(switch: &mut Switch, template: Arc<Template>, now: Moment) -> Arc<Publication> {
    let work = Work::build(template, &spec()).expect("the template is sound");
    switch.handle(prevhash::Input::Template(Arc::new(work)), now);
    std::iter::from_fn(|| switch.poll())
        .find_map(|output| match output {
            prevhash::Output::Publish(publication) => Some(publication),
            _ => None,
        })
        .expect("observe publishes at once")
}

fn framed<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    frame
}

fn text(text: &'static str) -> Str0255<'static> {
    Str0255::new(text.as_bytes()).expect("the text is short")
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
        broadcast_interval: Duration::from_millis(100),
        upstream_stale_max: Duration::from_secs(30),
        upstream_failure: UpstreamFailurePolicy::FailOpen,
    }
}

fn settings() -> Settings {
    let difficulty = |value| Difficulty::new(value).expect("it is positive");
    Settings {
        auth: Authenticator { mode: AuthMode::Open, max_worker_id_bytes: 128 },
        validation: ValidationLevel::Full,
        version_rolling_mask: 0x1fff_ffe0,
        extended_channels: true,
        group_addressing: false,
        extranonce_space: ExtranonceSpace::of_index(0),
        reconnect: None,
        difficulty: DifficultySettings {
            initial: difficulty(TRIVIAL),
            aim: None,
            least: difficulty(TRIVIAL),
            most: difficulty(1e12),
        },
        ntime_window: NtimeWindow::DeFacto(Duration::from_secs(7200)),
        setup_timeout: Duration::from_secs(10),
        first_channel_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(3600),
        max_channels: 2,
        max_workers: 2,
        max_frame_bytes: 65_536,
        messages_per_second: 1000,
        bytes_per_second: 1_000_000,
        shares_per_second: 1000,
        ack_batch: 8,
        ack_max_delay: Duration::from_millis(100),
    }
}

/// A session that has judged shares before, and the frame of the next one.
pub(crate) fn before_a_share(kind: Kind) -> (Session, Vec<u8>) {
    let mut rig = Rig::new(FULL);
    let mut session = rig.miner(kind);
    for nonce in 0..16 {
        submit(&mut session, &rig.share(kind, nonce));
    }
    (session, rig.share(kind, 1000))
}

/// Whether the share in the frame was accepted.
pub(crate) fn submit(session: &mut Session, frame: &[u8]) -> bool {
    let (header, payload) = frame.split_first_chunk().expect("a frame has a header");
    session.handle(Input::Frame { header: FrameHeader::decode(*header), payload }, at(1000));
    let mut accepted = false;
    while let Some(output) = session.poll() {
        accepted |= matches!(output, Output::Accepted(_));
    }
    accepted
}

/// A session on a tip, the work of the next, and the time.
pub(crate) fn before_a_tip(kind: Kind) -> (Session, Arc<Publication>, Moment) {
    let mut rig = Rig::new(FULL);
    let session = rig.miner(kind);
    (session, rig.publish(2, 2), at(2000))
}

/// Tells the session of a tip, up to the last byte that it has to say.
pub(crate) fn take_tip(session: &mut Session, publication: Arc<Publication>, now: Moment) {
    session.handle(Input::Work(publication), now);
    while session.poll().is_some() {}
}
