//! A template provider for programs that need one: empty blocks on a tip of its own making.
//!
//! It speaks the Template Distribution Protocol over Noise. Its network is hard, so that whoever
//! mines on its templates finds shares and no blocks, and its tip changes in a steady rhythm.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::{Hash as _, sha256d};
use platform::{Env, Stream};
use sv2_noise::{ACT_1_LEN, AuthoritySecretKey, Certificate, FrameDecoder, Responder, Sealer};
use sv2_noise::{StaticKey, Validity};
use sv2_wire::common::SetupConnectionSuccess;
use sv2_wire::template_distribution::{NewTemplate, RequestTransactionDataSuccess, SetNewPrevHash};
use sv2_wire::{B016M, B064K, B0255, Message as _, Seq064K, Seq0255, TemplateClientMessage, U256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

/// The largest payload it takes.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// The network's compact target: that of the first blocks of the main chain.
const N_BITS: u32 = 0x1d00_ffff;
/// The height of the first template.
const FIRST_HEIGHT: u32 = 500_000;
/// What a block pays.
const SUBSIDY_SATS: u64 = 1_250_000_000;
/// A commitment to no transactions: the hash of two zeroes (BIP 141), and its script's head.
const COMMITMENT_HEAD: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// How long its certificate is good, in seconds, and how long it has been.
const VALID_S: u32 = 86_400;

/// A template provider of this rhythm.
#[derive(Clone)]
pub(crate) struct Provider {
    /// The time between two tips; whoever holds the other end may change it.
    pub(crate) tip_interval: watch::Receiver<Duration>,
    /// Hears of each tip, by its hash in internal byte order, before a client does.
    pub(crate) announce: Arc<dyn Fn([u8; 32]) + Send + Sync>,
}

impl Provider {
    /// Serves `listen` until the future is dropped. Its certificate is signed by a key that nobody
    /// knows, so clients must take any.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) async fn serve(self, env: Env, listen: String) -> std::io::Result<()> {
        let mut listener = env.net.listen(&listen).await?;
        loop {
            let stream = listener.accept().await?;
            let (inner, provider) = (env.clone(), self.clone());
            drop(env.tasks.spawn("template_provider", async move {
                let Err(error) = provide(&inner, &provider, stream).await;
                tracing::info!(error, "the client of the template provider is gone");
            }));
        }
    }
}

async fn provide(
    env: &Env,
    provider: &Provider,
    stream: Stream,
) -> Result<std::convert::Infallible, String> {
    let Provider { mut tip_interval, announce } = provider.clone();
    let mut client = Client::greet(env, stream).await?;
    let mut next_tip: Option<Instant> = None;
    let mut height = FIRST_HEIGHT;
    loop {
        while let Some(asked) = client.asked()? {
            match asked {
                Asked::Setup => {
                    let mut frames = Vec::new();
                    SetupConnectionSuccess { used_version: 2, flags: 0 }.encode_frame(&mut frames);
                    client.send(&frames).await?;
                }
                Asked::Templates => next_tip = Some(Instant::now()),
                Asked::Transactions(template_id) => {
                    let mut frames = Vec::new();
                    RequestTransactionDataSuccess {
                        template_id,
                        excess_data: B064K::new(&[]).expect("nothing fits"),
                        transaction_list: Seq064K::<B016M<'_>>::new(&[]).expect("nothing fits"),
                    }
                    .encode_frame(&mut frames);
                    client.send(&frames).await?;
                }
                Asked::Nothing => {}
            }
        }
        let due = next_tip.unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            received = client.receive() => received?,
            Ok(()) = tip_interval.changed(), if next_tip.is_some() => {
                next_tip = Some(Instant::now() + *tip_interval.borrow_and_update());
            }
            () = tokio::time::sleep_until(due), if next_tip.is_some() => {
                let frames = tip(height, env.wall.unix_ms() / 1000);
                announce(block_hash(height));
                client.send(&frames).await?;
                height += 1;
                next_tip = Some(due + *tip_interval.borrow_and_update());
            }
        }
    }
}

/// The hash of the block below this height.
fn block_hash(height: u32) -> [u8; 32] {
    sha256d::Hash::hash(&height.to_le_bytes()).to_byte_array()
}

