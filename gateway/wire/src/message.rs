//! What all messages have in common, and the macro that derives it from a list of fields.

use crate::error::{DecodeError, FieldError};
use crate::field::{Reader, U24};
use crate::frame::FrameHeader;
use crate::tlv::Tlv;

/// A message of the protocol: a struct with the specification's fields in wire order.
pub trait Message<'a>: Sized {
    /// The specification's name; a dot there is left out here, as in `SubmitSharesError`.
    const NAME: &'static str;
    /// The extension that defines the message; 0 for the core protocols.
    const EXTENSION_TYPE: u16;
    /// The message type within the extension.
    const MSG_TYPE: u8;
    /// The channel bit that a sender of the message must set.
    const CHANNEL_BIT: bool;

    /// Reads the message off the front of a payload and returns it with the bytes that follow it,
    /// which the caller must hand to [`Tlvs::parse`](crate::Tlvs::parse).
    ///
    /// # Errors
    /// [`DecodeError::Field`] naming the first field that is cut short or out of bounds.
    fn decode(payload: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError>;

    /// Appends the payload, without a header.
    fn encode_payload(&self, out: &mut Vec<u8>);

    /// Appends the whole frame: header and payload.
    ///
    /// # Panics
    /// When the payload exceeds 16 777 215 bytes. `RequestTransactionDataSuccess` alone can hold
    /// that much, and only for a block of more than four times the consensus limit.
    fn encode_frame(&self, out: &mut Vec<u8>) {
        self.encode_frame_with_tlvs(&[], out);
    }

    /// Appends the whole frame with `tlvs` after the message's own fields.
    ///
    /// # Panics
    /// As [`encode_frame`](Self::encode_frame).
    fn encode_frame_with_tlvs(&self, tlvs: &[Tlv<'_>], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; FrameHeader::LEN]);
        self.encode_payload(out);
        tlvs.iter().for_each(|tlv| tlv.encode(out));
        let payload_len = out.len() - start - FrameHeader::LEN;
        let header = FrameHeader {
            extension_type: Self::EXTENSION_TYPE,
            channel_msg: Self::CHANNEL_BIT,
            msg_type: Self::MSG_TYPE,
            msg_length: U24::from_len(payload_len).expect("a payload is shorter than 16 MiB"),
        };
        out[start..start + FrameHeader::LEN].copy_from_slice(&header.encode());
    }
}

/// Decodes one field and names it in the error.
pub(crate) fn decode_field<'a, T: crate::Field<'a>>(
    reader: &mut Reader<'a>,
    message: &'static str,
    field: &'static str,
) -> Result<T, DecodeError> {
    T::decode(reader).map_err(|cause: FieldError| DecodeError::Field { message, field, cause })
}

/// Declares message structs from the specification's tables: the number is the message type, the
/// word after it says whether the frame carries the channel bit (`channel`) or not (`connection`).
macro_rules! messages {
    (extension $extension:expr; $(
        $(#[$doc:meta])*
        $name:ident $(<$lifetime:lifetime>)? = $msg_type:literal $scope:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq)]
            pub struct $name $(<$lifetime>)? {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl<'a> $crate::Message<'a> for $name $(<$lifetime>)? {
                const NAME: &'static str = stringify!($name);
                const EXTENSION_TYPE: u16 = $extension;
                const MSG_TYPE: u8 = $msg_type;
                const CHANNEL_BIT: bool = messages!(@channel_bit $scope);

                fn decode(payload: &'a [u8]) -> Result<(Self, &'a [u8]), $crate::DecodeError> {
                    let mut reader = $crate::Reader::new(payload);
                    $(
                        let $field = $crate::message::decode_field(
                            &mut reader,
                            Self::NAME,
                            stringify!($field),
                        )?;
                    )*
                    Ok((Self { $($field),* }, reader.rest()))
                }

                fn encode_payload(&self, out: &mut Vec<u8>) {
                    $($crate::Field::encode(&self.$field, out);)*
                }
            }

            #[cfg(test)]
            impl<'a> $crate::sample::Sample<'a> for $name $(<$lifetime>)? {
                fn sample(pool: &mut $crate::sample::Pool<'a>) -> Self {
                    Self { $($field: $crate::sample::Sample::sample(pool)),* }
                }
            }
        )*

        /// The messages of this file, in the order of their types.
        pub(crate) const ALL: &[$crate::MessageInfo] = &[$($crate::MessageInfo {
            extension_type: $extension,
            msg_type: $msg_type,
            channel_bit: messages!(@channel_bit $scope),
            name: stringify!($name),
        }),*];
    };
    (@channel_bit channel) => { true };
    (@channel_bit connection) => { false };
}
pub(crate) use messages;
