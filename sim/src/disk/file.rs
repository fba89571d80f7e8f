//! One file: what programs see, and what of it a power loss leaves.

use rand_chacha::ChaCha8Rng;

use crate::world::streams;

/// The bytes of a file and how many of them are on the medium.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    /// This prefix is on the medium.
    synced: usize,
    /// Bytes that were on the medium after `synced` and were cut off; the cut itself is not on
    /// the medium yet.
    cut_off: Vec<u8>,
}

impl File {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { synced: bytes.len(), bytes, cut_off: Vec::new() }
    }

    /// A file that took the place of another, or of none, and of which nothing is on the medium.
    pub(super) fn unsynced(bytes: Vec<u8>, replaced: Option<Self>) -> Self {
        let mut before = replaced.unwrap_or_default();
        before.bytes.truncate(before.synced);
        before.bytes.append(&mut before.cut_off);
        Self { bytes, synced: 0, cut_off: before.bytes }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.bytes.len();
        self.cut_off.clear();
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if length < self.synced {
            let mut cut_off = self.bytes[length..self.synced].to_vec();
            cut_off.append(&mut self.cut_off);
            self.cut_off = cut_off;
            self.synced = length;
        }
        // A length beyond the end fills up with zeroes, as `ftruncate` does.
        self.bytes.resize(length, 0);
    }

    /// What a power loss leaves: the synced bytes, and of the others a prefix of any length (the
    /// torn write), or what an unsynced cut had taken off.
    pub(super) fn lose_power(&mut self, rng: &mut ChaCha8Rng) {
        if self.cut_off.is_empty() || streams::below(rng, 2) == 0 {
            let kept = streams::below(rng, self.bytes.len() - self.synced + 1);
            self.bytes.truncate(self.synced + kept);
        } else {
            self.bytes.truncate(self.synced);
            self.bytes.append(&mut self.cut_off);
        }
        self.sync();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_bytes_survive_and_the_others_are_torn_anywhere() {
        let mut rng = streams::derive(3, "disk");
        let mut lengths = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut file = File::durable(b"safe".to_vec());
            file.append(b"lost");
            file.lose_power(&mut rng);
            assert!(b"safelost".starts_with(&file.bytes) && file.bytes.len() >= 4);
            lengths.insert(file.bytes.len());
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    }

    #[test]
    fn an_unsynced_cut_may_be_undone_by_a_power_loss() {
        let mut rng = streams::derive(3, "disk");
        let mut outcomes = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut file = File::durable(b"one|two".to_vec());
            file.truncate(4);
            file.truncate(3);
            file.lose_power(&mut rng);
            outcomes.insert(file.bytes);
        }
        assert_eq!(
            outcomes.into_iter().collect::<Vec<_>>(),
            [b"one".to_vec(), b"one|two".to_vec()]
        );
    }

    #[test]
    fn what_took_the_place_of_another_unsynced_is_torn_or_gone() {
        let mut rng = streams::derive(3, "disk");
        let mut outcomes = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut file = File::unsynced(b"ab".to_vec(), Some(File::durable(b"old".to_vec())));
            assert_eq!(file.bytes, b"ab");
            file.lose_power(&mut rng);
            outcomes.insert(file.bytes);
        }
        let expected: [&[u8]; 4] = [b"", b"a", b"ab", b"old"];
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_synced_cut_stays() {
        let mut file = File::durable(b"one|two".to_vec());
        file.truncate(3);
        file.sync();
        file.lose_power(&mut streams::derive(3, "disk"));
        assert_eq!(file.bytes, b"one");
    }
}
