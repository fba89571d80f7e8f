//! What a client has said of itself, and so what may be said to it.

use sv2_wire::common::SetupConnection;
use sv2_wire::mining::REQUIRES_STANDARD_JOBS;

/// Firmware that takes work only on its own channel's number, and reads neither SetExtranoncePrefix
/// nor SetGroupChannel.
const SINGLE_CHANNEL_VENDORS: [&[u8]; 1] = [b"bitaxe"];

/// The client of one connection.
///
/// The specification lets a server send any of its messages at any time, but clients in the field
/// differ in what they survive. Those that name no vendor, which the specification asks them to do,
/// are known to end over messages beside the plain course of work: they get none of those.
#[derive(Debug, Default)]
pub(super) struct Peer {
    vendor: Box<[u8]>,
    /// It set REQUIRES_STANDARD_JOBS: no extended job may be sent to it (SV2 §5.3.1).
    pub(super) requires_standard_jobs: bool,
}

impl Peer {
    pub(super) fn new(setup: &SetupConnection<'_>) -> Self {
        Self {
            vendor: setup.vendor.as_bytes().into(),
            requires_standard_jobs: setup.flags & REQUIRES_STANDARD_JOBS != 0,
        }
    }

    /// Whether CloseChannel may tell it that a channel ends.
    pub(super) fn takes_close_channel(&self) -> bool {
        !self.vendor.is_empty()
    }

    /// Whether jobs may be addressed to its group channel.
    pub(super) fn takes_group_jobs(&self) -> bool {
        !self.requires_standard_jobs && self.follows_channel_changes()
    }

    /// Whether it follows changes of its channels beside jobs and targets.
    pub(super) fn follows_channel_changes(&self) -> bool {
        !self.vendor.is_empty() && !SINGLE_CHANNEL_VENDORS.contains(&&*self.vendor)
    }

    /// Whether it is one of these vendors' clients.
    pub(super) fn is_of(&self, vendors: &[String]) -> bool {
        vendors.iter().any(|vendor| vendor.as_bytes() == &*self.vendor)
    }
}
