//! All hosts, listeners and connections of a world, and what sockets do to them. Without I/O:
//! every operation is told the time, and says until when to wait.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use ring::digest::{Context, SHA256};

use super::flow::{Failure, Flow, Read};
use super::link::{Moment, NEVER, Syn};
use super::names::{HostId, Links};
use crate::world::streams;

/// How long TCP repeats unanswered bytes before it gives up (Linux: `tcp_retries2`).
pub(crate) const RETRANSMISSION_LIMIT: Duration = Duration::from_secs(924);

/// Connections that wait to be accepted, unless a host is told another bound (as tokio asks for).
pub(crate) const BACKLOG: usize = 1024;

/// Ports for the near end of connections and for listeners on port 0 (as on Linux).
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EndId {
    pub(crate) connection: u64,
    /// 0 is the end that connected, 1 the one that accepted.
    pub(crate) side: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Half {
    Read,
    Write,
}

/// The outcome of an operation on a socket.
#[derive(Debug)]
pub(crate) enum Progress<T> {
    Done(io::Result<T>),
    /// Nothing before this moment, unless the waker is called.
    Wait(Moment),
}

pub(crate) struct HostState {
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    /// Whether its kernel answers.
    pub(crate) powered: bool,
    pub(crate) boot: u32,
    pub(crate) backlog: usize,
    pub(crate) listeners: BTreeMap<u64, ListenerState>,
    next_port: u16,
    connects: u64,
}

pub(crate) struct ListenerState {
    pub(crate) addr: SocketAddr,
    pub(crate) pending: VecDeque<(u64, Moment)>,
    pub(crate) waker: Option<Waker>,
}

pub(crate) struct End {
    pub(crate) host: HostId,
    pub(crate) addr: SocketAddr,
    /// Its socket is closed (or died with its host).
    pub(crate) gone: bool,
    pub(crate) failure: Option<Failure>,
    open: [bool; 2],
    wakers: [Option<Waker>; 2],
}

impl End {
    fn new(host: HostId, addr: SocketAddr) -> Self {
        Self { host, addr, gone: false, failure: None, open: [true; 2], wakers: [None, None] }
    }

    fn failed(&self, now: Moment) -> Option<io::Error> {
        self.failure.filter(|failure| failure.at <= now).map(|failure| failure.kind.into())
    }

    fn failure_at(&self) -> Moment {
        self.failure.map_or(NEVER, |failure| failure.at)
    }
}

/// `flows[side]` carries what that side sends.
pub(crate) struct Connection {
    pub(crate) ends: [End; 2],
    pub(crate) flows: [Flow; 2],
}

pub(crate) struct NetState {
    seed: u64,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) links: Links,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) retransmission_limit: Duration,
    /// Called by whoever holds the lock, once it is released.
    pub(crate) wakers: Vec<Waker>,
    pub(crate) traffic: Context,
    next_id: u64,
}

