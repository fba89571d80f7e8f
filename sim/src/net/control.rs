//! What a scenario may do to the network.
//!
//! Links are named as in [`LinkName`]: `gateway->verifier` is one direction, `gateway<->verifier`
//! both, `*` stands for any part of a host's name.

use std::io;
use std::time::Duration;

use super::flow::Failure;
use super::link::{Disturbance, Latency, LinkConfig, Moment, NEVER, Outage};
use super::names::{HostId, LinkError, LinkName};
use super::state::{Connection, EndId, NetState};
use super::{HostNet, Network};

/// What a host's death does to its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFate {
    /// The process died and its kernel closes the sockets: FIN, or RST where bytes were unread.
    /// Later connects are refused.
    Closed,
    /// As `Closed`, with RST for all.
    Reset,
    /// The machine lost its power: silence, for connects too, until it is restarted.
    Vanished,
}

impl Network {
    /// Sets everything about links, also for hosts that join later.
    pub fn configure(&self, link: &str, config: LinkConfig) -> Result<(), LinkError> {
        self.change(link, move |current| *current = config.clone())
    }

    /// Changes something about links, also for hosts that join later. What is under way stays as
    /// it is.
    pub fn change(
        &self,
        link: &str,
        change: impl Fn(&mut LinkConfig) + Send + 'static,
    ) -> Result<(), LinkError> {
        let name: LinkName = link.parse()?;
        self.with(|state, _| state.links.change(name, Box::new(change)));
        Ok(())
    }

    /// Sets how long segments are on their way.
    pub fn set_latency(&self, link: &str, latency: Latency) -> Result<(), LinkError> {
        self.change(link, move |config| config.latency = latency.clone())
    }

    /// Sets the bytes a second; `None` is without a limit.
    pub fn set_bandwidth(&self, link: &str, bandwidth: Option<u64>) -> Result<(), LinkError> {
        self.change(link, move |config| config.bandwidth = bandwidth)
    }

    /// Sets how likely a segment is to have one bit flipped, 0 to 1.
    pub fn set_corruption(&self, link: &str, share: f64) -> Result<(), LinkError> {
        self.change(link, move |config| config.corrupt = share)
    }

    /// Loses every packet, for that long or until healed. TCP keeps the bytes and delivers them
    /// in order afterwards; a sender that waits longer than the retransmission limit fails with
    /// `TimedOut`.
    pub fn cut(&self, link: &str, duration: Option<Duration>) -> Result<(), LinkError> {
        self.outage(link, duration, true)
    }

    /// Delivers nothing, for that long or until healed, without losing any of it: nobody gives up.
    pub fn stall(&self, link: &str, duration: Option<Duration>) -> Result<(), LinkError> {
        self.outage(link, duration, false)
    }

    /// Makes links worse without stopping them, until healed.
    pub fn disturb(&self, link: &str, disturbance: &Disturbance) -> Result<(), LinkError> {
        self.with(|state, _| {
            for (from, to) in state.links.find(link)? {
                state.links.at(from, to).disturbance = disturbance.clone();
            }
            Ok(())
        })
    }

    /// Ends disturbances, cuts, stalls, refusals and ignored connects.
    pub fn heal(&self, link: &str) -> Result<(), LinkError> {
        self.with(|state, now| {
            for (from, to) in state.links.find(link)? {
                let link = state.links.at(from, to);
                link.disturbance = Disturbance::default();
                link.refuse_until = Duration::ZERO;
                link.ignore_syn_until = Duration::ZERO;
                if link.outage.take().is_some() {
                    state.reschedule((from, to), now, true);
                }
            }
            Ok(())
        })
    }

    /// Refuses new connections (RST to a SYN), for that long or until healed.
    pub fn refuse(&self, link: &str, duration: Option<Duration>) -> Result<(), LinkError> {
        self.with(|state, now| {
            for (from, to) in state.links.find(link)? {
                state.links.at(from, to).refuse_until = until(now, duration);
            }
            Ok(())
        })
    }

    /// Leaves new connections without an answer, for that long or until healed: those that try
    /// fail with `TimedOut` after about two minutes.
    pub fn ignore_connects(&self, link: &str, duration: Option<Duration>) -> Result<(), LinkError> {
        self.with(|state, now| {
            for (from, to) in state.links.find(link)? {
                state.links.at(from, to).ignore_syn_until = until(now, duration);
            }
            Ok(())
        })
    }

    /// Resets every connection between the hosts, at both ends at once; says how many.
    pub fn reset(&self, link: &str) -> Result<usize, LinkError> {
        self.each_connection(link, |state, connection, now| {
            for side in 0..2 {
                state.fail(EndId { connection, side }, now, io::ErrorKind::ConnectionReset);
            }
        })
    }

    /// Ends every connection between the hosts with FIN in both directions, after what was sent;
    /// says how many.
    pub fn finish(&self, link: &str) -> Result<usize, LinkError> {
        self.each_connection(link, |state, connection, now| {
            for side in 0..2 {
                state.finish(EndId { connection, side }, now);
            }
        })
    }

    /// Makes every connection between the hosts half open: the end of the second-named host is
    /// gone, the other learns of it from the answer to what it sends next; says how many.
    pub fn half_open(&self, link: &str) -> Result<usize, LinkError> {
        let directions = self.with(|state, _| state.links.find(link))?;
        self.each_connection(link, |state, connection, now| {
            let ends = &state.connections[&connection].ends;
            let side = usize::from(directions.contains(&(ends[0].host, ends[1].host)));
            state.vanish(EndId { connection, side }, now);
        })
    }

