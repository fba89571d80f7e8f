//! The replay window.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::ids::ShareId;

/// The shares accepted last, up to a fixed number (`share.share_dedup_window_size`); the oldest is
/// forgotten first.
#[derive(Debug)]
pub struct ReplayWindow {
    order: VecDeque<ShareId>,
    known: HashSet<ShareId, Fixed>,
    size: usize,
}

/// The same on every run: nothing here draws lots. Ids that are chosen to slow the window down are
/// shares, which cost their finder the work of as many others as there are places.
type Fixed = BuildHasherDefault<DefaultHasher>;

impl ReplayWindow {
    /// An empty window for `size` shares; zero remembers none.
    pub fn new(size: usize) -> Self {
        Self { order: VecDeque::new(), known: HashSet::default(), size }
    }

    /// Remembers a share; false if the window held it already.
    pub fn insert(&mut self, share_id: ShareId) -> bool {
        if !self.known.insert(share_id) {
            return false;
        }
        self.order.push_back(share_id);
        while self.order.len() > mutant::pick!(ReplayWindowOfOne, 1, self.size) {
            let oldest = self.order.pop_front().expect("longer than its size");
            self.known.remove(&oldest);
        }
        debug_assert_eq!(self.order.len(), self.known.len());
        true
    }

    /// Shares in the window.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether the window is empty.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_exactly_the_oldest() {
        let mut window = ReplayWindow::new(2);
        let [a, b, c] = [1, 2, 3].map(|byte| ShareId([byte; 32]));
        assert!(window.insert(a));
        assert!(window.insert(b));
        assert!(!window.insert(a));
        assert!(window.insert(c));
        assert_eq!(window.len(), 2);
        assert!(!window.insert(b));
        assert!(window.insert(a), "the oldest left when the third came");
    }
}
