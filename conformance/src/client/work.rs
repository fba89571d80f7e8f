//! The work that the scripted server gives: coinbases, merkle roots and targets.

use bitcoin::hashes::{Hash, sha256d};
use sv2_wire::U256;

/// Bytes of extranonce in every coinbase.
pub(super) const EXTRANONCE_LEN: usize = 20;
/// Difficulty 1, so that hardly any share is a block, as it is in earnest.
pub(super) const NBITS: u32 = 0x1d00_ffff;
pub(super) const VERSION: u32 = 0x2000_0000;
/// The bits that BIP 323 leaves to miners.
pub(super) const ROLLED_BITS: u32 = 0x1fff_ffe0;
/// Sibling of the coinbase in every block.
const SIBLING: U256 = U256([7; 32]);

/// The parts of a coinbase around the extranonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coinbase {
    pub(super) prefix: Vec<u8>,
    pub(super) suffix: Vec<u8>,
    pub(super) path: [U256; 1],
}

impl Coinbase {
    /// One that differs from all others by `number`, which stands where the height does.
    pub(super) fn new(number: u32, extranonce_len: usize) -> Self {
        let [low, middle, high, _] = number.to_le_bytes();
        let script_len = u8::try_from(4 + extranonce_len).expect("an extranonce is short");
        let mut prefix = vec![2, 0, 0, 0, 1];
        prefix.extend([0; 32]);
        prefix.extend([0xff; 4]);
        prefix.extend([script_len, 3, low, middle, high]);
        let mut suffix = vec![0xff; 4];
        suffix.push(1);
        suffix.extend(5_000_000_000_u64.to_le_bytes());
        suffix.extend([1, 0x51]); // OP_TRUE
        suffix.extend([0; 4]);
        Self { prefix, suffix, path: [SIBLING] }
    }

    /// The merkle root with this extranonce.
    pub(super) fn root(&self, extranonce: &[u8]) -> U256 {
        let coinbase = [&self.prefix, extranonce, &self.suffix].concat();
        let txid = sha256d::Hash::hash(&coinbase).to_byte_array();
        U256(self.path.iter().fold(txid, |node, sibling| {
            sha256d::Hash::hash(&[node, sibling.0].concat()).to_byte_array()
        }))
    }
}

/// The target that so many hashes meet once on the average.
pub(super) fn target(hashes: u64) -> U256 {
    let top = u128::MAX / u128::from(hashes.max(1));
    let mut bytes = [0xff; 32];
    bytes[16..].copy_from_slice(&top.to_le_bytes());
    U256(bytes)
}

/// The hash of a header.
pub(super) fn hash(header: &[u8; 80]) -> U256 {
    U256(sha256d::Hash::hash(header).to_byte_array())
}
