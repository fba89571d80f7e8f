//! Seeded mutations of known inputs.

/// Longest input that is made.
const MAX_LEN: usize = 1 << 16;
/// Values at the edges of integers, as bytes.
const EDGES: [&[u8]; 8] = [
    &[0],
    &[0xff],
    &[0x7f, 0xff],
    &[0xff, 0xff],
    &[0, 0, 0, 0x80],
    &[0xff; 4],
    &[0xff; 8],
    b"18446744073709551616",
];
/// Most mutations of one input.
const MOST_CHANGES: u64 = 4;

/// Makes inputs out of a corpus. Equal seeds make equal inputs.
pub struct Mutator {
    state: u64,
    corpus: Vec<Vec<u8>>,
    input: Vec<u8>,
}

impl Mutator {
    /// A mutator of `corpus`.
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        Self { state: seed, corpus, input: Vec::new() }
    }

    /// How many inputs it began with.
    pub fn corpus_len(&self) -> usize {
        self.corpus.len()
    }

    /// The next input.
    pub fn next_input(&mut self) -> &[u8] {
        self.input.clear();
        if !self.corpus.is_empty() {
            let index = self.below(self.corpus.len());
            self.input.extend_from_slice(&self.corpus[index]);
        }
        for _ in 0..=self.draw() % MOST_CHANGES {
            self.change();
        }
        self.input.truncate(MAX_LEN);
        &self.input
    }

    fn change(&mut self) {
        let at = self.below(self.input.len() + 1);
        let len = self.below(16) + 1;
        let end = (at + len).min(self.input.len());
        match self.draw() % 8 {
            0 if at < self.input.len() => self.input[at] ^= 1 << (self.draw() % 8),
            1 if at < self.input.len() => self.input[at] = self.draw().to_le_bytes()[0],
            2 => drop(self.input.drain(at..end)),
            3 => {
                let piece = self.input[at..end].to_vec();
                self.insert(at, &piece);
            }
            4 => {
                let edge = EDGES[self.below(EDGES.len())];
                self.insert(at, edge);
            }
            5 => {
                let edge = EDGES[self.below(EDGES.len())];
                for (byte, new) in self.input[at..].iter_mut().zip(edge) {
                    *byte = *new;
                }
            }
            6 => self.splice(at),
            _ => self.input.truncate(at),
        }
    }

    /// Goes on with the rest of another input.
    fn splice(&mut self, at: usize) {
        if self.corpus.is_empty() {
            return;
        }
        let other = self.below(self.corpus.len());
        let from = self.below(self.corpus[other].len() + 1);
        let rest = self.corpus[other][from..].to_vec();
        self.input.truncate(at);
        self.input.extend(rest);
    }

    fn insert(&mut self, at: usize, piece: &[u8]) {
        self.input.splice(at..at, piece.iter().copied());
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.draw() % bound).expect("it is below a usize")
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_the_same_inputs_and_another_makes_others() {
        let corpus = || vec![vec![1; 40], b"key = 1".to_vec()];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, corpus());
            (0..50).map(|_| mutator.next_input().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn without_a_corpus_there_are_inputs_all_the_same() {
        let mut mutator = Mutator::new(3, Vec::new());
        assert!((0..100).any(|_| !mutator.next_input().is_empty()));
    }
}