impl NetState {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            hosts: Vec::new(),
            links: Links::default(),
            connections: BTreeMap::new(),
            retransmission_limit: RETRANSMISSION_LIMIT,
            wakers: Vec::new(),
            traffic: Context::new(&SHA256),
            next_id: 0,
        }
    }

    pub(crate) fn add_host(&mut self, name: &str) -> HostId {
        let number = u32::try_from(self.hosts.len()).expect("a world has few hosts");
        self.links.add_host(name);
        self.hosts.push(HostState {
            name: name.to_owned(),
            ip: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + number),
            powered: true,
            boot: 0,
            backlog: BACKLOG,
            listeners: BTreeMap::new(),
            next_port: *EPHEMERAL_PORTS.start(),
            connects: 0,
        });
        self.hosts.len() - 1
    }

    /// The host that a name or an address means to `from`, and the address.
    pub(crate) fn resolve(&self, from: HostId, name: &str) -> io::Result<(HostId, Ipv4Addr)> {
        let ip = match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => Some(ip),
            Ok(IpAddr::V6(ip)) if ip.is_loopback() => Some(Ipv4Addr::LOCALHOST),
            Ok(IpAddr::V6(ip)) if ip.is_unspecified() => Some(Ipv4Addr::UNSPECIFIED),
            _ if name == "localhost" => Some(Ipv4Addr::LOCALHOST),
            _ => None,
        };
        let found = match ip {
            // Linux takes 0.0.0.0 as a destination for this host.
            Some(ip) if ip.is_loopback() || ip.is_unspecified() => Some((from, ip)),
            Some(ip) => self.hosts.iter().position(|host| host.ip == ip).map(|host| (host, ip)),
            None => self
                .hosts
                .iter()
                .position(|host| host.name == name)
                .map(|host| (host, self.hosts[host].ip)),
        };
        found.ok_or_else(|| io::Error::other(format!("no host is called {name}")))
    }

    pub(crate) fn free_port(&mut self, host: HostId) -> u16 {
        let host = &mut self.hosts[host];
        let port = host.next_port;
        host.next_port =
            if port == *EPHEMERAL_PORTS.end() { *EPHEMERAL_PORTS.start() } else { port + 1 };
        port
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Random streams for the next connection that this host makes: two for its flows, one for
    /// its handshake. They depend on this host's connections alone.
    pub(crate) fn streams_of_connect(&mut self, host: HostId) -> Dice {
        let host = &mut self.hosts[host];
        host.connects += 1;
        Dice { seed: self.seed, name: format!("{}/{}", host.name, host.connects) }
    }

    /// The listener on a host that an address reaches.
    pub(crate) fn listener(&self, host: HostId, ip: Ipv4Addr, port: u16) -> Option<u64> {
        let host = &self.hosts[host];
        host.listeners.iter().find_map(|(&id, listener)| {
            let reached = listener.addr.ip().is_unspecified()
                || ip.is_unspecified()
                || listener.addr.ip() == IpAddr::V4(ip);
            (listener.addr.port() == port && reached).then_some(id)
        })
    }

    /// What becomes of a request to connect that reaches a host.
    pub(crate) fn syn_arrives(&self, host: HostId, ip: Ipv4Addr, port: u16) -> Syn {
        if !self.hosts[host].powered {
            return Syn::Lost;
        }
        match self.listener(host, ip, port) {
            None => Syn::Refuse,
            Some(id)
                if self.hosts[host].listeners[&id].pending.len() >= self.hosts[host].backlog =>
            {
                Syn::Lost
            }
            Some(_) => Syn::Pass,
        }
    }

    /// Makes the connection; the listener may accept it at `ready`.
    pub(crate) fn establish(
        &mut self,
        listener: u64,
        (near, near_addr): (HostId, SocketAddr),
        (far, far_addr): (HostId, SocketAddr),
        dice: &Dice,
        ready: Moment,
    ) -> EndId {
        let connection = self.next_id();
        let flow = |side| Flow::new(dice.stream("network", side), dice.stream("faults", side));
        self.connections.insert(
            connection,
            Connection {
                ends: [End::new(near, near_addr), End::new(far, far_addr)],
                flows: [flow("out"), flow("back")],
            },
        );
        let listener = self.hosts[far].listeners.get_mut(&listener).expect("found just before");
        listener.pending.push_back((connection, ready));
        self.wakers.extend(listener.waker.take());
        EndId { connection, side: 0 }
    }

    /// Closes a listener and resets what it did not accept.
    pub(crate) fn close_listener(&mut self, host: HostId, id: u64, now: Moment) {
        let Some(listener) = self.hosts[host].listeners.remove(&id) else { return };
        for (connection, _) in listener.pending {
            self.abort(EndId { connection, side: 1 }, now);
        }
    }

    pub(crate) fn read(
        &mut self,
        id: EndId,
        now: Moment,
        out: &mut [u8],
        waker: &Waker,
    ) -> Progress<usize> {
        let Some(Connection { ends, flows }) = self.connections.get_mut(&id.connection) else {
            return Progress::Done(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let [me, peer] = order(ends, id.side);
        if me.gone {
            return Progress::Done(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let coalesce = self.links.at(peer.host, me.host).config.coalesce;
        match flows[1 - id.side].read(now, out, coalesce) {
            Read::Bytes(count) => {
                self.wakers.extend(peer.wakers[Half::Write as usize].take());
                Progress::Done(Ok(count))
            }
            Read::End => Progress::Done(Ok(0)),
            Read::Until(arrival) => match me.failed(now) {
                Some(error) => Progress::Done(Err(error)),
                None => {
                    store(&mut me.wakers[Half::Read as usize], waker);
                    Progress::Wait(arrival.min(me.failure_at()))
                }
            },
        }
    }

    pub(crate) fn write(
        &mut self,
        id: EndId,
        now: Moment,
        bytes: &[u8],
        waker: &Waker,
    ) -> Progress<usize> {
        let Some(Connection { ends, flows }) = self.connections.get_mut(&id.connection) else {
            return Progress::Done(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let [me, peer] = order(ends, id.side);
        if me.gone {
            return Progress::Done(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Some(error) = me.failed(now) {
            return Progress::Done(Err(error));
        }
        let flow = &mut flows[id.side];
        if flow.is_finished() {
            return Progress::Done(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let link = self.links.at(me.host, peer.host);
        let taken = flow.send(now, bytes, link);
        if taken == 0 && !bytes.is_empty() {
            store(&mut me.wakers[Half::Write as usize], waker);
            return Progress::Wait(me.failure_at());
        }
        self.wakers.extend(peer.wakers[Half::Read as usize].take());
        self.record(id, now, &bytes[..taken]);
        self.settle(id, now);
        Progress::Done(Ok(taken))
    }

    /// Ends what an end sends.
    pub(crate) fn finish(&mut self, id: EndId, now: Moment) {
        let Some(Connection { ends, flows }) = self.connections.get_mut(&id.connection) else {
            return;
        };
        let [me, peer] = order(ends, id.side);
        if !me.gone && me.failed(now).is_none() && !flows[id.side].is_finished() {
            flows[id.side].finish(now, self.links.at(me.host, peer.host));
            self.wakers.extend(peer.wakers[Half::Read as usize].take());
            self.record(id, now, b"");
            self.settle(id, now);
        }
    }

    /// A program let go of half of its socket.
    pub(crate) fn close_half(&mut self, id: EndId, half: Half, now: Moment) {
        let Some(connection) = self.connections.get_mut(&id.connection) else { return };
        let end = &mut connection.ends[id.side];
        if end.gone {
            return;
        }
        end.open[half as usize] = false;
        end.wakers[half as usize] = None;
        if end.open == [false; 2] {
            self.close(id, now);
        } else if half == Half::Write {
            self.finish(id, now);
        }
    }

    /// Closes a socket: FIN, or RST where received bytes were not read.
    pub(crate) fn close(&mut self, id: EndId, now: Moment) {
        let Some(connection) = self.connections.get(&id.connection) else { return };
        let unread = connection.flows[1 - id.side].first_data().is_some_and(|at| at <= now);
        if unread {
            self.abort(id, now);
        } else {
            self.finish(id, now);
            self.vanish(id, now);
        }
    }

    /// Closes a socket with RST, which a lossy link loses.
    pub(crate) fn abort(&mut self, id: EndId, now: Moment) {
        let Some(Connection { ends, flows }) = self.connections.get_mut(&id.connection) else {
            return;
        };
        let [me, peer] = order(ends, id.side);
        if !me.gone && me.failed(now).is_none() {
            let link = self.links.at(me.host, peer.host);
            let flow = &mut flows[id.side];
            let at = flow.last_arrival().max(now + flow.bare_latency(link));
            let told = peer.failure.is_some_and(|failure| failure.at <= at);
            if !link.loses(now) && at != NEVER && !told {
                peer.failure = Some(Failure { at, kind: io::ErrorKind::ConnectionReset });
                self.wakers.extend(peer.wakers.iter_mut().filter_map(Option::take));
            }
        }
        self.vanish(id, now);
    }

    /// A socket is no more; nobody is told.
    pub(crate) fn vanish(&mut self, id: EndId, now: Moment) {
        let Some(connection) = self.connections.get_mut(&id.connection) else { return };
        let end = &mut connection.ends[id.side];
        end.gone = true;
        self.wakers.extend(end.wakers.iter_mut().filter_map(Option::take));
        if connection.ends[1 - id.side].gone {
            self.connections.remove(&id.connection);
        } else {
            self.settle(EndId { connection: id.connection, side: 1 - id.side }, now);
        }
    }

    /// Works out whether an end's unread bytes will be answered by RST or never, and when it
    /// learns that. Called whenever its bytes, its link or the other end changed.
    pub(crate) fn settle(&mut self, id: EndId, now: Moment) {
        let Some(Connection { ends, flows }) = self.connections.get_mut(&id.connection) else {
            return;
        };
        let [me, peer] = order(ends, id.side);
        let certain = me
            .failure
            .is_some_and(|failure| failure.at <= now || failure.kind != io::ErrorKind::TimedOut);
        if me.gone || certain {
            return;
        }
        let flow = &mut flows[id.side];
        let back = self.links.at(peer.host, me.host);
        let answered = self.hosts[peer.host].powered && !back.loses(now);
        let limit = self.retransmission_limit;
        let silence = Failure {
            at: me.failure.map_or(now + limit, |failure| failure.at),
            kind: io::ErrorKind::TimedOut,
        };
        let failure = match flow.first_data() {
            Some(at) if peer.gone && at != NEVER && answered => Some(Failure {
                at: at.max(now) + flow.bare_latency(back),
                kind: io::ErrorKind::ConnectionReset,
            }),
            Some(_) if peer.gone => Some(silence),
            _ if flow.is_under_way(now) => {
                let outage = self.links.at(me.host, peer.host).outage_at(now);
                outage.filter(|o| o.lossy && o.until > now + limit).map(|_| silence)
            }
            _ => None,
        };
        if me.failure != failure {
            me.failure = failure;
            self.wakers.extend(me.wakers.iter_mut().filter_map(Option::take));
        }
    }

    /// Has both halves of an end look again.
    pub(crate) fn wake(&mut self, id: EndId) {
        if let Some(connection) = self.connections.get_mut(&id.connection) {
            let wakers = &mut connection.ends[id.side].wakers;
            self.wakers.extend(wakers.iter_mut().filter_map(Option::take));
        }
    }

    fn record(&mut self, id: EndId, now: Moment, bytes: &[u8]) {
        self.traffic.update(&u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        self.traffic.update(&id.connection.to_le_bytes());
        self.traffic.update(&[u8::try_from(id.side).expect("0 or 1")]);
        self.traffic.update(&(bytes.len() as u64).to_le_bytes());
        self.traffic.update(bytes);
    }
}

/// Random streams of one connection.
pub(crate) struct Dice {
    seed: u64,
    name: String,
}

impl Dice {
    pub(crate) fn stream(&self, family: &str, what: &str) -> rand_chacha::ChaCha8Rng {
        streams::derive(self.seed, &format!("{family}/{}/{what}", self.name))
    }
}

fn order(ends: &mut [End; 2], side: usize) -> [&mut End; 2] {
    let [one, other] = ends;
    if side == 0 { [one, other] } else { [other, one] }
}

fn store(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(stored) => stored.clone_from(waker),
        None => *slot = Some(waker.clone()),
    }
}
