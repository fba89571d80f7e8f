//! One gateway's connection to the verifier.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use platform::{Env, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use verifier_protocol::{LineDecoder, Message, TemplateVerdict, decode};

/// How long a verifier that was just started may take to listen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_PAUSE: Duration = Duration::from_millis(10);
const READ_BYTES: usize = 64 << 10;

/// Connects, and waits for a verifier that is about to listen.
pub(super) async fn connect(env: &Env, address: &str) -> Result<(Verdicts, Lines)> {
    let begun = Instant::now();
    loop {
        match env.net.connect(address).await {
            Ok(Stream { read, write, .. }) => {
                let verdicts = Verdicts { read, decoder: LineDecoder::new() };
                return Ok((verdicts, Lines(write)));
            }
            Err(error) if begun.elapsed() > CONNECT_TIMEOUT => {
                return Err(error).with_context(|| format!("no verifier at {address}"));
            }
            Err(_) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
    }
}

/// The writing half.
pub(super) struct Lines(Box<dyn AsyncWrite + Send + Unpin>);

impl Lines {
    pub(super) async fn send(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines).await?;
        self.0.flush().await
    }
}

/// The reading half.
pub(super) struct Verdicts {
    read: Box<dyn AsyncRead + Send + Unpin>,
    decoder: LineDecoder,
}

impl Verdicts {
    /// The next verdict.
    pub(super) async fn next(&mut self) -> Result<TemplateVerdict> {
        loop {
            if let Some(line) = self.decoder.next_line()? {
                match decode(line)? {
                    Message::TemplateVerdict(verdict) => return Ok(verdict),
                    other => bail!("the verifier sent a {} in place of verdicts", other.msg_type()),
                }
            }
            let mut buffer = [0; READ_BYTES];
            match self.read.read(&mut buffer).await? {
                0 => bail!("the verifier closed the link"),
                count => self.decoder.feed(&buffer[..count]),
            }
        }
    }
}
