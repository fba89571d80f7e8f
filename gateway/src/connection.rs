//! One miner connection: bytes in, bytes out, and what the session decides in between.

mod handshake;
mod outbox;
mod outgoing;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use gateway_core::event::{ConnectionClosed, Event};
use gateway_core::forward::ForwardShare;
use gateway_core::ids::ConnectionId;
use gateway_core::reason::ReasonCode;
use gateway_core::session::{self, Close, Output, Session};
use gateway_core::{Moment, SharedState};
use platform::{Entropy, Stream};
use sv2_noise::{FrameDecoder, FrameError, Sealer};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};

use self::outbox::Outbox;
use self::outgoing::Outgoing;
use crate::admission::Place;
use crate::blocks::BlockSubmitter;
use crate::board::{Board, Signal};
use crate::clock::{Alarm, Clock};
use crate::limits::{CLOSING_WRITE, MINER_READ_BYTES};
use crate::metrics::Metrics;
use crate::noise_identity::NoiseIdentity;
use crate::recorder::Recorder;

/// What every connection needs.
pub(crate) struct MinerSide {
    pub(crate) clock: Clock,
    pub(crate) rng: Arc<dyn Entropy>,
    pub(crate) shared: Arc<SharedState>,
    /// What the next connection is served with.
    pub(crate) serving: watch::Receiver<Arc<Serving>>,
    pub(crate) board: Arc<Board>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) blocks: Arc<BlockSubmitter>,
    /// To the forwarder, which ends once every sender is gone.
    pub(crate) forward: mpsc::Sender<Arc<ForwardShare>>,
}

/// What a connection is served with from its beginning; a reload replaces it as a whole.
pub(crate) struct Serving {
    pub(crate) settings: Arc<session::Settings>,
    /// Absent where miners are served in plaintext.
    pub(crate) identity: Option<NoiseIdentity>,
    pub(crate) handshake_timeout: Duration,
}

/// What is known of a miner that ends the connection once it has seen the certificate.
const WORDLESS: &str = "the miner left after the handshake without a word: it may expect another \
                        authority, or its clock may be outside the certificate's validity";

/// How a connection ended; without a reason the miner left.
#[derive(Debug)]
struct End {
    reason: Option<ReasonCode>,
    detail: String,
}

impl End {
    fn closed(reason: ReasonCode, detail: impl Into<String>) -> Self {
        Self { reason: Some(reason), detail: detail.into() }
    }

    fn left(detail: impl Into<String>) -> Self {
        Self { reason: None, detail: detail.into() }
    }
}

/// Serves a connection to its end, and sees its accepted shares through the log.
pub(crate) async fn serve(
    side: Arc<MinerSide>,
    mut stream: Stream,
    id: ConnectionId,
    place: Place,
) {
    let began = side.clock.now();
    mutant::bug!(
        LeakedTask,
        drop(side.blocks.env.tasks.spawn("leaked", std::future::pending::<()>()))
    );
    let serving = Arc::clone(&side.serving.borrow());
    // In a box, so that the connection does not carry the handshake's memory along for ever.
    let shaken = Box::pin(handshake::accept(&serving, &side.rng, &mut stream)).await;
    let (end, tip, outbox) = match shaken {
        Ok(transport) => {
            let (sealer, opener) = transport.split();
            let decoder = FrameDecoder::new(opener, serving.settings.max_frame_bytes);
            let (standing, signals) = side.board.join();
            let settings = Arc::clone(&serving.settings);
            let session = Session::new(id, settings, Arc::clone(&side.shared), side.clock.now());
            let outbox = Outbox::new(Arc::clone(&side));
            let mut connection = Connection {
                side: &side,
                session,
                decoder,
                sealer,
                outgoing: Outgoing::default(),
                outbox,
                alarm: side.clock.alarm(),
                new_tip_decided: None,
                shows_certificate: serving.identity.is_some(),
                tip_before_end: None,
            };
            let end = connection.run(&mut stream, standing, signals).await;
            let tip = connection.tip_before_end;
            (end, tip, Some(connection.outbox))
        }
        Err(end) => (end, None, None),
    };
    drop(stream);
    drop(place);
    if let Some(outbox) = outbox {
        outbox.settle().await;
    }
    close_event(&side, id, end, tip, began);
}

