//! A miner's view of a session, in words.

mod extended;
mod group;
mod jobs;
mod opening;
mod reload;
mod shares;
mod vardiff;

use std::sync::Arc;
use std::time::Duration;

use sv2_wire::common::SetupConnection;
use sv2_wire::mining::{NewMiningJob, OpenStandardMiningChannel, SubmitSharesStandard};
use sv2_wire::{FrameHeader, Message, MiningServerMessage, Str0255, U256};

use self::extended::ExtendedJob;
use super::*;
use crate::auth::{AuthMode, Authenticator};
use crate::channel::ExtranonceSpace;
use crate::ids::{ChannelId, Receipt};
use crate::job::Work;
use crate::mode::ValidationLevel;
use crate::prevhash::{Publication, PublicationKind, Verdict};
use crate::sample::{at, shared, work};
use crate::target::{Difficulty, Target};

/// The group channel of every connection.
const GROUP: u32 = 1;

/// So easy that every hash is a share.
const TRIVIAL: f64 = 1e-12;

fn difficulty(value: f64) -> Difficulty {
    Difficulty::new(value).unwrap()
}

fn settings() -> Settings {
    let seconds = Duration::from_secs;
    Settings {
        auth: Authenticator { mode: AuthMode::Open, max_worker_id_bytes: 32 },
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
        ntime_window: NtimeWindow::DeFacto(seconds(7200)),
        setup_timeout: seconds(10),
        first_channel_timeout: seconds(60),
        idle_timeout: seconds(3600),
        max_channels: 2,
        max_workers: 2,
        max_frame_bytes: 1000,
        messages_per_second: 100,
        bytes_per_second: 10_000,
        shares_per_second: 50,
        ack_batch: 2,
        ack_max_delay: Duration::from_millis(100),
    }
}

/// A session with its miner and its daemon.
struct Rig {
    session: Session,
    shared: Arc<SharedState>,
    /// The job that was sent last on any channel.
    job: Option<NewMiningJob>,
    /// The extended job that was sent last on any channel.
    extended: Option<ExtendedJob>,
    /// That of the channel that was opened last.
    prefix: Vec<u8>,
    target: Target,
    ntime: u32,
    blocks: Vec<FoundBlock>,
    accepted: Vec<AcceptedShare>,
    rejected: Vec<crate::event::ShareAccepted>,
}

impl Rig {
    fn new(adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::sharing(shared(16, 2), adjust)
    }

