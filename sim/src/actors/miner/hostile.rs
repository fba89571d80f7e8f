//! Peers that mean harm, or know no better: each connects, does the one thing that it is for, and
//! comes again when it is thrown out.

use std::sync::Arc;
use std::time::Duration;

use platform::Env;
use sv2_noise::{AuthorityPublicKey, Initiator};
use sv2_wire::common::{MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection};
use sv2_wire::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, REQUIRES_WORK_SELECTION,
    SubmitSharesStandard, UpdateChannel,
};
use sv2_wire::{Message, MiningServerMessage, Str0255, U256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connection::{self, Connection};
use crate::actors::observe::{Recorder, Seen};
use crate::scenario::Hostility;

/// What an attacker is told to be.
#[derive(Clone)]
pub struct HostileConfig {
    /// Its name in the record.
    pub name: String,
    /// The gateway's `host:port`.
    pub address: String,
    /// Whose certificate the gateway must show.
    pub authority: AuthorityPublicKey,
    /// What it does.
    pub kind: Hostility,
    /// An identity that the gateway lets in.
    pub identity: String,
}

/// The wait before it connects again.
const PAUSE: Duration = Duration::from_millis(500);
/// The wait between two pieces of what it sends too slowly, or too often.
const DRIP: Duration = Duration::from_secs(1);
/// Messages that a flood sends in one piece, and the wait before the next.
const FLOOD_PIECE: (usize, Duration) = (200, Duration::from_millis(20));
/// Shares in one piece of their flood: each is answered.
const SHARES_A_PIECE: usize = 20;
/// What no handshake begins with: more bytes than its first act has.
const GARBAGE_BYTES: usize = 512;
/// Channels that are asked for at once.
const CHANNELS: u32 = 64;
/// A channel that nobody owns.
const FOREIGN_CHANNEL: u32 = 77_777;

/// Attacks until the future is dropped.
pub async fn attack(env: Env, config: HostileConfig, recorder: Recorder) {
    loop {
        let error = match once(&env, &config).await {
            Ok(()) => "done".to_owned(),
            Err(error) => error,
        };
        if config.kind != Hostility::Reconnect {
            recorder.record(Seen::Hostile { name: config.name.clone(), ended: error });
            tokio::time::sleep(PAUSE).await;
        } else {
            tokio::time::sleep(FLOOD_PIECE.1).await;
        }
    }
}

/// One connection, from its beginning to its end.
async fn once(env: &Env, config: &HostileConfig) -> Result<(), String> {
    match config.kind {
        Hostility::Garbage | Hostility::Silent | Hostility::Drip | Hostility::Reconnect => {
            without_handshake(env, config).await
        }
        kind => {
            let mut connection =
                connection::open(env, &config.address, Some(config.authority)).await?;
            match kind {
                Hostility::Mute => {}
                Hostility::BadCipher => {
                    let mut noise = vec![0; GARBAGE_BYTES];
                    env.rng.fill(&mut noise);
                    connection.send_raw(&noise).await?;
                }
                Hostility::Oversize => {
                    let header = [0, 0, 1, 0, 0, 3];
                    connection.send_frame_header(header).await?;
                }
                _ => connection.send(&opening(config)?).await?,
            }
            go_on(&mut connection, config).await
        }
    }
}

async fn without_handshake(env: &Env, config: &HostileConfig) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = env.net.connect(&config.address).await.map_err(text)?;
    let rng = Arc::clone(&env.rng);
    let mut entropy = move |buffer: &mut [u8]| rng.fill(buffer);
    let (_, act_1) = Initiator::new(None, &mut entropy).map_err(|error| error.to_string())?;
    match config.kind {
        Hostility::Garbage => {
            stream.write_all(&[0x55; GARBAGE_BYTES]).await.map_err(text)?;
            stream.flush().await.map_err(text)?;
        }
        Hostility::Drip => {
            for byte in act_1 {
                stream.write_all(&[byte]).await.map_err(text)?;
                stream.flush().await.map_err(text)?;
                tokio::time::sleep(DRIP).await;
            }
        }
        Hostility::Reconnect => return Ok(()),
        _ => {}
    }
    let mut answer = [0; 64];
    while stream.read(&mut answer).await.map_err(text)? > 0 {}
    Err("closed by the gateway".to_owned())
}

