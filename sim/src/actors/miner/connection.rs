//! A connection up to its Noise transport.

use platform::{Env, Stream};
use sv2_noise::{ACT_2_LEN, AuthorityPublicKey, Certificate, FrameDecoder, Initiator, Sealer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The largest payload a miner takes.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// A header with its authentication tag.
const SEALED_HEADER_BYTES: usize = 6 + 16;

/// A connection whose handshake is done.
pub(crate) struct Connection {
    stream: Stream,
    sealer: Sealer,
    decoder: FrameDecoder,
}

/// Connects to `host:port` and shakes hands; without an authority any certificate will do.
pub(crate) async fn open(
    env: &Env,
    address: &str,
    authority: Option<AuthorityPublicKey>,
) -> Result<Connection, String> {
    open_with_certificate(env, address, authority).await.map(|(connection, _)| connection)
}

/// The same, and the certificate that the gateway showed.
pub(crate) async fn open_with_certificate(
    env: &Env,
    address: &str,
    authority: Option<AuthorityPublicKey>,
) -> Result<(Connection, Certificate), String> {
    let mut stream = env.net.connect(address).await.map_err(|error| error.to_string())?;
    let rng = std::sync::Arc::clone(&env.rng);
    let mut entropy = move |buffer: &mut [u8]| rng.fill(buffer);
    let (initiator, act_1) =
        Initiator::new(authority, &mut entropy).map_err(|error| error.to_string())?;
    let mut act_2 = [0; ACT_2_LEN];
    let exchange = async {
        stream.write_all(&act_1).await?;
        stream.flush().await?;
        stream.read_exact(&mut act_2).await
    };
    exchange.await.map_err(|error| format!("handshake: {error}"))?;
    let (transport, certificate) = initiator
        .act_2(&act_2, env.wall.unix_ms() / 1000)
        .map_err(|error| format!("handshake: {error}"))?;
    let (sealer, opener) = transport.split();
    let decoder = FrameDecoder::new(opener, MAX_PAYLOAD_BYTES);
    Ok((Connection { stream, sealer, decoder }, certificate))
}

impl Connection {
    /// Seals and sends frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> Result<(), String> {
        let mut sealed = Vec::new();
        self.sealer.seal_frames(frames, &mut sealed);
        self.send_raw(&sealed).await
    }

    /// Seals and sends a header alone, whatever length it announces.
    pub(super) async fn send_frame_header(&mut self, header: [u8; 6]) -> Result<(), String> {
        // The payload that is sealed beside it stays here.
        let announced = u32::from_le_bytes([header[3], header[4], header[5], 0]) as usize;
        let mut frame = header.to_vec();
        frame.resize(header.len() + announced, 0);
        let mut sealed = Vec::new();
        self.sealer.seal_frames(&frame, &mut sealed);
        sealed.truncate(SEALED_HEADER_BYTES);
        self.send_raw(&sealed).await
    }

    /// Sends bytes as they are.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| error.to_string())
    }

    /// Waits for bytes and hands them to the decoder. May be dropped while it waits.
    pub(crate) async fn receive(&mut self) -> Result<(), String> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) => Err("closed by the gateway".to_owned()),
            Ok(count) => {
                self.decoder.push(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The frames that are whole.
    pub(crate) fn decoder(&mut self) -> &mut FrameDecoder {
        &mut self.decoder
    }
}
