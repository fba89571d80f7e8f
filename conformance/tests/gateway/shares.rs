//! The gateway's judgement of shares beside the reference implementation's: its client channels
//! get what the gateway sends, so that they know the same jobs, and both see the same shares.

use std::time::Duration;

use bitcoin::Target;
use channels_sv2::client::extended::ExtendedChannel;
use channels_sv2::client::standard::StandardChannel;
use channels_sv2::extranonce_manager::ExtranoncePrefix;
use conformance::{Bench, Channel, Frame, Peer};
use rstest::rstest;
use sim::run::Guest;
use sv2_wire::common::SetupConnection;
use sv2_wire::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended,
    SubmitSharesStandard,
};
use sv2_wire::{B032, MiningServerMessage, Str0255, U256};

use crate::{target, visited};

/// Shares of each kind of channel.
const SHARES: u32 = 400;
/// After so much silence nothing more comes of what was sent.
const QUIET: Duration = Duration::from_millis(700);
/// Bits that BIP 323 leaves to miners.
const ROLLED_BITS: u32 = 0x1fff_ffe0;

/// Either of their channels.
enum Theirs {
    Standard(Box<StandardChannel>),
    Extended(Box<ExtendedChannel>),
}

/// A share before it is put into a message.
#[derive(Clone, Debug)]
struct Draft {
    job_id: u32,
    nonce: u32,
    ntime: u32,
    version: u32,
    extranonce: Vec<u8>,
}

/// A miner with one channel of the gateway's, and of theirs.
struct Both {
    guest: Guest,
    peer: Peer,
    channel: Channel,
    theirs: Theirs,
    sequence_number: u32,
}

impl Both {
    async fn open(guest: Guest, is_extended: bool) -> Self {
        let bench = Bench::new(guest.env.clone(), target(&guest));
        let mut peer = bench.connect().await.unwrap();
        peer.send(&SetupConnection {
            protocol: 0,
            min_version: 2,
            max_version: 2,
            flags: 0,
            endpoint_host: text("gateway"),
            endpoint_port: 3333,
            vendor: text("differential"),
            hardware_version: text(""),
            firmware: text(""),
            device_id: text(""),
        })
        .await;
        let user_identity = Str0255::new(guest.identity.as_bytes()).unwrap();
        let (request_id, nominal_hash_rate, max_target) = (1, 1e3, U256::MAX);
        if is_extended {
            peer.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size: 8,
            })
            .await;
        } else {
            peer.send(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            })
            .await;
        }
        let theirs = follow(&mut peer).await;
        let channel = peer.view.channels.values().next().unwrap().clone();
        Self { guest, peer, channel, theirs, sequence_number: 0 }
    }

    /// Lets what a block of before has set off come to its end, so that both know the same jobs.
    async fn settle(&mut self) {
        let heard = self.peer.hear(QUIET).await.unwrap();
        heard.frames.iter().for_each(|frame| self.theirs.take(frame));
        self.channel = self.peer.view.channels[&self.channel.channel_id].clone();
    }

    /// Whether the gateway takes a share, or its code.
    async fn ours(&mut self, draft: &Draft) -> Result<(), String> {
        self.sequence_number += 1;
        let (channel_id, number) = (self.channel.channel_id, self.sequence_number);
        let Draft { job_id, nonce, ntime, version, .. } = *draft;
        if self.channel.extranonce_size.is_none() {
            self.peer
                .send(&SubmitSharesStandard {
                    channel_id,
                    sequence_number: number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                })
                .await;
        } else {
            self.peer
                .send(&SubmitSharesExtended {
                    channel_id,
                    sequence_number: number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce: B032::new(&draft.extranonce).unwrap(),
                })
                .await;
        }
        let answer = self.peer.await_message("answer to a share", |message| match message {
            MiningServerMessage::SubmitSharesSuccess(yes) if yes.last_sequence_number == number => {
                Some(Ok(()))
            }
            MiningServerMessage::SubmitSharesError(no) if no.sequence_number == number => {
                Some(Err(no.error_code.to_str().unwrap().to_owned()))
            }
            _ => None,
        });
        answer.await.unwrap()
    }

    /// Whether the reference implementation takes it, or why not.
    fn theirs(&mut self, draft: &Draft) -> Result<(), String> {
        let Draft { job_id, nonce, ntime, version, .. } = *draft;
        let (channel_id, sequence_number) = (self.channel.channel_id, self.sequence_number);
        let judged = match &mut self.theirs {
            Theirs::Standard(channel) => channel
                .validate_share(mining_sv2::SubmitSharesStandardOwned {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                })
                .map(drop),
            Theirs::Extended(channel) => channel
                .validate_share(mining_sv2::SubmitSharesExtendedOwned {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce: draft.extranonce.clone().try_into().unwrap(),
                })
                .map(drop),
        };
        judged.map_err(|error| format!("{error:?}"))
    }

    /// A share of the active job as an honest miner would send it, if its hash is good enough.
    fn honest(&self) -> Draft {
        let (job, tip) = self.channel.active().unwrap();
        let rng = &self.guest.env.rng;
        let mut extranonce = vec![0; usize::from(self.channel.extranonce_size.unwrap_or(0))];
        rng.fill(&mut extranonce);
        Draft {
            job_id: job.job_id,
            nonce: rng.next_u64() as u32,
            ntime: job.min_ntime.unwrap_or(tip.min_ntime).max(tip.min_ntime),
            version: job.version,
            extranonce,
        }
    }

    /// A share that may have something wrong with it. `last` was sent before.
    fn draw(&self, last: &Draft) -> Draft {
        let honest = self.honest();
        let dice = self.guest.env.rng.next_u64();
        let more = (dice >> 32) as u32;
        match dice % 8 {
            0 | 1 => honest,
            2 => Draft { version: honest.version ^ more & ROLLED_BITS, ..honest },
            3 => Draft { version: honest.version ^ 1 << (more % 32), ..honest },
            4 => Draft { ntime: honest.ntime + more % 5 - 2, ..honest },
            5 => Draft { job_id: honest.job_id + more % 3, ..honest },
            6 => {
                let mut extranonce = honest.extranonce;
                match more % 3 {
                    0 => drop(extranonce.pop()),
                    1 => extranonce.push(7),
                    _ => {}
                }
                Draft { extranonce, ..honest }
            }
            _ => last.clone(),
        }
    }
}

