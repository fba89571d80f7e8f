//! When a peer's mistakes are worth a reconnect.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{
    DecodeError, MAX_UNKNOWN_MSG_TYPE_PER_MINUTE, MAX_UNPARSABLE_LINES_IN_A_ROW,
    MAX_VERSION_MISMATCHES, Message,
};

/// What can be wrong with a link; the names are the gateway's reason codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkFault {
    /// A line does not parse.
    Framing,
    /// A line is longer than [`crate::MAX_INTERNAL_LINE_BYTES`].
    LineTooLarge,
    /// A line has a version we do not speak; [`MAX_VERSION_MISMATCHES`] of them end the link.
    VersionMismatch,
    /// More than [`MAX_UNKNOWN_MSG_TYPE_PER_MINUTE`] lines of unknown type within a minute.
    UnknownMsgFlood,
}

impl LinkFault {
    /// Every fault.
    pub const ALL: [Self; 4] =
        [Self::Framing, Self::LineTooLarge, Self::VersionMismatch, Self::UnknownMsgFlood];

    /// The reason code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Framing => "internal_framing_error",
            Self::LineTooLarge => "internal_line_too_large",
            Self::VersionMismatch => "internal_version_mismatch",
            Self::UnknownMsgFlood => "internal_unknown_msg_flood",
        }
    }
}

/// Watches what [`crate::decode`] says of a link's lines and tells when to give the link up.
#[derive(Debug, Default)]
pub struct LinkGuard {
    unparsable_in_a_row: u32,
    version_mismatches: u32,
    /// When the unknown lines of the last minute came, oldest first; bounded by the limit.
    unknown: VecDeque<Duration>,
}

impl LinkGuard {
    /// For a new link.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a decoded line. `now` is the time since any fixed moment. `Some`: close the
    /// link (and open it anew) for this fault.
    pub fn observe(
        &mut self,
        decoded: &Result<Message, DecodeError>,
        now: Duration,
    ) -> Option<LinkFault> {
        match decoded {
            Err(DecodeError::Unparsable { .. }) => self.unparsable(),
            Err(DecodeError::UnknownMsgType { .. }) => self.unknown(now),
            Err(DecodeError::UnsupportedVersion { .. }) => self.version_mismatch(),
            Ok(_) => {
                self.unparsable_in_a_row = 0;
                None
            }
        }
    }

    fn unparsable(&mut self) -> Option<LinkFault> {
        self.unparsable_in_a_row += 1;
        (self.unparsable_in_a_row >= MAX_UNPARSABLE_LINES_IN_A_ROW).then_some(LinkFault::Framing)
    }

    /// A peer of another version will not learn ours; a few lines are enough to be told so.
    fn version_mismatch(&mut self) -> Option<LinkFault> {
        self.unparsable_in_a_row = 0;
        self.version_mismatches += 1;
        (self.version_mismatches >= MAX_VERSION_MISMATCHES).then_some(LinkFault::VersionMismatch)
    }

    fn unknown(&mut self, now: Duration) -> Option<LinkFault> {
        self.unparsable_in_a_row = 0;
        let minute = Duration::from_secs(60);
        while self.unknown.front().is_some_and(|at| now.saturating_sub(*at) >= minute) {
            self.unknown.pop_front();
        }
        if self.unknown.len() >= MAX_UNKNOWN_MSG_TYPE_PER_MINUTE {
            return Some(LinkFault::UnknownMsgFlood);
        }
        self.unknown.push_back(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    const UNKNOWN: &[u8] = br#"{"msg_type":"poem","version":2}"#;
    const OTHER_VERSION: &[u8] = br#"{"msg_type":"heartbeat","version":3,"seq":1}"#;
    const HEARTBEAT: &[u8] = br#"{"msg_type":"heartbeat","version":2,"seq":1}"#;

    fn observe(guard: &mut LinkGuard, line: &[u8], secs: u64) -> Option<LinkFault> {
        guard.observe(&decode(line), Duration::from_secs(secs))
    }

    #[test]
    fn three_bad_lines_in_a_row_end_the_link() {
        let mut guard = LinkGuard::new();
        assert_eq!(observe(&mut guard, b"?", 0), None);
        assert_eq!(observe(&mut guard, b"?", 0), None);
        assert_eq!(observe(&mut guard, b"?", 0), Some(LinkFault::Framing));
    }

    #[test]
    fn a_good_line_between_bad_ones_saves_the_link() {
        let mut guard = LinkGuard::new();
        for _ in 0..10 {
            assert_eq!(observe(&mut guard, b"?", 0), None);
            assert_eq!(observe(&mut guard, b"?", 0), None);
            assert_eq!(observe(&mut guard, HEARTBEAT, 0), None);
        }
    }

    #[test]
    fn the_sixty_first_unknown_line_of_a_minute_ends_the_link() {
        let mut guard = LinkGuard::new();
        for _ in 0..60 {
            assert_eq!(observe(&mut guard, UNKNOWN, 0), None);
        }
        assert_eq!(observe(&mut guard, UNKNOWN, 59), Some(LinkFault::UnknownMsgFlood));
    }

    #[test]
    fn sixty_lines_of_another_version_end_the_link_whenever_they_come() {
        let mut guard = LinkGuard::new();
        for second in 0..59 {
            assert_eq!(observe(&mut guard, OTHER_VERSION, 100 * second), None);
            assert_eq!(observe(&mut guard, HEARTBEAT, 100 * second), None);
        }
        assert_eq!(observe(&mut guard, OTHER_VERSION, 6000), Some(LinkFault::VersionMismatch));
    }

    #[test]
    fn unknown_lines_are_forgotten_after_a_minute() {
        let mut guard = LinkGuard::new();
        for second in 0..600 {
            assert_eq!(observe(&mut guard, UNKNOWN, second), None);
        }
    }
}