/// A future template and the tip that makes it the present one.
fn tip(height: u32, now_s: u64) -> Vec<u8> {
    let template_id = u64::from(height);
    let mut prefix = vec![3];
    prefix.extend_from_slice(&height.to_le_bytes()[..3]);
    let commitment = sha256d::Hash::hash(&[0; 64]);
    let mut output = vec![0; 8];
    output.push(38);
    output.extend_from_slice(&COMMITMENT_HEAD);
    output.extend_from_slice(commitment.as_byte_array());
    let mut frames = Vec::new();
    NewTemplate {
        template_id,
        future_template: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::new(&prefix).expect("four bytes fit"),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: SUBSIDY_SATS,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: B064K::new(&output).expect("47 bytes fit"),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::<U256>::new(&[]).expect("nothing fits"),
    }
    .encode_frame(&mut frames);
    let network = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(N_BITS));
    SetNewPrevHash {
        template_id,
        prev_hash: U256(block_hash(height)),
        header_timestamp: now_s.try_into().unwrap_or(u32::MAX),
        n_bits: N_BITS,
        target: U256(network.to_le_bytes()),
    }
    .encode_frame(&mut frames);
    frames
}

/// What a client's message asks for.
enum Asked {
    Setup,
    Templates,
    Transactions(u64),
    Nothing,
}

struct Client {
    stream: Stream,
    sealer: Sealer,
    decoder: FrameDecoder,
}

impl Client {
    /// The handshake.
    async fn greet(env: &Env, mut stream: Stream) -> Result<Self, String> {
        let rng = Arc::clone(&env.rng);
        let mut entropy = move |bytes: &mut [u8]| rng.fill(bytes);
        let authority = AuthoritySecretKey::generate(&mut entropy);
        let key = StaticKey::generate(&mut entropy);
        let now_s = u32::try_from(env.wall.unix_ms() / 1000).unwrap_or(u32::MAX);
        let validity = Validity {
            valid_from: now_s.saturating_sub(VALID_S),
            not_valid_after: now_s.saturating_add(VALID_S),
        };
        let certificate = Certificate::mint(&authority, &key.public(), validity, &mut entropy);
        let responder =
            Responder::new(&key, &certificate, &mut entropy).map_err(|error| error.to_string())?;
        let mut act_1 = [0; ACT_1_LEN];
        stream.read_exact(&mut act_1).await.map_err(|error| error.to_string())?;
        let (act_2, transport) = responder.act_1(&act_1).map_err(|error| error.to_string())?;
        let (sealer, opener) = transport.split();
        let decoder = FrameDecoder::new(opener, MAX_PAYLOAD_BYTES);
        let mut client = Self { stream, sealer, decoder };
        client.send_raw(&act_2).await?;
        Ok(client)
    }

    /// The next whole message's meaning.
    fn asked(&mut self) -> Result<Option<Asked>, String> {
        let frame = self.decoder.next_frame().map_err(|error| error.to_string())?;
        let Some(frame) = frame else { return Ok(None) };
        let decoded = TemplateClientMessage::decode(frame.header, frame.payload)
            .map_err(|error| error.to_string())?;
        Ok(Some(match decoded.message {
            TemplateClientMessage::SetupConnection(_) => Asked::Setup,
            TemplateClientMessage::CoinbaseOutputConstraints(_) => Asked::Templates,
            TemplateClientMessage::RequestTransactionData(request) => {
                Asked::Transactions(request.template_id)
            }
            TemplateClientMessage::RequestExtensions(_)
            | TemplateClientMessage::SubmitSolution(_) => Asked::Nothing,
        }))
    }

    async fn send(&mut self, frames: &[u8]) -> Result<(), String> {
        let mut sealed = Vec::new();
        self.sealer.seal_frames(frames, &mut sealed);
        self.send_raw(&sealed).await
    }

    async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| error.to_string())
    }

    /// Waits for bytes. May be dropped while it waits.
    async fn receive(&mut self) -> Result<(), String> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer).await.map_err(|error| error.to_string())? {
            0 => Err("closed".to_owned()),
            count => {
                self.decoder.push(&buffer[..count]);
                Ok(())
            }
        }
    }
}
