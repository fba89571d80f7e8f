//! Faults of the schedule, as the world understands them.

use std::time::Duration;

use crate::disk::{Disk, DiskFaults};
use crate::net::{Disturbance, LinkError, Network};
use crate::node::host::Fault;
use crate::scenario::{Action, DiskMode, Link, NodeMode};

/// How long a slow disk takes to sync, at least and at most.
const SLOW_SYNC: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

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
        DiskMode::FlipOnRead => faults.flip_on_read = 1.0,
        DiskMode::ReadError => faults.fail_reads = true,
    }
    disk.set_faults(faults);
}

/// The fault of the node's host.
pub(super) fn node_fault(mode: NodeMode) -> Fault {
    match mode {
        NodeMode::Ok => Fault::None,
        NodeMode::WarmingUp => Fault::WarmingUp,
        NodeMode::Timeout => Fault::Timeout,
        NodeMode::Down => Fault::Down,
    }
}

/// The link by the names of hosts: the miners are many.
pub(super) fn world_link(link: &Link) -> String {
    let host = |name: &str| if name == "miners" { "miner-*".to_owned() } else { name.to_owned() };
    let arrow = if link.both { "<->" } else { "->" };
    format!("{}{arrow}{}", host(&link.from), host(&link.to))
}