    /// Sets how long TCP repeats unanswered bytes before it gives up (Linux needs 924 s).
    pub fn set_retransmission_limit(&self, limit: Duration) {
        self.with(|state, _| state.retransmission_limit = limit);
    }

    /// SHA-256 in hexadecimal of everything that was sent so far: when, on which connection, and
    /// the bytes.
    pub fn traffic_digest(&self) -> String {
        let digest = self.with(|state, _| state.traffic.clone().finish());
        const_hex::encode(digest.as_ref())
    }

    fn outage(&self, link: &str, duration: Option<Duration>, lossy: bool) -> Result<(), LinkError> {
        self.with(|state, now| {
            for (from, to) in state.links.find(link)? {
                let outage = Outage { until: until(now, duration), lossy };
                state.links.at(from, to).outage = Some(outage);
                state.reschedule((from, to), now, false);
            }
            Ok(())
        })
    }

    fn each_connection(
        &self,
        link: &str,
        mut action: impl FnMut(&mut NetState, u64, Moment),
    ) -> Result<usize, LinkError> {
        self.with(|state, now| {
            let links = state.links.find(link)?;
            let between =
                |one, other| links.contains(&(one, other)) || links.contains(&(other, one));
            let ids: Vec<u64> = state
                .connections
                .iter()
                .filter(|(_, c)| between(c.ends[0].host, c.ends[1].host))
                .map(|(&id, _)| id)
                .collect();
            for &id in &ids {
                action(state, id, now);
            }
            Ok(ids.len())
        })
    }
}

/// What the world does to hosts.
impl Network {
    pub(crate) fn add_host(&self, name: &str) -> HostId {
        self.with(|state, _| state.add_host(name))
    }

    pub(crate) fn boot(&self, host: HostId) -> HostNet {
        let boot = self.with(|state, now| state.power_on(host, now));
        HostNet { network: self.clone(), host, boot }
    }

    pub(crate) fn crash(&self, host: HostId, fate: ConnectionFate) {
        self.with(|state, now| state.crash(host, fate, now));
    }

    pub(crate) fn ip(&self, host: HostId) -> std::net::Ipv4Addr {
        self.with(|state, _| state.hosts[host].ip)
    }

    pub(crate) fn set_backlog(&self, host: HostId, backlog: usize) {
        self.with(|state, _| state.hosts[host].backlog = backlog);
    }

    pub(crate) fn open_sockets(&self, host: HostId) -> usize {
        self.with(|state, _| {
            let ends = state.connections.values().flat_map(|connection| &connection.ends);
            ends.filter(|end| end.host == host && !end.gone).count()
                + state.hosts[host].listeners.len()
        })
    }
}

impl NetState {
    /// An end fails by itself; the other is not told.
    fn fail(&mut self, id: EndId, now: Moment, kind: io::ErrorKind) {
        if let Some(connection) = self.connections.get_mut(&id.connection) {
            connection.ends[id.side].failure = Some(Failure { at: now, kind });
            self.wake(id);
        }
    }

    /// Gives what is under way on a link its new arrival.
    fn reschedule(&mut self, (from, to): (HostId, HostId), now: Moment, healed: bool) {
        let mut touched = Vec::new();
        for (&id, connection) in &mut self.connections {
            for side in 0..2 {
                let hosts = (connection.ends[side].host, connection.ends[1 - side].host);
                if hosts == (from, to) {
                    connection.flows[side].reschedule(now, self.links.at(from, to), healed);
                    touched.push(EndId { connection: id, side });
                }
            }
        }
        for id in touched {
            self.wake(EndId { side: 1 - id.side, ..id });
            self.settle(id, now);
            // The other's bytes may be answered again, or no longer.
            self.settle(EndId { side: 1 - id.side, ..id }, now);
        }
    }

    fn power_on(&mut self, host: HostId, now: Moment) -> u32 {
        let state = &mut self.hosts[host];
        state.powered = true;
        state.boot += 1;
        let boot = state.boot;
        // Whoever still sends to a socket of an earlier boot gets an answer now.
        for id in self.ends_on(host, true) {
            self.settle(EndId { side: 1 - id.side, ..id }, now);
        }
        boot
    }

    fn crash(&mut self, host: HostId, fate: ConnectionFate, now: Moment) {
        let state = &mut self.hosts[host];
        state.powered = fate != ConnectionFate::Vanished;
        state.boot += 1;
        let listeners = std::mem::take(&mut state.listeners);
        if fate != ConnectionFate::Vanished {
            for (connection, _) in listeners.into_values().flat_map(|listener| listener.pending) {
                self.abort(EndId { connection, side: 1 }, now);
            }
        }
        for id in self.ends_on(host, false) {
            match fate {
                ConnectionFate::Closed => self.close(id, now),
                ConnectionFate::Reset => self.abort(id, now),
                ConnectionFate::Vanished => self.vanish(id, now),
            }
        }
    }

    fn ends_on(&self, host: HostId, gone: bool) -> Vec<EndId> {
        let mut found = Vec::new();
        for (&connection, Connection { ends, .. }) in &self.connections {
            for (side, end) in ends.iter().enumerate() {
                if end.host == host && end.gone == gone {
                    found.push(EndId { connection, side });
                }
            }
        }
        found
    }
}

fn until(now: Moment, duration: Option<Duration>) -> Moment {
    duration.map_or(NEVER, |duration| now.saturating_add(duration))
}
