//! The phases before there is a channel, each a struct named for what it awaits.

use std::time::Duration;

use sv2_wire::MiningClientMessage;
use sv2_wire::common::{
    MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};
use sv2_wire::mining::{REQUIRES_FIXED_VERSION, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING};

use super::context::{Context, code};
use super::opening::Opening;
use super::peer::Peer;
use super::serving::Serving;
use crate::moment::Moment;
use crate::reason::{ReasonCode, WireError};

#[derive(Debug)]
pub(super) enum Phase {
    AwaitSetup(AwaitSetup),
    AwaitChannel(AwaitChannel),
    Serving(Box<Serving>),
    Closed,
}

/// Nothing was said yet: only SetupConnection will do.
#[derive(Debug)]
pub(super) struct AwaitSetup {
    pub(super) deadline: Duration,
}

/// The connection is set up and has no channel yet.
#[derive(Debug)]
pub(super) struct AwaitChannel {
    pub(super) deadline: Duration,
}

impl AwaitSetup {
    pub(super) fn message(
        self,
        message: MiningClientMessage<'_>,
        context: &mut Context,
        now: Moment,
    ) -> Phase {
        let MiningClientMessage::SetupConnection(setup) = message else {
            return context.close_unexpected(message.name(), "SetupConnection");
        };
        let rolls_version = context.settings.version_rolling_mask != 0;
        if let Err((error, flags)) = negotiate(&setup, rolls_version) {
            context.send(&SetupConnectionError { flags, error_code: code(error) });
            let detail = format!(
                "{}: protocol {}, versions {}..={}, flags {:#b}",
                error.code(),
                setup.protocol,
                setup.min_version,
                setup.max_version,
                setup.flags
            );
            return context.close(ReasonCode::UnsupportedProtocolVersion, detail);
        }
        let flags = if rolls_version { 0 } else { REQUIRES_FIXED_VERSION };
        context.peer = Peer::new(&setup);
        context.send(&SetupConnectionSuccess { used_version: PROTOCOL_VERSION, flags });
        let deadline = now.mono + context.settings.first_channel_timeout;
        Phase::AwaitChannel(AwaitChannel { deadline })
    }
}

impl AwaitChannel {
    pub(super) fn message(
        self,
        message: MiningClientMessage<'_>,
        context: &mut Context,
        now: Moment,
    ) -> Phase {
        match message {
            MiningClientMessage::OpenStandardMiningChannel(open) => {
                return self.open(&Opening::standard(&open), context, now);
            }
            MiningClientMessage::OpenExtendedMiningChannel(open) => {
                return self.open(&Opening::extended(&open), context, now);
            }
            MiningClientMessage::RequestExtensions(request) => context.answer_extensions(request),
            // A proxy may say this of a channel it once had elsewhere; there is no state to reset.
            MiningClientMessage::ChannelEndpointChanged(_) => {}
            other => return context.close_unexpected(other.name(), "a first channel"),
        }
        Phase::AwaitChannel(self)
    }

    fn open(self, opening: &Opening<'_>, context: &mut Context, now: Moment) -> Phase {
        let mut serving = Serving::new(now);
        match serving.open(opening, context, now) {
            Ok(()) => Phase::Serving(Box::new(serving)),
            Err(error) => {
                context.refuse_channel(opening.request_id, error);
                Phase::AwaitChannel(self)
            }
        }
    }
}

/// Checks what the client asks for; on failure the answer with the flags it carries.
///
/// The flags are every flag that is not served, defined or not, asked for or not: the same set for
/// everybody, so that a client learns them all from one refusal (SV2 §3.6.3). They are zero when
/// flags were not the cause.
fn negotiate(setup: &SetupConnection<'_>, rolls_version: bool) -> Result<(), (WireError, u32)> {
    if setup.protocol != MINING_PROTOCOL {
        return Err((WireError::SetupProtocol, 0));
    }
    if !(setup.min_version..=setup.max_version).contains(&PROTOCOL_VERSION) {
        return Err((WireError::SetupVersion, 0));
    }
    let version_rolling = if rolls_version { REQUIRES_VERSION_ROLLING } else { 0 };
    let not_served = !(REQUIRES_STANDARD_JOBS | version_rolling);
    if setup.flags & not_served != 0 {
        return Err((WireError::SetupFlags, not_served));
    }
    Ok(())
}
