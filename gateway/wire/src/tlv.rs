//! Type-length-value fields that extensions append to messages (specification 3.4.3), and the one
//! that extension 0x0002 defines.

use crate::error::{FieldError, TlvError};
use crate::field::{Field, Reader};

/// One field that an extension appends to a message of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The extension that defines the field.
    pub extension_type: u16,
    /// The field within the extension.
    pub field_type: u8,
    /// The value, at most 65 535 bytes.
    pub value: crate::B064K<'a>,
}

impl Tlv<'_> {
    /// Appends the wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.extension_type.encode(out);
        self.field_type.encode(out);
        self.value.encode(out);
    }
}

/// The tail of a payload, known to divide into whole TLVs. Empty for most messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    bytes: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// Checks that `tail` divides into whole TLVs in little-endian order.
    ///
    /// # Errors
    /// [`TlvError::BigEndian`] when it would in the other byte order, as the specification's own
    /// example is printed; [`TlvError::Malformed`] when it does in neither.
    pub fn parse(tail: &'a [u8]) -> Result<Self, TlvError> {
        if divides(tail, u16::from_le_bytes) {
            Ok(Self { bytes: tail })
        } else if divides(tail, u16::from_be_bytes) {
            Err(TlvError::BigEndian(tail.len()))
        } else {
            Err(TlvError::Malformed(tail.len()))
        }
    }

    /// The fields in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = Tlv<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            (!reader.rest().is_empty())
                .then(|| next_tlv(&mut reader).expect("parse saw every TLV whole"))
        })
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether they come in ascending order of extension, as the specification's section 3.4.3
    /// asks. Extension 0x0002 says the order does not matter, so a breach is worth counting and no
    /// reason to refuse.
    #[must_use]
    pub fn are_ordered(&self) -> bool {
        self.iter().is_sorted_by_key(|tlv| tlv.extension_type)
    }

    /// The first field with this extension and field type.
    #[must_use]
    pub fn find(&self, extension_type: u16, field_type: u8) -> Option<Tlv<'a>> {
        self.iter().find(|tlv| (tlv.extension_type, tlv.field_type) == (extension_type, field_type))
    }
}

fn next_tlv<'a>(reader: &mut Reader<'a>) -> Result<Tlv<'a>, FieldError> {
    Ok(Tlv {
        extension_type: Field::decode(reader)?,
        field_type: Field::decode(reader)?,
        value: Field::decode(reader)?,
    })
}

/// Whether `tail` is a whole number of TLVs when lengths are read in the given byte order.
fn divides(tail: &[u8], read_length: fn([u8; 2]) -> u16) -> bool {
    let mut rest = tail;
    while let Some(([_, _, _, a, b], after_header)) = rest.split_first_chunk() {
        let Some(after_value) = after_header.get(usize::from(read_length([*a, *b]))..) else {
            return false;
        };
        rest = after_value;
    }
    rest.is_empty()
}

/// The worker behind a share: the field of extension 0x0002 on `SubmitSharesExtended`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerIdentity<'a>(&'a str);

impl<'a> WorkerIdentity<'a> {
    /// Extension "worker-specific hashrate tracking".
    pub const EXTENSION_TYPE: u16 = 0x0002;
    /// Field `user_identity`.
    pub const FIELD_TYPE: u8 = 0x01;
    /// The longest identity, in bytes.
    pub const MAX_LEN: usize = 32;

    /// Wraps `identity` for sending; `None` when it exceeds [`Self::MAX_LEN`] bytes.
    #[must_use]
    pub const fn new(identity: &'a str) -> Option<Self> {
        if identity.len() <= Self::MAX_LEN { Some(Self(identity)) } else { None }
    }

    /// The identity among the fields of a message, if it is there.
    ///
    /// # Errors
    /// [`TlvError::ValueTooLong`] and [`TlvError::NotUtf8`]: once the extension is negotiated, a
    /// message with such a field must be rejected.
    pub fn find(tlvs: Tlvs<'a>) -> Result<Option<Self>, TlvError> {
        let Some(tlv) = tlvs.find(Self::EXTENSION_TYPE, Self::FIELD_TYPE) else {
            return Ok(None);
        };
        let (extension_type, field_type) = (tlv.extension_type, tlv.field_type);
        if tlv.value.len() > Self::MAX_LEN {
            let (len, max) = (tlv.value.len(), Self::MAX_LEN);
            return Err(TlvError::ValueTooLong { extension_type, field_type, len, max });
        }
        std::str::from_utf8(tlv.value.as_bytes())
            .map(|identity| Some(Self(identity)))
            .map_err(|_| TlvError::NotUtf8 { extension_type, field_type })
    }

    /// The identity.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// The field to append to a share.
    #[must_use]
    pub fn to_tlv(self) -> Tlv<'a> {
        Tlv {
            extension_type: Self::EXTENSION_TYPE,
            field_type: Self::FIELD_TYPE,
            value: crate::B064K::new(self.0.as_bytes()).expect("32 bytes fit 65 535"),
        }
    }
}
