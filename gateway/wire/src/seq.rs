//! The counted sequences of specification 3.1.

use std::fmt;

use crate::bytes::Length;
use crate::error::{FieldError, TooLong};
use crate::field::{Field, Reader};

/// Either a slice of items to send, or the bytes of a received sequence, already checked.
#[derive(Clone, Copy)]
enum Items<'a, T> {
    Slice(&'a [T]),
    Wire { count: usize, bytes: &'a [u8] },
}

/// The items of a [`Seq0255`] or [`Seq064K`], in order.
#[derive(Clone)]
pub struct SeqIter<'a, T>(Items<'a, T>);

impl<'a, T: Field<'a> + Copy> Iterator for SeqIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Items::Slice(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(*first)
            }
            Items::Wire { count, bytes } => {
                *count = count.checked_sub(1)?;
                let mut reader = Reader::new(bytes);
                let item = T::decode(&mut reader).expect("every item was decoded once on receipt");
                *bytes = reader.rest();
                Some(item)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match self.0 {
            Items::Slice(items) => items.len(),
            Items::Wire { count, .. } => count,
        };
        (len, Some(len))
    }
}

impl<'a, T: Field<'a> + Copy> ExactSizeIterator for SeqIter<'a, T> {}

macro_rules! sequence {
    ($(#[$doc:meta])* $name:ident, $wire_type:literal, max $max:expr, count $count:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a, T>(Items<'a, T>);

        impl<'a, T: Field<'a> + Copy> $name<'a, T> {
            /// The greatest number of items.
            pub const MAX_LEN: usize = $max;

            /// Wraps `items` for sending.
            ///
            /// # Errors
            /// [`TooLong`] when there are more than [`Self::MAX_LEN`].
            pub const fn new(items: &'a [T]) -> Result<Self, TooLong> {
                if items.len() > Self::MAX_LEN {
                    return Err(TooLong {
                        what: "items",
                        wire_type: $wire_type,
                        len: items.len(),
                        max: Self::MAX_LEN,
                    });
                }
                Ok(Self(Items::Slice(items)))
            }

            /// The items in order. Those of a received sequence are decoded as they are taken.
            #[must_use]
            pub fn iter(&self) -> SeqIter<'a, T> {
                SeqIter(self.0)
            }

            /// Number of items.
            #[must_use]
            pub fn len(&self) -> usize {
                self.iter().len()
            }

            /// Whether there are no items.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }

        impl<'a, T: Field<'a> + Copy> IntoIterator for &$name<'a, T> {
            type Item = T;
            type IntoIter = SeqIter<'a, T>;

            fn into_iter(self) -> SeqIter<'a, T> {
                self.iter()
            }
        }

        impl<'a, T: Field<'a> + Copy> Field<'a> for $name<'a, T> {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
                let count = <$count as Length>::decode_len(reader)?;
                let start = reader.rest();
                for _ in 0..count {
                    T::decode(reader)?;
                }
                let bytes = &start[..start.len() - reader.rest().len()];
                Ok(Self(Items::Wire { count, bytes }))
            }

            fn encode(&self, out: &mut Vec<u8>) {
                <$count as Length>::encode_len(self.len(), out);
                match self.0 {
                    Items::Slice(items) => items.iter().for_each(|item| item.encode(out)),
                    Items::Wire { bytes, .. } => out.extend_from_slice(bytes),
                }
            }
        }

        impl<T> Default for $name<'_, T> {
            fn default() -> Self {
                Self(Items::Slice(&[]))
            }
        }

        impl<'a, T: Field<'a> + Copy + PartialEq> PartialEq for $name<'a, T> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl<'a, T: Field<'a> + Copy + fmt::Debug> fmt::Debug for $name<'a, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }
    };
}

sequence! {
    /// `SEQ0_255[T]`: up to 255 items.
    Seq0255, "SEQ0_255", max 255, count u8
}
sequence! {
    /// `SEQ0_64K[T]`: up to 65 535 items.
    Seq064K, "SEQ0_64K", max 65_535, count u16
}
