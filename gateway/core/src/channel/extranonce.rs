//! Disjoint search space: a part for each gateway of a fleet, and in it an index for each channel.

use std::collections::BTreeSet;

use crate::ids::{InstanceId, sha256};
use crate::limits::EXTRANONCE_BYTES;

/// One gateway's part of the search space, in the first four bytes of every extranonce it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtranonceSpace([u8; 4]);

impl ExtranonceSpace {
    /// The highest index that [`of_index`](Self::of_index) takes.
    pub const MAX_INDEX: u32 = u32::MAX >> 1;

    /// The part of the gateway with this index in its fleet (`gateway.extranonce_index`): never
    /// that of another index.
    ///
    /// # Panics
    /// Above [`MAX_INDEX`](Self::MAX_INDEX).
    pub fn of_index(index: u32) -> Self {
        assert!(index <= Self::MAX_INDEX, "extranonce index {index} has more than 31 bits");
        Self(index.to_be_bytes())
    }

    /// The part of a gateway that has no index: never that of one that has, and that of another
    /// instance only by a chance of one in 2^31.
    pub fn of_instance(instance: &InstanceId) -> Self {
        let digest = sha256(&[instance.as_str().as_bytes()]);
        let [first, second, third, fourth, ..] = digest;
        Self([first | 0x80, second, third, fourth])
    }
}

/// Gives each channel an index that no other channel of this gateway has.
///
/// Indices go upwards and come round only after 2^32 channels, so that one freed now is not used
/// again while jobs built on it could still earn shares (SV2 §5.3.9).
#[derive(Debug)]
pub struct ExtranonceAllocator {
    next: u32,
    in_use: BTreeSet<u32>,
    capacity: usize,
}

impl ExtranonceAllocator {
    /// An allocator for at most `capacity` indices at once. `first` should differ from one process
    /// to the next, so that a restart does not search the same space again on the same tip.
    pub fn new(first: u32, capacity: usize) -> Self {
        Self { next: first, in_use: BTreeSet::new(), capacity }
    }

    /// The next free index; `None` when `capacity` are in use.
    pub fn allocate(&mut self) -> Option<ExtranonceIndex> {
        if self.in_use.len() >= self.capacity {
            return None;
        }
        while !self.in_use.insert(self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let index = self.next;
        self.next = self.next.wrapping_add(1);
        Some(ExtranonceIndex(index))
    }

    /// Gives an index back.
    pub fn free(&mut self, index: ExtranonceIndex) {
        let was_in_use = self.in_use.remove(&index.0);
        debug_assert!(was_in_use, "extranonce {index:?} was freed twice");
    }
}

/// One channel's place in the search space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtranonceIndex(u32);

impl ExtranonceIndex {
    /// The full extranonce of a standard channel: space, index, zeros.
    pub fn full_extranonce(self, space: ExtranonceSpace) -> [u8; EXTRANONCE_BYTES] {
        let mut bytes = [0; EXTRANONCE_BYTES];
        bytes[..4].copy_from_slice(&space.0);
        bytes[4..8].copy_from_slice(&self.0.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_index_is_not_the_next_one() {
        let mut indices = ExtranonceAllocator::new(u32::MAX, 8);
        let first = indices.allocate().unwrap();
        let second = indices.allocate().unwrap();
        assert_eq!((first.0, second.0), (u32::MAX, 0));
        indices.free(second);
        assert_eq!(indices.allocate().unwrap().0, 1);
    }

    #[test]
    fn capacity_bounds_what_is_in_use_at_once() {
        let mut indices = ExtranonceAllocator::new(0, 2);
        let first = indices.allocate().unwrap();
        indices.allocate().unwrap();
        assert_eq!(indices.allocate(), None);
        indices.free(first);
        assert!(indices.allocate().is_some());
    }

    #[test]
    fn gateways_and_channels_have_their_own_space() {
        let named = |name| ExtranonceSpace::of_instance(&InstanceId::new(name));
        let spaces = [
            named("gw"),
            named("other"),
            ExtranonceSpace::of_index(0),
            ExtranonceSpace::of_index(1),
            ExtranonceSpace::of_index(ExtranonceSpace::MAX_INDEX),
        ];
        let extranonces: BTreeSet<_> = spaces
            .into_iter()
            .flat_map(|space| [1, 2].map(|index| ExtranonceIndex(index).full_extranonce(space)))
            .collect();
        assert_eq!(extranonces.len(), 2 * spaces.len());
        assert!(extranonces.iter().all(|bytes| bytes[8..] == [0; 16]));
        assert_eq!(
            ExtranonceIndex(3).full_extranonce(ExtranonceSpace::of_index(0x0102))[..8],
            [0, 0, 1, 2, 0, 0, 0, 3]
        );
    }

    #[test]
    fn no_name_falls_among_the_indices() {
        for name in 0..1000 {
            let space = ExtranonceSpace::of_instance(&InstanceId::new(&name.to_string()));
            assert!(u32::from_be_bytes(space.0) > ExtranonceSpace::MAX_INDEX);
        }
    }
}
