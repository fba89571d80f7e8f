//! The machine that a certificate is about, and whether it was quiet enough.

use std::thread::available_parallelism;

use serde::Serialize;

use super::CertifyError;

/// Each process needs so many files beside its sockets.
const FILES_BESIDE_SOCKETS: u64 = 200;

/// What the machine is, and how busy it is with other things.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub processor: String,
    /// How many of them this process may use.
    pub processors: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The load of the minute before the start.
    pub load_before: f64,
    /// The share of the ten seconds before the start in which a task waited for a processor,
    /// in percent; Linux's pressure stall information.
    pub pressure_before: Option<f64>,
    /// The least time in which one thread can write a tip to the load's miners, in milliseconds;
    /// none where it makes no tips.
    pub fan_out_ms: Option<f64>,
}

impl Machine {
    /// This machine, now.
    pub(super) fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: memory_kib.unwrap_or_default() * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
            pressure_before: pressure(&read("/proc/pressure/cpu")),
            fan_out_ms: None,
        }
    }
}

/// `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

/// `some avg10=1.23 avg60=…`.
fn pressure(text: &str) -> Option<f64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_whitespace().find_map(|part| part.strip_prefix("avg10=")?.parse().ok())
}

/// Whether this process, and a gateway started by it, may open so many sockets.
pub(super) fn room_for(sockets: u32) -> Result<(), CertifyError> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let wanted = u64::from(sockets) + FILES_BESIDE_SOCKETS;
    match open_files(&limits) {
        Some(allowed) if allowed < wanted => Err(CertifyError::Load(format!(
            "{sockets} sockets need {wanted} open files and {allowed} are allowed; \
             raise the limit with `ulimit -n {wanted}`"
        ))),
        _ => Ok(()),
    }
}

/// `Max open files   1024   4096   files`: the first is what holds.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A: fast one\n";
        assert_eq!(field(cpuinfo, "model name").unwrap(), "A: fast one");
        let text = "some avg10=1.50 avg60=0.10 avg300=0.00 total=1\nfull avg10=0.00\n";
        assert_eq!(pressure(text), Some(1.5));
        assert_eq!(pressure(""), None);
        assert_eq!(open_files("Max open files            1024     4096     files\n"), Some(1024));
    }

    #[test]
    fn too_many_miners_are_refused_with_the_command_that_makes_room() {
        assert!(room_for(1).is_ok());
        let error = room_for(4_000_000_000).unwrap_err().to_string();
        assert!(error.contains("`ulimit -n 4000000200`"), "{error}");
    }
}