fn text(text: &str) -> Str0255<'_> {
    Str0255::new(text.as_bytes()).unwrap()
}

/// Waits until the gateway has sent work, and hands it to a channel of theirs.
async fn follow(peer: &mut Peer) -> Theirs {
    let heard = peer.hear(QUIET).await.unwrap();
    assert!(!heard.closed, "the gateway closed the connection");
    let mut theirs = their_channel(peer);
    heard.frames.iter().for_each(|frame| theirs.take(frame));
    theirs
}

impl Theirs {
    /// Takes a frame of the gateway's in.
    fn take(&mut self, frame: &Frame) {
        let mut payload = frame.payload.clone();
        match (frame.header.msg_type, self) {
            (0x15, Self::Standard(channel)) => {
                let job: mining_sv2::NewMiningJob<'_> =
                    binary_sv2::from_bytes(&mut payload).unwrap();
                channel.on_new_mining_job(job.into_owned()).unwrap();
            }
            (0x1f, Self::Extended(channel)) => {
                let job: mining_sv2::NewExtendedMiningJob<'_> =
                    binary_sv2::from_bytes(&mut payload).unwrap();
                channel.on_new_extended_mining_job(job.into_owned()).unwrap();
            }
            (0x20, channel) => {
                let tip: mining_sv2::SetNewPrevHash<'_> =
                    binary_sv2::from_bytes(&mut payload).unwrap();
                let tip = tip.into_owned();
                match channel {
                    Self::Standard(channel) => channel.on_set_new_prev_hash(tip).unwrap(),
                    Self::Extended(channel) => channel.on_set_new_prev_hash(tip).unwrap(),
                }
            }
            _ => {}
        }
    }
}

fn their_channel(peer: &Peer) -> Theirs {
    let ours = peer.view.channels.values().next().unwrap();
    let prefix = ExtranoncePrefix::from_wire(ours.extranonce_prefix.clone()).unwrap();
    let target = Target::from_le_bytes(ours.targets[0].0);
    let (id, name) = (ours.channel_id, "differential".to_owned());
    match ours.extranonce_size {
        None => {
            let channel = StandardChannel::new(id, name, prefix, target, 1e3, None).unwrap();
            Theirs::Standard(Box::new(channel))
        }
        Some(size) => {
            let channel = ExtendedChannel::new(id, name, prefix, target, 1e3, true, size, None);
            Theirs::Extended(Box::new(channel.unwrap()))
        }
    }
}

#[rstest]
#[case::standard(false)]
#[case::extended(true)]
fn shares_are_judged_alike(#[case] is_extended: bool) {
    let (taken, refused) = visited("", async move |guest| {
        let mut both = Both::open(guest, is_extended).await;
        let (mut taken, mut refused) = (0, 0);
        let mut last = both.honest();
        for _ in 0..SHARES {
            both.settle().await;
            let draft = both.draw(&last);
            let (ours, theirs) = (both.ours(&draft).await, both.theirs(&draft));
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{draft:?}: {ours:?} {theirs:?}");
            if ours.is_ok() {
                taken += 1;
                last = draft;
            } else {
                refused += 1;
            }
        }
        (taken, refused)
    });
    assert!(taken > SHARES / 5 && refused > SHARES / 5, "{taken} taken, {refused} refused");
}

/// Theirs knows no time and allows the two hours of consensus; ours holds to the job's time and
/// the minute that deployed miners need.
#[test]
fn only_they_take_an_ntime_far_ahead() {
    let code = visited("", async |guest| {
        let mut both = Both::open(guest, false).await;
        loop {
            both.settle().await;
            let honest = both.honest();
            let draft = Draft { ntime: honest.ntime + 3_600, ..honest };
            if both.theirs(&draft).is_ok() {
                return both.ours(&draft).await;
            }
        }
    });
    assert_eq!(code, Err("ntime-out-of-range".to_owned()));
}
