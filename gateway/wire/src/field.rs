//! The fixed-size data types of specification 3.1 and the trait that all field types share.

use std::cmp::Ordering;

use crate::error::FieldError;

/// A type that can stand as a field of a message. Borrowed types point into the frame.
pub trait Field<'a>: Sized {
    /// Takes the field off the front of `reader`.
    ///
    /// # Errors
    /// When the bytes run out or break a bound of the type; `reader` is then to be dropped.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, FieldError>;

    /// Appends the wire form to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A cursor over a payload.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been taken yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    /// [`FieldError::Truncated`] when fewer are left.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], FieldError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(FieldError::Truncated { needed: len, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`FieldError::Truncated`] when fewer are left.
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], FieldError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take returns exactly the length asked for"))
    }
}

/// An unsigned 24-bit integer (`U24`), 0 to 16 777 215.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U24(u32);

impl U24 {
    /// The largest value, 16 777 215.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// The value, when it fits 24 bits.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The value of a length, when it fits 24 bits.
    #[must_use]
    pub fn from_len(len: usize) -> Option<Self> {
        u32::try_from(len).ok().and_then(Self::new)
    }

    /// The value, which is at most 16 777 215.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// The value as a length in memory.
    #[must_use]
    pub fn to_len(self) -> usize {
        usize::try_from(self.0).expect("24 bits fit the address space of every supported machine")
    }

    /// The three bytes on the wire, little-endian.
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; 3] {
        let [a, b, c, _] = self.0.to_le_bytes();
        [a, b, c]
    }

    /// Reads three bytes from the wire, little-endian.
    #[must_use]
    pub const fn from_le_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([a, b, c, 0]))
    }
}

/// A 256-bit value (`U256`): a hash in internal byte order, or a little-endian integer such as a
/// target. The order of the type is that of the integer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct U256(pub [u8; 32]);

impl U256 {
    /// All ones: as a target, the easiest there is.
    pub const MAX: Self = Self([0xff; 32]);

    /// The 32 bytes as they are on the wire (little-endian).
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for U256 {
    fn from(little_endian: [u8; 32]) -> Self {
        Self(little_endian)
    }
}

impl Ord for U256 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for U256 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Prints most significant byte first, the way hashes and targets are read.
impl std::fmt::Debug for U256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

macro_rules! integer_field {
    ($($integer:ty),*) => {$(
        impl<'a> Field<'a> for $integer {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
                reader.take_array().map(Self::from_le_bytes)
            }

            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

// `F32` is missing from the specification's table of types although mining messages use it; every
// implementation sends IEEE 754 in little-endian order.
integer_field!(u8, u16, u32, u64, f32, U24);

impl<'a> Field<'a> for U256 {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        reader.take_array().map(Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// `BOOL`: only bit 0 has a meaning; the upper seven are ignored on receipt and sent as zero.
impl<'a> Field<'a> for bool {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        u8::decode(reader).map(|byte| byte & 1 == 1)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// `OPTION[T]`, which is a sequence of none or one.
impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        match u8::decode(reader)? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            count => Err(FieldError::OptionCount(count)),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }
}
