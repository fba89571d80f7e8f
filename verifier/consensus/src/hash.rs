//! Hashes, by the same code as the rest of the program: it knows the processor's instructions.

use ring::digest::{Context, SHA256, digest};

/// SHA-256 of SHA-256.
pub(crate) fn sha256d(bytes: &[u8]) -> [u8; 32] {
    again(digest(&SHA256, bytes).as_ref())
}

/// [`sha256d`] of pieces that stand one after the other.
pub(crate) fn sha256d_of(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    again(context.finish().as_ref())
}

/// The merkle root over at least one leaf.
///
/// # Panics
/// If there is none.
pub(crate) fn merkle_root(mut row: Vec<[u8; 32]>) -> [u8; 32] {
    while row.len() > 1 {
        if row.len() % 2 == 1 {
            row.push(row[row.len() - 1]);
        }
        let parents = row.len() / 2;
        for parent in 0..parents {
            row[parent] = sha256d(row[2 * parent..2 * parent + 2].as_flattened());
        }
        row.truncate(parents);
    }
    row[0]
}

fn again(first: &[u8]) -> [u8; 32] {
    digest(&SHA256, first).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::{Hash, sha256d as theirs};
    use bitcoin::merkle_tree;

    use super::*;

    #[test]
    fn hashes_are_bitcoins() {
        let bytes: Vec<u8> = (0..=255).collect();
        for end in [0, 1, 63, 64, 65, 255] {
            let expect = theirs::Hash::hash(&bytes[..end]).to_byte_array();
            assert_eq!(sha256d(&bytes[..end]), expect);
            assert_eq!(sha256d_of(&[&bytes[..end / 3], &[], &bytes[end / 3..end]]), expect);
        }
    }

    #[test]
    fn roots_are_bitcoins() {
        for count in (1..40).chain([255, 256, 257]) {
            let leaves: Vec<_> = (0..count).map(|leaf: u16| sha256d(&leaf.to_le_bytes())).collect();
            let theirs = leaves.iter().map(|leaf| theirs::Hash::from_byte_array(*leaf));
            let expect = merkle_tree::calculate_root(theirs).unwrap().to_byte_array();
            assert_eq!(merkle_root(leaves), expect, "{count} leaves");
        }
    }
}
