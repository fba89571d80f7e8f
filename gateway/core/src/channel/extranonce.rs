//! Disjoint search space: one extranonce index for each channel of the gateway.

use std::collections::BTreeSet;

use crate::ids::{InstanceId, sha256};
use crate::limits::EXTRANONCE_BYTES;

/// Gives each channel an index that no other channel of this gateway has, and each index an
/// extranonce that no sibling gateway gives.
///
/// Indices go upwards and come round only after 2^32 channels, so that one freed now is not used
/// again while jobs built on it could still earn shares (SV2 §5.3.9).
#[derive(Debug)]
pub struct ExtranonceAllocator {
    instance: [u8; 4],
    next: u32,
    in_use: BTreeSet<u32>,
    capacity: usize,
}

impl ExtranonceAllocator {
    /// An allocator for at most `capacity` channels at once. `first` should differ from one process
    /// to the next, so that a restart does not search the same space again on the same tip.
    pub fn new(instance: &InstanceId, first: u32, capacity: usize) -> Self {
        let digest = sha256(&[instance.as_str().as_bytes()]);
        Self {
            instance: digest[..4].try_into().expect("four of 32 bytes"),
            next: first,
            in_use: BTreeSet::new(),
            capacity,
        }
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

    /// The full extranonce of a standard channel: instance, index, zeros.
    pub fn full_extranonce(&self, index: ExtranonceIndex) -> [u8; EXTRANONCE_BYTES] {
        let mut bytes = [0; EXTRANONCE_BYTES];
        bytes[..4].copy_from_slice(&self.instance);
        bytes[4..8].copy_from_slice(&index.0.to_be_bytes());
        bytes
    }

    /// Channels that have an index now.
    pub fn in_use(&self) -> usize {
        self.in_use.len()
    }
}

/// One channel's place in the search space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtranonceIndex(u32);

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator(first: u32, capacity: usize) -> ExtranonceAllocator {
        ExtranonceAllocator::new(&InstanceId::new("gw"), first, capacity)
    }

    #[test]
    fn a_freed_index_is_not_the_next_one() {
        let mut indices = allocator(u32::MAX, 8);
        let first = indices.allocate().unwrap();
        let second = indices.allocate().unwrap();
        assert_eq!((first.0, second.0), (u32::MAX, 0));
        indices.free(second);
        assert_eq!(indices.allocate().unwrap().0, 1);
    }

    #[test]
    fn capacity_bounds_what_is_in_use_at_once() {
        let mut indices = allocator(0, 2);
        let first = indices.allocate().unwrap();
        indices.allocate().unwrap();
        assert_eq!(indices.allocate(), None);
        indices.free(first);
        assert!(indices.allocate().is_some());
    }

    #[test]
    fn instances_and_channels_have_their_own_space() {
        let here = allocator(0, 8);
        let there = ExtranonceAllocator::new(&InstanceId::new("other"), 0, 8);
        let one = ExtranonceIndex(1);
        assert_ne!(here.full_extranonce(one), there.full_extranonce(one));
        assert_ne!(here.full_extranonce(one), here.full_extranonce(ExtranonceIndex(2)));
        assert!(here.full_extranonce(one)[8..].iter().all(|byte| *byte == 0));
    }
}
