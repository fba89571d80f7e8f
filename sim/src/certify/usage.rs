//! What a process uses, as Linux counts it.

use std::time::Duration;

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Memory that is in RAM, in bytes.
    pub(crate) resident_bytes: u64,
    /// Time on a processor, over all its threads that live.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Of a process, where `/proc` tells.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let cpu = threads
            .filter_map(|thread| {
                std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()
            })
            .filter_map(|line| on_processor(&line))
            .sum();
        Some(Self { resident_bytes: resident_bytes(&status)?, cpu })
    }
}

/// `VmRSS:   1234 kB` of `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The first number of a thread's `schedstat`, in nanoseconds.
fn on_processor(line: &str) -> Option<Duration> {
    line.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 1 << 20, "{usage:?}");
        assert_eq!(Usage::of(u32::MAX), None);
    }

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(resident_bytes("VmSize:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("VmSize:\t 9 kB\n"), None);
        assert_eq!(on_processor("1500000 12 3\n"), Some(Duration::from_micros(1_500)));
    }
}
