//! The service manager (systemd): told when the program is ready, reloads or stops, and that it
//! lives.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, as `sd_notify(3)` describes it.
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that started this process; `None` where none did.
    pub fn from_environment() -> Option<Self> {
        let path = env::var("NOTIFY_SOCKET").ok()?;
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let interval = number("WATCHDOG_USEC").filter(|_| is_ours).map(Duration::from_micros);
        Self::at(&path, interval).ok()
    }

    /// The one at `path`; `@` begins an abstract address.
    ///
    /// # Errors
    /// The path is none, or there is no socket to be had.
    pub fn at(path: &str, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, watchdog })
    }

    /// How often it wants to hear that the program lives: half the time after which it acts.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// Everything is listening.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The program ends in good order.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The program lives.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            tracing::warn!(state, %error, "the service manager cannot be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_reach_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let timeout = Some(Duration::from_secs(10));
        let manager = ServiceManager::at(path.to_str().unwrap(), timeout).unwrap();
        assert_eq!(manager.watchdog_interval(), Some(Duration::from_secs(5)));
        manager.ready();
        manager.alive();
        manager.stopping();
        let mut buffer = [0; 64];
        for expected in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }
}