/// What is sent first over the transport.
fn opening(config: &HostileConfig) -> Result<Vec<u8>, String> {
    let mut frames = Vec::new();
    let kind = config.kind;
    if kind == Hostility::WrongPhase {
        open_channel(1, &config.identity, 1e12, U256::MAX, &mut frames)?;
        return Ok(frames);
    }
    if kind == Hostility::Undecodable {
        // A SetupConnection that ends after three bytes.
        return Ok(vec![0, 0, 0, 3, 0, 0, 0, 2, 0]);
    }
    let text = |text: &'static str| Str0255::new(text.as_bytes()).expect("the text is short");
    let version = PROTOCOL_VERSION + if kind == Hostility::WrongVersion { 7 } else { 0 };
    SetupConnection {
        protocol: if kind == Hostility::WrongProtocol { 2 } else { MINING_PROTOCOL },
        min_version: version,
        max_version: version,
        flags: if kind == Hostility::WrongFlags { REQUIRES_WORK_SELECTION } else { 0 },
        endpoint_host: text("gateway"),
        endpoint_port: 3333,
        vendor: text("hostile"),
        hardware_version: text(""),
        firmware: text(""),
        device_id: text(""),
    }
    .encode_frame(&mut frames);
    match kind {
        Hostility::BadIdentity => open_channel(1, "nobody", 1e12, U256::MAX, &mut frames)?,
        Hostility::LongIdentity => {
            let long = format!("{}-{}", config.identity, "x".repeat(200));
            open_channel(1, &long, 1e12, U256::MAX, &mut frames)?;
        }
        Hostility::WrongSecret => {
            open_channel(1, "guest-1:not-the-secret", 1e12, U256::MAX, &mut frames)?;
        }
        Hostility::BadHashrate => {
            open_channel(1, &config.identity, f32::NAN, U256::MAX, &mut frames)?;
        }
        Hostility::BadTarget => {
            open_channel(1, &config.identity, 1e12, U256([0; 32]), &mut frames)?;
        }
        Hostility::Extended => OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: identity(&config.identity)?,
            nominal_hash_rate: 1e12,
            max_target: U256::MAX,
            min_extranonce_size: 4,
        }
        .encode_frame(&mut frames),
        Hostility::ManyChannels => {
            for request_id in 1..=CHANNELS {
                open_channel(request_id, &config.identity, 1e12, U256::MAX, &mut frames)?;
            }
        }
        _ => open_channel(1, &config.identity, 1e12, U256::MAX, &mut frames)?,
    }
    Ok(frames)
}

fn identity(text: &str) -> Result<Str0255<'_>, String> {
    Str0255::new(text.as_bytes()).map_err(|error| format!("identity: {error}"))
}

fn open_channel(
    request_id: u32,
    name: &str,
    nominal_hash_rate: f32,
    max_target: U256,
    frames: &mut Vec<u8>,
) -> Result<(), String> {
    let user_identity = identity(name)?;
    OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target }
        .encode_frame(frames);
    Ok(())
}

/// Reads until the end, and floods where that is what it is for.
async fn go_on(connection: &mut Connection, config: &HostileConfig) -> Result<(), String> {
    let mut channel = None;
    let mut sequence_number = 0;
    loop {
        while let Some(frame) =
            connection.decoder().next_frame().map_err(|error| error.to_string())?
        {
            let decoded = MiningServerMessage::decode(frame.header, frame.payload);
            if let Ok(decoded) = decoded
                && let MiningServerMessage::OpenStandardMiningChannelSuccess(opened) =
                    decoded.message
            {
                channel = Some(opened.channel_id);
            }
        }
        match (flood(config.kind, channel, &mut sequence_number), channel) {
            (Some(frames), _) => {
                tokio::select! {
                    biased;
                    received = connection.receive() => received?,
                    () = tokio::time::sleep(FLOOD_PIECE.1) => connection.send(&frames).await?,
                }
            }
            (None, _) => connection.receive().await?,
        }
    }
}

/// The next piece of a flood; none while it is not for this one, or has no channel yet.
fn flood(kind: Hostility, channel: Option<u32>, sequence_number: &mut u32) -> Option<Vec<u8>> {
    let channel_id = channel?;
    let mut frames = Vec::new();
    let count = if kind == Hostility::ShareFlood { SHARES_A_PIECE } else { FLOOD_PIECE.0 };
    for _ in 0..count {
        match kind {
            // Of an extension that nobody speaks.
            Hostility::Flood => frames.extend_from_slice(&[0x99, 0x09, 7, 1, 0, 0, 0]),
            Hostility::ShareFlood => {
                *sequence_number += 1;
                SubmitSharesStandard {
                    channel_id,
                    sequence_number: *sequence_number,
                    job_id: u32::MAX,
                    nonce: *sequence_number,
                    ntime: 0,
                    version: 0,
                }
                .encode_frame(&mut frames);
            }
            Hostility::ForeignUpdate => {
                UpdateChannel {
                    channel_id: FOREIGN_CHANNEL,
                    nominal_hash_rate: 1.0,
                    maximum_target: U256::MAX,
                }
                .encode_frame(&mut frames);
                break;
            }
            _ => return None,
        }
    }
    Some(frames)
}
