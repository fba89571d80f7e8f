//! Messages made from random bytes, for property tests. Every message struct gets an
//! implementation beside its definition, so that none can be forgotten.

use crate::bytes::{B016M, B032, B064K, B0255, Str0255};
use crate::field::{U24, U256};
use crate::seq::{Seq064K, Seq0255};

/// A supply of random bytes; zeros once it has run dry.
pub(crate) struct Pool<'a> {
    rest: &'a [u8],
    /// Random bytes again, but as items that sequences can borrow.
    ids: &'a [u32],
    extensions: &'a [u16],
    hashes: &'a [U256],
    transactions: &'a [B016M<'a>],
}

impl<'a> Pool<'a> {
    pub(crate) fn new(bytes: &'a [u8], items: &'a Items<'a>) -> Self {
        Self {
            rest: bytes,
            ids: &items.ids,
            extensions: &items.extensions,
            hashes: &items.hashes,
            transactions: &items.transactions,
        }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    fn len_up_to(&mut self, max: usize) -> usize {
        usize::from(u16::from_le_bytes(self.array())) % (max + 1)
    }
}

/// What the sequences of sampled messages borrow their items from.
pub(crate) struct Items<'a> {
    ids: Vec<u32>,
    extensions: Vec<u16>,
    hashes: Vec<U256>,
    transactions: Vec<B016M<'a>>,
}

impl<'a> Items<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            ids: bytes.chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect(),
            extensions: bytes.iter().map(|byte| u16::from(*byte) * 257).collect(),
            hashes: bytes.iter().map(|byte| U256([*byte; 32])).collect(),
            transactions: bytes.chunks(7).map(|chunk| B016M::new(chunk).unwrap()).collect(),
        }
    }
}

pub(crate) trait Sample<'a> {
    fn sample(pool: &mut Pool<'a>) -> Self;
}

macro_rules! sample_from_bytes {
    ($($integer:ty),*) => {$(
        impl<'a> Sample<'a> for $integer {
            fn sample(pool: &mut Pool<'a>) -> Self {
                Self::from_le_bytes(pool.array())
            }
        }
    )*};
}
sample_from_bytes!(u8, u16, u32, u64, U24);

impl<'a> Sample<'a> for f32 {
    /// Finite, so that a message equals itself; odd floats have a test of their own.
    fn sample(pool: &mut Pool<'a>) -> Self {
        Some(Self::from_le_bytes(pool.array())).filter(|float| float.is_finite()).unwrap_or(1.5e13)
    }
}

impl<'a> Sample<'a> for bool {
    fn sample(pool: &mut Pool<'a>) -> Self {
        u8::sample(pool) & 1 == 1
    }
}

impl<'a, T: Sample<'a>> Sample<'a> for Option<T> {
    fn sample(pool: &mut Pool<'a>) -> Self {
        bool::sample(pool).then(|| T::sample(pool))
    }
}

impl<'a> Sample<'a> for U256 {
    fn sample(pool: &mut Pool<'a>) -> Self {
        Self(pool.array())
    }
}

macro_rules! sample_bytes {
    ($($string:ident),*) => {$(
        impl<'a> Sample<'a> for $string<'a> {
            fn sample(pool: &mut Pool<'a>) -> Self {
                let len = pool.len_up_to($string::MAX_LEN.min(300));
                $string::new(pool.take(len)).unwrap()
            }
        }
    )*};
}
sample_bytes!(Str0255, B032, B0255, B064K, B016M);

macro_rules! sample_sequence {
    ($($sequence:ident of $item:ty, $items:ident;)*) => {$(
        impl<'a> Sample<'a> for $sequence<'a, $item> {
            fn sample(pool: &mut Pool<'a>) -> Self {
                let len = pool.len_up_to(pool.$items.len().min(40));
                $sequence::new(&pool.$items[..len]).unwrap()
            }
        }
    )*};
}
sample_sequence! {
    Seq0255 of U256, hashes;
    Seq064K of u16, extensions;
    Seq064K of u32, ids;
    Seq064K of B016M<'a>, transactions;
}