fn close_event(
    side: &MinerSide,
    miner_id: ConnectionId,
    end: End,
    prev_hash: Option<bitcoin::BlockHash>,
    began: Moment,
) {
    let now = side.clock.now();
    let End { reason: reason_code, detail } = end;
    tracing::debug!(miner_id = miner_id.0, ?reason_code, detail, "connection closed");
    side.recorder.note(Event::ConnectionClosed(ConnectionClosed {
        miner_id,
        reason_code,
        detail,
        prev_hash,
        duration: now.since(began),
        timestamp_ms: now.unix_ms,
    }));
}

/// A connection whose handshake is done.
struct Connection<'a> {
    side: &'a MinerSide,
    session: Session,
    decoder: FrameDecoder,
    sealer: Sealer,
    outgoing: Outgoing,
    outbox: Outbox,
    alarm: Alarm,
    /// When the tip was decided for that is among the bytes to be written.
    new_tip_decided: Option<Duration>,
    /// Whether the miner was shown one, and may not like it.
    shows_certificate: bool,
    /// The tip the miner was on when it was told to go.
    tip_before_end: Option<bitcoin::BlockHash>,
}

impl Connection<'_> {
    async fn run(
        &mut self,
        stream: &mut Stream,
        standing: Vec<Signal>,
        mut signals: broadcast::Receiver<Signal>,
    ) -> End {
        for signal in standing {
            if let Some(close) = self.handle(signal.into_input()).await {
                return self.finish(stream, close).await;
            }
        }
        loop {
            let turn = match self.write_at_once(stream).await {
                Ok(()) => self.turn(stream, &mut signals).await,
                Err(end) => Err(end),
            };
            match turn {
                Ok(None) => {}
                Ok(Some(close)) => return self.finish(stream, close).await,
                Err(end) => {
                    self.tip_before_end = self.session.tip();
                    return end;
                }
            }
            if let Some(detail) = self.outgoing.complaint(self.side.clock.now().mono) {
                self.tip_before_end = self.session.tip();
                return End::closed(ReasonCode::PeerQuotaExceeded, detail);
            }
        }
    }

    /// Writes what a turn brought in one piece, as far as the socket takes it without waiting.
    async fn write_at_once(&mut self, stream: &mut Stream) -> Result<(), End> {
        if self.outgoing.bytes().is_empty() {
            return Ok(());
        }
        let attempt = poll_fn(|cx| {
            let attempt = Pin::new(stream.write.as_mut()).poll_write(cx, self.outgoing.bytes());
            Poll::Ready(attempt)
        });
        match attempt.await {
            Poll::Pending => Ok(()),
            Poll::Ready(written) => self.written(written),
        }
    }

    fn written(&mut self, written: io::Result<usize>) -> Result<(), End> {
        let written = written.and_then(|length| match length {
            0 => Err(io::ErrorKind::WriteZero.into()),
            length => Ok(length),
        });
        let length = written.map_err(|error| End::left(error.to_string()))?;
        let now = self.side.clock.now().mono;
        self.outgoing.written(length, now);
        if self.outgoing.bytes().is_empty()
            && let Some(decided) = self.new_tip_decided.take()
        {
            let took = now.saturating_sub(decided).as_secs_f64();
            self.side.metrics.prevhash_sent_seconds.observe(took);
        }
        Ok(())
    }

    /// Waits for whatever happens first, and acts on it.
    async fn turn(
        &mut self,
        stream: &mut Stream,
        signals: &mut broadcast::Receiver<Signal>,
    ) -> Result<Option<Close>, End> {
        let due = self.session.next_deadline();
        let deadline = [due, self.outgoing.deadline()].into_iter().flatten().min();
        tokio::select! {
            biased;
            signal = signals.recv() => match signal {
                Ok(signal) => {
                    let decided = signal.new_tip_decided();
                    let close = self.handle(signal.into_input()).await;
                    self.new_tip_decided = decided.filter(|_| !self.outgoing.bytes().is_empty());
                    Ok(close)
                }
                Err(RecvError::Lagged(missed)) => {
                    let detail = format!("the connection is {missed} signals behind");
                    Err(End::closed(ReasonCode::PeerQuotaExceeded, detail))
                }
                Err(RecvError::Closed) => {
                    Err(End::closed(ReasonCode::ShutdownDrain, "the gateway has ended"))
                }
            },
            progress = self.outbox.progress() => match progress {
                Some(receipt) => Ok(self.handle(session::Input::Durable(receipt)).await),
                None => Ok(None),
            },
            () = self.alarm.until(deadline) => match due {
                Some(due) if due <= self.side.clock.now().mono => {
                    Ok(self.handle(session::Input::Tick).await)
                }
                // The complaint follows.
                _ => Ok(None),
            },
            written = stream.write.write(self.outgoing.bytes()),
                if !self.outgoing.bytes().is_empty() => self.written(written).map(|()| None),
            read = read_some(stream.read.as_mut(), &mut self.decoder),
                if self.outbox.takes_more() => match read {
                    Ok(0) => Err(self.left()),
                    Ok(_) => Ok(self.take_frames().await),
                    Err(error) => Err(End::left(error.to_string())),
                },
        }
    }

    fn left(&self) -> End {
        let is_wordless = self.shows_certificate && self.session.awaits_setup();
        End::left(if is_wordless { WORDLESS } else { "the miner closed the connection" })
    }

    async fn take_frames(&mut self) -> Option<Close> {
        let now = self.side.clock.now();
        loop {
            match self.decoder.next_frame() {
                Ok(None) => return None,
                Ok(Some(frame)) => {
                    let input =
                        session::Input::Frame { header: frame.header, payload: frame.payload };
                    self.session.handle(input, now);
                }
                Err(error) => return Some(fatal(error)),
            }
            if let Some(close) = self.act().await {
                return Some(close);
            }
        }
    }

    async fn handle(&mut self, input: session::Input<'_>) -> Option<Close> {
        self.tip_before_end = self.session.tip();
        self.session.handle(input, self.side.clock.now());
        self.act().await
    }

    /// Does what the session wants done.
    async fn act(&mut self) -> Option<Close> {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Block(block) => {
                    self.outbox.found(&block);
                    self.side.blocks.submit(block).await;
                }
                Output::Send(frames) => {
                    let now = self.side.clock.now().mono;
                    self.outgoing.seal(&frames, &mut self.sealer, now);
                }
                Output::Accepted(share) => {
                    mutant::bug!(
                        TaskPerShare,
                        drop(
                            self.side
                                .blocks
                                .env
                                .tasks
                                .spawn("leaked", std::future::pending::<()>())
                        )
                    );
                    self.outbox.accepted(*share);
                }
                Output::Rejected(event) => self.outbox.rejected(*event),
                Output::Noticed(notice) => self.side.metrics.notice(notice),
                Output::Close(close) => return Some(close),
                other => tracing::warn!(?other, "the session asked for something unknown"),
            }
        }
        None
    }

    /// Sends the last bytes, then closes.
    async fn finish(&mut self, stream: &mut Stream, close: Close) -> End {
        let last = async {
            stream.write.write_all(self.outgoing.bytes()).await?;
            stream.write.shutdown().await
        };
        // A miner that does not read its last bytes misses them.
        let _ = tokio::time::timeout(CLOSING_WRITE, last).await;
        End::closed(close.reason, close.detail)
    }
}

/// Reads what is there. The space for it is on the stack: a miner that is silent holds none.
async fn read_some(
    from: &mut (dyn AsyncRead + Send + Unpin),
    into: &mut FrameDecoder,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); MINER_READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
        into.push(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

fn fatal(error: FrameError) -> Close {
    let reason = match error {
        FrameError::TooLarge { .. } => ReasonCode::FrameTooLarge,
        _ => ReasonCode::NoiseHandshakeFailed,
    };
    Close { reason, detail: error.to_string() }
}
