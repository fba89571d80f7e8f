//! What each side of a connection may receive, as one enum a side.

use crate::common::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};
use crate::error::DecodeError;
use crate::extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use crate::frame::FrameHeader;
use crate::message::Message;
use crate::messages::knows_extension;
use crate::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetCustomMiningJob, SetCustomMiningJobError,
    SetCustomMiningJobSuccess, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash, SetTarget,
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
    UpdateChannel, UpdateChannelError,
};
use crate::template_distribution::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, RequestTransactionDataError,
    RequestTransactionDataSuccess, SetNewPrevHash as TemplateSetNewPrevHash, SubmitSolution,
};
use crate::tlv::Tlvs;

/// A received message with what came along with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded<'a, M> {
    /// The message itself.
    pub message: M,
    /// Fields that extensions appended. To be ignored unless the extension was negotiated.
    pub tlvs: Tlvs<'a>,
    /// The frame had the channel bit that the message carried before May 2026. Harmless, and to
    /// be counted. Any other message with a wrong bit does not decode.
    pub wrong_channel_bit: bool,
}

/// Message types whose channel bit the specification changed in May 2026 (`NewMiningJob` and the
/// three of `SetCustomMiningJob`): deployed peers send either.
const EITHER_CHANNEL_BIT: [u8; 4] = [0x15, 0x22, 0x23, 0x24];

/// Decodes one message whose type the header has already selected.
fn decode_one<'a, M: Message<'a>>(
    header: FrameHeader,
    payload: &'a [u8],
) -> Result<Decoded<'a, M>, DecodeError> {
    let wrong_channel_bit = header.channel_msg != M::CHANNEL_BIT;
    if wrong_channel_bit && !(M::EXTENSION_TYPE == 0 && EITHER_CHANNEL_BIT.contains(&M::MSG_TYPE)) {
        return Err(DecodeError::ChannelBit { message: M::NAME, received: header.channel_msg });
    }
    let (message, tail) = M::decode(payload)?;
    let tlvs = Tlvs::parse(tail).map_err(|cause| DecodeError::Tail { message: M::NAME, cause })?;
    Ok(Decoded { message, tlvs, wrong_channel_bit })
}

macro_rules! direction {
    ($(#[$doc:meta])* $name:ident { $($variant:ident($message:ty),)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum $name<'a> {
            $(
                #[doc = concat!("See [`", stringify!($variant), "`].")]
                $variant($message),
            )*
        }

        impl<'a> $name<'a> {
            /// Picks the message by its header and decodes the payload.
            ///
            /// # Errors
            /// [`DecodeError::UnknownExtension`] is to be dropped silently; every other is a
            /// breach of the protocol.
            pub fn decode(
                header: FrameHeader,
                payload: &'a [u8],
            ) -> Result<Decoded<'a, Self>, DecodeError> {
                let announced = header.msg_length.to_len();
                if announced != payload.len() {
                    let received = payload.len();
                    return Err(DecodeError::LengthMismatch { announced, received });
                }
                let (extension_type, msg_type) = (header.extension_type, header.msg_type);
                $(
                    if extension_type == <$message as Message>::EXTENSION_TYPE
                        && msg_type == <$message as Message>::MSG_TYPE
                    {
                        return decode_one(header, payload).map(|decoded| Decoded {
                            message: Self::$variant(decoded.message),
                            tlvs: decoded.tlvs,
                            wrong_channel_bit: decoded.wrong_channel_bit,
                        });
                    }
                )*
                Err(if knows_extension(extension_type) {
                    DecodeError::UnknownMessageType { extension_type, msg_type }
                } else {
                    DecodeError::UnknownExtension { extension_type, msg_type }
                })
            }

            /// The message's name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$message as Message>::NAME,)*
                }
            }

            /// Appends the whole frame: header and payload.
            ///
            /// # Panics
            /// As [`Message::encode_frame`].
            pub fn encode_frame(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(message) => message.encode_frame(out),)*
                }
            }
        }

        $(
            impl<'a> From<$message> for $name<'a> {
                fn from(message: $message) -> Self {
                    Self::$variant(message)
                }
            }
        )*
    };
}

direction! {
    /// What a mining server receives from a miner or proxy.
    MiningClientMessage {
        SetupConnection(SetupConnection<'a>),
        RequestExtensions(RequestExtensions<'a>),
        OpenStandardMiningChannel(OpenStandardMiningChannel<'a>),
        OpenExtendedMiningChannel(OpenExtendedMiningChannel<'a>),
        UpdateChannel(UpdateChannel),
        CloseChannel(CloseChannel<'a>),
        SubmitSharesStandard(SubmitSharesStandard),
        SubmitSharesExtended(SubmitSharesExtended<'a>),
        SetCustomMiningJob(SetCustomMiningJob<'a>),
        ChannelEndpointChanged(ChannelEndpointChanged),
    }
}

direction! {
    /// What a miner or proxy receives from a mining server.
    MiningServerMessage {
        SetupConnectionSuccess(SetupConnectionSuccess),
        SetupConnectionError(SetupConnectionError<'a>),
        ChannelEndpointChanged(ChannelEndpointChanged),
        Reconnect(Reconnect<'a>),
        RequestExtensionsSuccess(RequestExtensionsSuccess<'a>),
        RequestExtensionsError(RequestExtensionsError<'a>),
        OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess<'a>),
        OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccess<'a>),
        OpenMiningChannelError(OpenMiningChannelError<'a>),
        UpdateChannelError(UpdateChannelError<'a>),
        CloseChannel(CloseChannel<'a>),
        SetExtranoncePrefix(SetExtranoncePrefix<'a>),
        SubmitSharesSuccess(SubmitSharesSuccess),
        SubmitSharesError(SubmitSharesError<'a>),
        NewMiningJob(NewMiningJob),
        NewExtendedMiningJob(NewExtendedMiningJob<'a>),
        SetNewPrevHash(SetNewPrevHash),
        SetTarget(SetTarget),
        SetCustomMiningJobSuccess(SetCustomMiningJobSuccess),
        SetCustomMiningJobError(SetCustomMiningJobError<'a>),
        SetGroupChannel(SetGroupChannel<'a>),
    }
}

direction! {
    /// What a template provider receives from its client.
    TemplateClientMessage {
        SetupConnection(SetupConnection<'a>),
        RequestExtensions(RequestExtensions<'a>),
        CoinbaseOutputConstraints(CoinbaseOutputConstraints),
        RequestTransactionData(RequestTransactionData),
        SubmitSolution(SubmitSolution<'a>),
    }
}

direction! {
    /// What the client of a template provider receives.
    TemplateServerMessage {
        SetupConnectionSuccess(SetupConnectionSuccess),
        SetupConnectionError(SetupConnectionError<'a>),
        Reconnect(Reconnect<'a>),
        RequestExtensionsSuccess(RequestExtensionsSuccess<'a>),
        RequestExtensionsError(RequestExtensionsError<'a>),
        NewTemplate(NewTemplate<'a>),
        SetNewPrevHash(TemplateSetNewPrevHash),
        RequestTransactionDataSuccess(RequestTransactionDataSuccess<'a>),
        RequestTransactionDataError(RequestTransactionDataError<'a>),
    }
}
