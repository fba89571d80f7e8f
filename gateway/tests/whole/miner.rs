//! A miner with one standard channel.

use bitcoin::hashes::{Hash as _, sha256d};
use platform::Stream;
use sv2_noise::{ACT_2_LEN, AuthorityPublicKey, FrameDecoder, Initiator, Sealer};
use sv2_wire::common::{MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection};
use sv2_wire::mining::{OpenStandardMiningChannel, SubmitSharesStandard};
use sv2_wire::{FrameHeader, MiningClientMessage, MiningServerMessage, Str0255, U24, U256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::World;

pub(crate) struct Miner {
    stream: Stream,
    sealer: Sealer,
    decoder: FrameDecoder,
    channel_id: u32,
    work: Work,
    next_nonce: u32,
}

#[derive(Default)]
struct Work {
    job_id: u32,
    version: u32,
    merkle_root: [u8; 32],
    prev_hash: [u8; 32],
    min_ntime: u32,
    nbits: u32,
}

impl Miner {
    /// Connects as soon as the gateway listens, and shakes hands.
    pub(crate) async fn connect(world: &World) -> Self {
        Self::connect_trusting(world, world.authority).await
    }

    /// Connects to a gateway whose certificate this authority must have signed.
    pub(crate) async fn connect_trusting(world: &World, authority: AuthorityPublicKey) -> Self {
        let mut unanswered = 0;
        let (initiator, stream, act_2) = loop {
            let Ok(mut stream) = world.env.net.connect(&world.miner_address).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let mut entropy = |bytes: &mut [u8]| world.env.rng.fill(bytes);
            let (initiator, act_1) = Initiator::new(Some(authority), &mut entropy).unwrap();
            let mut act_2 = [0; ACT_2_LEN];
            // Until the gateway listens, its port may be another test's for a moment.
            let is_answered = stream.write_all(&act_1).await.is_ok()
                && stream.read_exact(&mut act_2).await.is_ok();
            if is_answered {
                break (initiator, stream, act_2);
            }
            unanswered += 1;
            assert!(unanswered < 100, "the gateway answers no handshake");
        };
        let now = world.env.wall.unix_ms() / 1000;
        let (transport, _) = initiator.act_2(&act_2, now).unwrap();
        let (sealer, opener) = transport.split();
        let decoder = FrameDecoder::new(opener, 1 << 20);
        Self { stream, sealer, decoder, channel_id: 0, work: Work::default(), next_nonce: 0 }
    }

    /// Sets up, opens a channel, and waits for its first job.
    pub(crate) async fn open_channel(&mut self, worker: &str) {
        let empty = Str0255::new(b"").unwrap();
        self.send(SetupConnection {
            protocol: MINING_PROTOCOL,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            flags: 1,
            endpoint_host: empty,
            endpoint_port: 0,
            vendor: "test".try_into().unwrap(),
            hardware_version: empty,
            firmware: empty,
            device_id: empty,
        })
        .await;
        self.send(OpenStandardMiningChannel {
            request_id: 1,
            user_identity: worker.try_into().unwrap(),
            nominal_hash_rate: 1.0,
            max_target: U256::MAX,
        })
        .await;
        while self.work.nbits == 0 {
            self.receive().await;
        }
    }

    /// Submits a share that meets the network's target.
    pub(crate) async fn submit_block(&mut self) {
        let work = &self.work;
        let nonce = (self.next_nonce..)
            .find(|nonce| {
                let header = [
                    &work.version.to_le_bytes()[..],
                    &work.prev_hash,
                    &work.merkle_root,
                    &work.min_ntime.to_le_bytes(),
                    &work.nbits.to_le_bytes(),
                    &u32::to_le_bytes(*nonce),
                ]
                .concat();
                // Far below the easiest targets of the chain and of the channel.
                let hash = sha256d::Hash::hash(&header).to_byte_array();
                hash[31] == 0 && hash[30] < 0x10
            })
            .unwrap();
        self.next_nonce = nonce + 1;
        self.send(SubmitSharesStandard {
            channel_id: self.channel_id,
            sequence_number: 1,
            job_id: self.work.job_id,
            nonce,
            ntime: self.work.min_ntime,
            version: self.work.version,
        })
        .await;
    }

    pub(crate) async fn expect_accepted(&mut self) {
        while self.receive().await != Some("SubmitSharesSuccess".to_owned()) {}
    }

    /// Reads until the gateway closes; the reason that it gave, if any.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut reason = String::new();
        while let Some(message) = self.receive().await {
            if let Some(given) = message.strip_prefix("CloseChannel ") {
                given.clone_into(&mut reason);
            }
        }
        reason
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send_header_announcing(&mut self, length: u32) {
        let [a, b, c, _] = length.to_le_bytes();
        let msg_length = U24::from_le_bytes([a, b, c]);
        let header = FrameHeader { extension_type: 0, channel_msg: false, msg_type: 0, msg_length };
        // Sealed as if it were whole: the payload never comes.
        let frame = [&header.encode()[..], &vec![0; length as usize]].concat();
        let mut sealed = Vec::new();
        self.sealer.seal_frame(&frame, &mut sealed);
        self.send_raw(&sealed[..sv2_noise::HEADER_BLOCK_LEN]).await;
    }

    pub(crate) async fn send<'a>(&mut self, message: impl Into<MiningClientMessage<'a>>) {
        let (mut frame, mut sealed) = (Vec::new(), Vec::new());
        message.into().encode_frame(&mut frame);
        self.sealer.seal_frame(&frame, &mut sealed);
        self.stream.write_all(&sealed).await.unwrap();
    }

    /// What `read` makes of the next message; `None` at the end.
    pub(crate) async fn message<T>(
        &mut self,
        read: impl FnOnce(&MiningServerMessage<'_>) -> T,
    ) -> Option<T> {
        let Self { stream, decoder, .. } = self;
        next(stream, decoder, read).await
    }

    /// Takes in the next message; its name, or `None` at the end.
    async fn receive(&mut self) -> Option<String> {
        let Self { stream, decoder, channel_id, work, .. } = self;
        next(stream, decoder, |message| note(message, channel_id, work)).await
    }
}

async fn next<T>(
    stream: &mut Stream,
    decoder: &mut FrameDecoder,
    read: impl FnOnce(&MiningServerMessage<'_>) -> T,
) -> Option<T> {
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            let decoded = MiningServerMessage::decode(frame.header, frame.payload).unwrap();
            return Some(read(&decoded.message));
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => decoder.push(&chunk[..length]),
        }
    }
}

fn note(message: &MiningServerMessage<'_>, channel_id: &mut u32, work: &mut Work) -> String {
    match message {
        MiningServerMessage::OpenStandardMiningChannelSuccess(opened) => {
            *channel_id = opened.channel_id;
        }
        MiningServerMessage::NewMiningJob(job) => {
            work.job_id = job.job_id;
            work.version = job.version;
            work.merkle_root = job.merkle_root.0;
        }
        MiningServerMessage::SetNewPrevHash(tip) => {
            work.prev_hash = tip.prev_hash.0;
            work.min_ntime = tip.min_ntime;
            work.nbits = tip.nbits;
        }
        MiningServerMessage::CloseChannel(close) => {
            return format!("CloseChannel {}", close.reason_code);
        }
        _ => {}
    }
    message.name().to_owned()
}
