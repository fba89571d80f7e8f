//! The merkle path from the coinbase to the root.

use bitcoin::Txid;
use bitcoin::hashes::Hash as _;

use crate::ids::sha256d;

/// The siblings of the coinbase from the leaves upwards, each in internal byte order; `txids` are
/// those of every transaction but the coinbase, in block order.
///
/// Where a level is odd its last node is paired with itself, as in Bitcoin's merkle tree.
pub fn merkle_path(txids: impl IntoIterator<Item = Txid>) -> Vec<[u8; 32]> {
    // The coinbase's place on each level is the first; it is kept out of the list.
    let mut level: Vec<[u8; 32]> = txids.into_iter().map(Txid::to_byte_array).collect();
    let mut path = Vec::new();
    while let Some((sibling, rest)) = level.split_first() {
        path.push(*sibling);
        let parents = rest
            .chunks(2)
            .map(|pair| sha256d(&[&pair[0], pair.last().expect("chunks are never empty")]))
            .collect();
        level = parents;
    }
    path
}

/// The merkle root for a coinbase of this txid (internal byte order) under `path`.
pub fn merkle_root(coinbase_txid: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(coinbase_txid, |root, sibling| sha256d(&[&root, sibling]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::cases;

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn root_from_path_is_root_of_the_whole_list(
            leaves in prop::collection::vec(any::<[u8; 32]>(), 1..40),
        ) {
            let txids: Vec<Txid> = leaves.iter().copied().map(Txid::from_byte_array).collect();
            let path = merkle_path(txids[1..].iter().copied());
            let whole = bitcoin::merkle_tree::calculate_root(txids.into_iter()).unwrap();
            prop_assert_eq!(merkle_root(leaves[0], &path), whole.to_byte_array());
        }
    }
}
