//! The sockets of a host, as programs see them: thin, over [`NetState`].

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use platform::{Listener, Net, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Network;
use super::link::{Moment, NEVER, Syn};
use super::names::HostId;
use super::state::{Dice, EndId, Half, ListenerState, Progress};

/// Repetitions of an unanswered request to connect, each after twice the wait of the one before
/// (Linux: `tcp_syn_retries`).
const SYN_RETRIES: u32 = 6;

/// The first wait for an answer to a request to connect.
const SYN_WAIT: Duration = Duration::from_secs(1);

/// One boot of a host, on the network.
pub(crate) struct HostNet {
    pub(crate) network: Network,
    pub(crate) host: HostId,
    pub(crate) boot: u32,
}

impl HostNet {
    /// Programs of an earlier boot may linger until their tasks are dropped.
    fn check_boot(&self) -> io::Result<()> {
        let current = self.network.with(|state, _| {
            let host = &state.hosts[self.host];
            host.powered && host.boot == self.boot
        });
        if current { Ok(()) } else { Err(io::ErrorKind::NetworkDown.into()) }
    }

    /// Sends a request to connect and waits for the answer; `None` when it was lost.
    async fn handshake(
        &self,
        (far, ip): (HostId, Ipv4Addr),
        port: u16,
        dice: &Dice,
        attempt: u32,
    ) -> io::Result<Option<Stream>> {
        let near = self.host;
        let mut rng = dice.stream("handshake", &attempt.to_string());
        let (sent, there, back) = self.network.with(|state, now| {
            let link = state.links.at(near, far);
            (link.syn(now), link.latency(&mut rng), {
                let link = state.links.at(far, near);
                let latency = link.latency(&mut rng);
                (!link.loses(now)).then_some(latency)
            })
        });
        let Some(back) = back.filter(|_| sent != Syn::Lost) else { return Ok(None) };
        pause(there).await;
        let arrived = self.network.with(|state, _| state.syn_arrives(far, ip, port));
        if arrived == Syn::Lost {
            return Ok(None);
        }
        pause(back).await;
        if sent == Syn::Refuse || arrived == Syn::Refuse {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.check_boot()?;
        Ok(self.network.with(|state, now| {
            // The listener may have closed or filled up since; then the answer is late news.
            let listener = state.listener(far, ip, port)?;
            if state.syn_arrives(far, ip, port) != Syn::Pass {
                return None;
            }
            let near_ip = if near == far { ip } else { state.hosts[near].ip };
            let local = SocketAddr::from((near_ip, state.free_port(near)));
            let peer = SocketAddr::from((ip, port));
            let id = state.establish(listener, (near, local), (far, peer), dice, now + there);
            Some(stream(&self.network, id, local, peer))
        }))
    }
}

#[async_trait]
impl Net for HostNet {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        self.check_boot()?;
        let (name, port) = split(address)?;
        let (far, dice) = self.network.with(|state, _| {
            let far = state.resolve(self.host, name)?;
            Ok::<_, io::Error>((far, state.streams_of_connect(self.host)))
        })?;
        let mut wait = SYN_WAIT;
        for attempt in 0..=SYN_RETRIES {
            let next = tokio::time::Instant::now() + wait;
            match tokio::time::timeout_at(next, self.handshake(far, port, &dice, attempt)).await {
                Ok(Ok(None)) => tokio::time::sleep_until(next).await,
                Ok(Ok(Some(stream))) => return Ok(stream),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
            wait *= 2;
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.check_boot()?;
        let (name, port) = split(address)?;
        let (id, local) = self.network.with(|state, _| {
            let (host, ip) = state.resolve(self.host, name)?;
            if host != self.host {
                return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
            }
            let port = if port == 0 { state.free_port(host) } else { port };
            if state.listener(host, ip, port).is_some() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (id, local) = (state.next_id(), SocketAddr::from((ip, port)));
            let listener = ListenerState { addr: local, pending: VecDeque::new(), waker: None };
            state.hosts[host].listeners.insert(id, listener);
            Ok((id, local))
        })?;
        let network = self.network.clone();
        Ok(Box::new(SimListener { network, host: self.host, id, local, alarm: Alarm::default() }))
    }
}

fn split(address: &str) -> io::Result<(&str, u16)> {
    let parts = address.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    let (name, port) = parts.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not host:port"))
    })?;
    Ok((name.trim_start_matches('[').trim_end_matches(']'), port))
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

struct SimListener {
    network: Network,
    host: HostId,
    id: u64,
    local: SocketAddr,
    alarm: Alarm,
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&mut self) -> io::Result<Stream> {
        poll_fn(|cx| {
            let Self { network, host, id, alarm, .. } = self;
            wait(network, alarm, cx, |network, cx| {
                network.with(|state, now| {
                    let Some(listener) = state.hosts[*host].listeners.get_mut(id) else {
                        // Its host is gone: its program ends with it.
                        return Progress::Wait(NEVER);
                    };
                    // What was given up at both ends while it waited is nothing to take up.
                    let connections = &state.connections;
                    listener.pending.retain(|(id, _)| connections.contains_key(id));
                    match listener.pending.front() {
                        Some(&(connection, ready)) if ready <= now => {
                            listener.pending.pop_front();
                            Progress::Done(Ok(connection))
                        }
                        first => {
                            let ready = first.map_or(NEVER, |&(_, ready)| ready);
                            listener.waker = Some(cx.waker().clone());
                            Progress::Wait(ready)
                        }
                    }
                })
            })
        })
        .await
        .map(|connection| {
            let id = EndId { connection, side: 1 };
            let (local, peer) = self.network.with(|state, _| {
                // Its host's end stays for as long as nobody took the connection up.
                let [near, far] = &state.connections[&connection].ends;
                (far.addr, near.addr)
            });
            stream(&self.network, id, local, peer)
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.network.with(|state, now| state.close_listener(self.host, self.id, now));
    }
}

fn stream(network: &Network, id: EndId, local: SocketAddr, peer: SocketAddr) -> Stream {
    let half = |half| HalfSocket { network: network.clone(), id, half, alarm: Alarm::default() };
    Stream { read: Box::new(half(Half::Read)), write: Box::new(half(Half::Write)), peer, local }
}

/// Half of a socket.
struct HalfSocket {
    network: Network,
    id: EndId,
    half: Half,
    alarm: Alarm,
}

impl AsyncRead for HalfSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { network, id, alarm, .. } = &mut *self;
        let count = ready!(wait(network, alarm, cx, |network, cx| {
            let out = buf.initialize_unfilled();
            network.with(|state, now| state.read(*id, now, out, cx.waker()))
        }))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HalfSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { network, id, alarm, .. } = &mut *self;
        wait(network, alarm, cx, |network, cx| {
            network.with(|state, now| state.write(*id, now, bytes, cx.waker()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.with(|state, now| state.finish(self.id, now));
        Poll::Ready(Ok(()))
    }
}

impl Drop for HalfSocket {
    fn drop(&mut self) {
        self.network.with(|state, now| state.close_half(self.id, self.half, now));
    }
}

/// Repeats an operation until it is done or has nothing to do before a later moment.
fn wait<T>(
    network: &Network,
    alarm: &mut Alarm,
    cx: &mut Context<'_>,
    mut operation: impl FnMut(&Network, &mut Context<'_>) -> Progress<T>,
) -> Poll<io::Result<T>> {
    // Sockets that are always ready must let other tasks run now and then, as tokio's do.
    let budget = ready!(tokio::task::coop::poll_proceed(cx));
    loop {
        match operation(network, cx) {
            Progress::Done(outcome) => {
                budget.made_progress();
                return Poll::Ready(outcome);
            }
            Progress::Wait(NEVER) => return Poll::Pending,
            Progress::Wait(moment) => ready!(alarm.poll(network, cx, moment)),
        }
    }
}

/// One timer, kept from wait to wait.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn poll(&mut self, network: &Network, cx: &mut Context<'_>, moment: Moment) -> Poll<()> {
        let deadline = network.instant(moment);
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}