    fn sharing(shared: Arc<SharedState>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        adjust(&mut settings);
        let session = Session::new(ConnectionId(5), Arc::new(settings), Arc::clone(&shared), at(0));
        Self {
            session,
            shared,
            job: None,
            extended: None,
            prefix: Vec::new(),
            target: Target::MAX,
            ntime: 0,
            blocks: Vec::new(),
            accepted: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// A session that is set up and has no channel.
    fn ready(adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut rig = Self::new(adjust);
        assert_eq!(rig.frame(0, &setup(0, 2, 2, 0)), ["SetupConnectionSuccess"]);
        rig
    }

    /// A session whose miner works on channel 2 with template 1 of tip 1.
    fn mining(bits: u32, adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut rig = Self::ready(adjust);
        rig.publish(0, work(1, 1, bits));
        let opened = rig.frame(0, &open("alice", 0.0, Target::MAX));
        assert_eq!(opened, ["open 2 in group 1 + job 1 future + prevhash for 1", "ChannelOpened"]);
        rig
    }

    fn input(&mut self, ms: u64, input: Input<'_>) -> Vec<String> {
        self.session.handle(input, at(ms));
        let outputs: Vec<_> = std::iter::from_fn(|| self.session.poll()).collect();
        outputs.into_iter().map(|output| self.word(output)).collect()
    }

    fn frame<'a>(&mut self, ms: u64, message: &impl Message<'a>) -> Vec<String> {
        let mut bytes = Vec::new();
        message.encode_frame(&mut bytes);
        self.bytes(ms, &bytes)
    }

    fn bytes(&mut self, ms: u64, frame: &[u8]) -> Vec<String> {
        let (header, payload) = frame.split_first_chunk().unwrap();
        self.input(ms, Input::Frame { header: FrameHeader::decode(*header), payload })
    }

    /// Publishes as the switch does.
    fn publish(&mut self, ms: u64, work: Arc<Work>) -> Vec<String> {
        self.shared.hold_template(Arc::clone(&work), None);
        let publication = Publication {
            work,
            kind: PublicationKind::NewTip,
            tip_seen: at(ms),
            published: at(ms),
        };
        self.input(ms, Input::Work(Arc::new(publication)))
    }

    fn pass(&self, template_id: u64) {
        let verdict = Verdict { accepted: true, fee_tier: Some("mid"), ..Verdict::default() };
        self.shared.note_verdict(crate::ids::TemplateId(template_id), &Arc::new(verdict));
    }

    /// A share on the latest job as an honest miner would send it.
    fn share(&self, nonce: u32) -> SubmitSharesStandard {
        let job = self.job.as_ref().expect("there is a job");
        SubmitSharesStandard {
            channel_id: job.channel_id,
            sequence_number: nonce,
            job_id: job.job_id,
            nonce,
            ntime: self.ntime,
            version: job.version,
        }
    }

    fn word(&mut self, output: Output) -> String {
        match output {
            Output::Send(bytes) => {
                let words: Vec<_> =
                    frames(&bytes).map(|(header, frame)| self.server(header, frame)).collect();
                words.join(" + ")
            }
            Output::Block(block) => {
                self.blocks.push(block);
                "block".into()
            }
            Output::Accepted(share) => {
                let word = format!("accepted {}", share.receipt);
                self.accepted.push(*share);
                word
            }
            Output::Rejected(event) => {
                let word = format!("rejected {:?}", event.sv2_response);
                self.rejected.push(*event);
                word
            }
            Output::Close(close) => format!("close {}", close.reason),
            Output::Noticed(notice) => format!("{notice:?}"),
        }
    }

    fn server(&mut self, header: FrameHeader, frame: &[u8]) -> String {
        let decoded = MiningServerMessage::decode(header, &frame[FrameHeader::LEN..]).unwrap();
        match decoded.message {
            MiningServerMessage::OpenStandardMiningChannelSuccess(opened) => {
                self.target = Target::from_le_bytes(opened.target.0);
                self.prefix = opened.extranonce_prefix.as_bytes().to_vec();
                format!("open {} in group {}", opened.channel_id, opened.group_channel_id)
            }
            MiningServerMessage::OpenExtendedMiningChannelSuccess(opened) => {
                self.target = Target::from_le_bytes(opened.target.0);
                self.prefix = opened.extranonce_prefix.as_bytes().to_vec();
                let (id, group) = (opened.channel_id, opened.group_channel_id);
                let (prefix, rolled) = (self.prefix.len(), opened.extranonce_size);
                format!("open {id} extended {prefix}+{rolled} in group {group}")
            }
            MiningServerMessage::NewExtendedMiningJob(job) => self.extended(&job),
            MiningServerMessage::NewMiningJob(job) => {
                let id = job.job_id;
                let word = match job.min_ntime {
                    Some(min_ntime) => {
                        self.ntime = min_ntime;
                        format!("job {id} from {min_ntime}")
                    }
                    None => format!("job {id} future"),
                };
                self.job = Some(job);
                word
            }
            MiningServerMessage::SetNewPrevHash(tip) => {
                self.ntime = tip.min_ntime;
                let of = if tip.channel_id == GROUP { " in the group" } else { "" };
                format!("prevhash for {}{of}", tip.job_id)
            }
            MiningServerMessage::SetTarget(set) => {
                self.target = Target::from_le_bytes(set.maximum_target.0);
                "target".into()
            }
            MiningServerMessage::SetExtranoncePrefix(set) => {
                self.prefix = set.extranonce_prefix.as_bytes().to_vec();
                format!("prefix of {}", set.channel_id)
            }
            other => told(&other),
        }
    }
}

/// A message that the rig need not remember.
fn told(message: &MiningServerMessage<'_>) -> String {
    let text = |code: Str0255<'_>| code.to_str().unwrap().to_owned();
    match message {
        MiningServerMessage::OpenMiningChannelError(error) => {
            format!("open error {}", text(error.error_code))
        }
        MiningServerMessage::UpdateChannelError(error) => {
            format!("update error {}", text(error.error_code))
        }
        MiningServerMessage::SetupConnectionError(error) => {
            format!("setup error {} {:#b}", text(error.error_code), error.flags)
        }
        MiningServerMessage::SetCustomMiningJobError(error) => {
            format!("custom error {} {}", error.request_id, text(error.error_code))
        }
        MiningServerMessage::SubmitSharesError(error) => {
            format!("share {} {}", error.sequence_number, text(error.error_code))
        }
        MiningServerMessage::SubmitSharesSuccess(ack) => format!(
            "ack {}: {} worth {}",
            ack.last_sequence_number, ack.new_submits_accepted_count, ack.new_shares_sum
        ),
        MiningServerMessage::SetGroupChannel(group) => {
            let members: Vec<_> = group.channel_ids.iter().collect();
            format!("group {} of {members:?}", group.group_channel_id)
        }
        MiningServerMessage::Reconnect(to) => {
            format!("reconnect to {}:{}", text(to.new_host), to.new_port)
        }
        MiningServerMessage::CloseChannel(close) => {
            format!("close channel {} {}", close.channel_id, text(close.reason_code))
        }
        MiningServerMessage::RequestExtensionsSuccess(answer) => {
            format!("extensions {:?}", answer.supported_extensions.iter().collect::<Vec<_>>())
        }
        MiningServerMessage::RequestExtensionsError(answer) => {
            format!("no extensions {:?}", answer.unsupported_extensions.iter().collect::<Vec<_>>())
        }
        other => other.name().to_owned(),
    }
}

fn setup(protocol: u8, min_version: u16, max_version: u16, flags: u32) -> SetupConnection<'static> {
    setup_of(b"test", protocol, (min_version, max_version), flags)
}

fn setup_of(
    vendor: &'static [u8],
    protocol: u8,
    (min_version, max_version): (u16, u16),
    flags: u32,
) -> SetupConnection<'static> {
    let empty = Str0255::new(b"").unwrap();
    SetupConnection {
        protocol,
        min_version,
        max_version,
        flags,
        endpoint_host: empty,
        endpoint_port: 3333,
        vendor: Str0255::new(vendor).unwrap(),
        hardware_version: empty,
        firmware: empty,
        device_id: empty,
    }
}

fn open(identity: &str, rate: f32, max_target: Target) -> OpenStandardMiningChannel<'_> {
    OpenStandardMiningChannel {
        request_id: 11,
        user_identity: Str0255::new(identity.as_bytes()).unwrap(),
        nominal_hash_rate: rate,
        max_target: U256(max_target.to_le_bytes()),
    }
}
