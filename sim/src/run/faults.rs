//! Faults of the schedule, as the world understands them.

use std::time::Duration;

use crate::disk::{Disk, DiskFaults};
use crate::net::{Disturbance, LinkError, Network};
use crate::node::host::Fault;
use crate::scenario::{Action, DiskMode, Link, NodeMode, SECOND_VERIFIER};

/// How long a slow disk takes to sync, at least and at most.
const SLOW_SYNC: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// The folder of the gateway's durable log on its disk.
const LOG: &str = "gateway-log";

/// Does what an action does to a link; actions that are not about links do nothing.
pub(super) fn break_link(net: &Network, action: &Action) -> Result<(), LinkError> {
    let Some(link) = action.link().map(world_link) else { return Ok(()) };
    let disturb = |disturbance: Disturbance| net.disturb(&link, &disturbance);
    match action {
        Action::Cut(_) => net.cut(&link, None),
        Action::Stall(_) => net.stall(&link, None),
        Action::Refuse(_) => net.refuse(&link, None),
        Action::SynTimeout(_) => net.ignore_connects(&link, None),
        Action::Slow { by, .. } => disturb(Disturbance { delay: *by, ..Disturbance::default() }),
        Action::Narrow { bytes_per_second, .. } => {
            let bandwidth = Some(*bytes_per_second);
            disturb(Disturbance { bandwidth, ..Disturbance::default() })
        }
        Action::Corrupt { per_mille, .. } => {
            let corrupt = f64::from(*per_mille) / 1e3;
            disturb(Disturbance { corrupt, ..Disturbance::default() })
        }
        Action::Heal(_) => net.heal(&link),
        Action::Rst(_) => net.reset(&link).map(drop),
        Action::Fin(_) => net.finish(&link).map(drop),
        Action::HalfOpen(_) => net.half_open(&link).map(drop),
        _ => Ok(()),
    }
}

/// Sets what is wrong with a disk.
pub(super) fn break_disk(disk: &Disk, mode: DiskMode) {
    let mut faults = DiskFaults::default();
    match mode {
        DiskMode::Ok => {}
        // What is there already fills it.
        DiskMode::Full => faults.capacity = Some(0),
        DiskMode::WriteError => faults.fail_writes = true,
        DiskMode::SyncError => faults.fail_syncs = true,
        DiskMode::SlowSync => faults.sync_latency = SLOW_SYNC,
        DiskMode::LostSync => faults.lose_syncs = true,
        DiskMode::FlipOnRead => {
            faults.flip_on_read = 1.0;
            faults.only_in = Some(LOG.into());
        }
        DiskMode::ReadError => {
            faults.fail_reads = true;
            faults.only_in = Some(LOG.into());
        }
    }
    disk.set_faults(faults);
}

/// The fault of the node's host.
pub(super) fn node_fault(mode: NodeMode) -> Fault {
    match mode {
        // What the others change is in the answers.
        NodeMode::Ok
        | NodeMode::StaleTip
        | NodeMode::EmptyTemplate
        | NodeMode::ZeroCoinbase
        | NodeMode::BlindMempool
        | NodeMode::MempoolError => Fault::None,
        NodeMode::WarmingUp => Fault::WarmingUp,
        NodeMode::Timeout => Fault::Timeout,
        NodeMode::Down => Fault::Down,
    }
}

/// Takes the lines of a kind out of every segment of the gateway's log.
pub(super) fn lose_resend_data(disk: &Disk) {
    /// Eight digits of checksum and a space come before the letter of the kind.
    const KIND_AT: usize = 9;
    for path in disk.paths().into_iter().filter(|path| path.starts_with(LOG)) {
        let bytes = disk.peek(&path).expect("the disk lists what it has");
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let kept: Vec<&[u8]> = lines.filter(|line| line.get(KIND_AT) != Some(&b'S')).collect();
        disk.put(&path, &kept.concat());
    }
}

/// The link by the names of hosts: the miners are many, and the verifier is behind the relay that
/// watches its link to the gateway.
pub(super) fn world_link(link: &Link) -> String {
    let host = |name: &str, other: &str| match (name, other) {
        ("miners", _) => "miner-*".to_owned(),
        ("verifier", "bitcoind") => "judge".to_owned(),
        (SECOND_VERIFIER, "bitcoind") => "judge-2".to_owned(),
        _ => name.to_owned(),
    };
    let arrow = if link.both { "<->" } else { "->" };
    format!("{}{arrow}{}", host(&link.from, &link.to), host(&link.to, &link.from))
}
