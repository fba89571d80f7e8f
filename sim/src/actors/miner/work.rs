//! Work and the grinding of headers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::CompactTarget;
use bitcoin::hashes::{Hash, sha256, sha256d};
use sv2_wire::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};

use crate::actors::observe::ShareClass;

/// How many headers are tried for one share. A class that needs more is out of reach, as blocks
/// are on a chain with a real difficulty.
const TRIES: u32 = 1 << 22;

/// A version bit that no mask allows to roll (BIP 323 allows 5 to 28).
const FIXED_VERSION_BIT: u32 = 1 << 30;

/// How far beside the real ones invented ids lie.
const INVENTED: u32 = 100_000;

/// A threshold for hashes: 32 bytes, little-endian.
pub(crate) type Target = [u8; 32];

/// What a channel works on.
pub(crate) struct Board {
    pub(crate) channel_id: u32,
    /// The target of jobs that come from now on.
    pub(crate) target: Target,
    /// The version bits that the miner rolls.
    pub(crate) version_mask: u32,
    /// What is in front of the bytes that an extended channel rolls, and how many those are.
    extranonce: (Vec<u8>, usize),
    futures: BTreeMap<u32, Announced>,
    active: Option<Work>,
    /// The last work on the tip before.
    stale: Option<Work>,
    /// The work before the active one on the same tip.
    before: Option<Work>,
}

/// Where the merkle root of a job comes from.
#[derive(Clone)]
enum Root {
    /// The job brings it.
    Fixed([u8; 32]),
    /// The coinbase around the rolled bytes, and the way up.
    Rolled { before: Arc<[u8]>, after: Arc<[u8]>, path: Arc<[[u8; 32]]>, rolled: usize },
}

impl Root {
    /// The root with these bytes rolled.
    fn with(&self, extranonce: &[u8]) -> [u8; 32] {
        match self {
            Self::Fixed(root) => *root,
            Self::Rolled { before, after, path, .. } => {
                let coinbase = [before.as_ref(), extranonce, after].concat();
                let leaf = sha256d::Hash::hash(&coinbase).to_byte_array();
                path.iter().fold(leaf, |node, sibling| {
                    sha256d::Hash::hash(&[node, *sibling].concat()).to_byte_array()
                })
            }
        }
    }

    /// Bytes to roll, drawn from a nonce.
    fn extranonce(&self, nonce: u32) -> Vec<u8> {
        let rolled = if let Self::Rolled { rolled, .. } = self { *rolled } else { 0 };
        nonce.to_le_bytes().into_iter().cycle().take(rolled).collect()
    }
}

/// A job that waits for its SetNewPrevHash.
#[derive(Clone)]
struct Announced {
    version: u32,
    root: Root,
    target: Target,
}

/// Everything a header needs but the nonce.
#[derive(Clone)]
pub(crate) struct Work {
    job_id: u32,
    version: u32,
    root: Root,
    target: Target,
    prev_hash: [u8; 32],
    nbits: u32,
    min_ntime: u32,
}

/// A header that is good for its class, as it is submitted.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) class: ShareClass,
    pub(crate) channel_id: u32,
    pub(crate) job_id: u32,
    pub(crate) nonce: u32,
    pub(crate) ntime: u32,
    pub(crate) version: u32,
    pub(crate) prev_hash: [u8; 32],
    /// The rolled bytes; empty on a standard channel.
    pub(crate) extranonce: Vec<u8>,
    header: [u8; 80],
}

impl Board {
    pub(crate) fn new(channel_id: u32, target: Target) -> Self {
        Self {
            channel_id,
            target,
            version_mask: 0,
            extranonce: (Vec::new(), 0),
            futures: BTreeMap::new(),
            active: None,
            stale: None,
            before: None,
        }
    }

    /// The board of an extended channel.
    pub(crate) fn extended(channel_id: u32, target: Target, prefix: &[u8], rolled: usize) -> Self {
        Self { extranonce: (prefix.to_vec(), rolled), ..Self::new(channel_id, target) }
    }

    /// Whether the channel rolls extranonces.
    pub(crate) fn is_extended(&self) -> bool {
        self.extranonce.1 > 0
    }

    /// A job came. False where it is for the tip at once and there is none.
    pub(crate) fn job(&mut self, job: &NewMiningJob) -> bool {
        let root = Root::Fixed(job.merkle_root.0);
        self.announce(job.job_id, job.min_ntime, job.version, root)
    }

    /// A job of an extended channel came. False where it is for the tip at once and there is none.
    pub(crate) fn extended_job(&mut self, job: &NewExtendedMiningJob<'_>) -> bool {
        let (prefix, rolled) = &self.extranonce;
        let root = Root::Rolled {
            before: [job.coinbase_tx_prefix.as_bytes(), prefix].concat().into(),
            after: job.coinbase_tx_suffix.as_bytes().into(),
            path: job.merkle_path.iter().map(|node| node.0).collect(),
            rolled: *rolled,
        };
        self.announce(job.job_id, job.min_ntime, job.version, root)
    }

    fn announce(&mut self, id: u32, min_ntime: Option<u32>, version: u32, root: Root) -> bool {
        // A job keeps the target that it came with (specification 5.3.21).
        let announced = Announced { version, root, target: self.target };
        match (min_ntime, &self.active) {
            (None, _) => drop(self.futures.insert(id, announced)),
            (Some(min_ntime), Some(active)) => {
                let (prev_hash, nbits) = (active.prev_hash, active.nbits);
                let next = announced.on(id, prev_hash, nbits, min_ntime);
                self.before = self.active.replace(next);
            }
            (Some(_), None) => return false,
        }
        true
    }

    /// A new tip came. False where its job was not announced.
    pub(crate) fn prev_hash(&mut self, new: &SetNewPrevHash) -> bool {
        let Some(mut announced) = self.futures.remove(&new.job_id) else { return false };
        announced.target = self.target;
        // Every other job is void with the tip that it was for (specification 5.3.14).
        self.futures.clear();
        self.before = None;
        self.stale = self.active.take();
        self.active = Some(announced.on(new.job_id, new.prev_hash.0, new.nbits, new.min_ntime));
        true
    }

    pub(crate) fn has_work(&self) -> bool {
        self.active.is_some()
    }

    /// The tip that is worked on.
    pub(crate) fn tip(&self) -> Option<[u8; 32]> {
        self.active.as_ref().map(|work| work.prev_hash)
    }

    /// How many hashes a share of the active job takes on the average.
    pub(crate) fn hashes_a_share(&self) -> Option<f64> {
        let target = self.active.as_ref()?.target;
        let number = target.iter().rev().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
        Some(256_f64.powi(32) / (number + 1.0))
    }

    /// Finds a header of this class, starting at a nonce and not before a time. A stale one needs
    /// an older tip; `None` where there is none, where there is no work, or where no try fits.
    pub(crate) fn grind(&self, class: ShareClass, nonce: u32, now_s: u32) -> Option<Ground> {
        let work = match class {
            ShareClass::Stale => self.stale.as_ref()?,
            ShareClass::OldJob => self.before.as_ref()?,
            _ => self.active.as_ref()?,
        };
        let extranonce = work.root.extranonce(nonce);
        let merkle_root = work.root.with(&extranonce);
        let mut ground = Ground {
            class,
            channel_id: self.channel_id,
            job_id: work.job_id,
            nonce,
            ntime: work.min_ntime.max(now_s),
            version: work.version ^ (nonce & self.version_mask),
            prev_hash: work.prev_hash,
            extranonce,
            header: [0; 80],
        };
        match class {
            ShareClass::BadNtime => ground.ntime = work.min_ntime - 1,
            ShareClass::BadVersionBits => ground.version ^= FIXED_VERSION_BIT,
            ShareClass::UnknownJob => ground.job_id += INVENTED,
            ShareClass::UnknownChannel => ground.channel_id += INVENTED,
            _ => {}
        }
        let network =
            bitcoin::Target::from_compact(CompactTarget::from_consensus(work.nbits)).to_le_bytes();
        for _ in 0..TRIES {
            ground.header = work.header(&merkle_root, &ground);
            if fits(class, ground.hash(), &work.target, &network) {
                if class == ShareClass::BadExtranonce {
                    ground.extranonce.pop();
                }
                return Some(ground);
            }
            ground.nonce = ground.nonce.wrapping_add(1);
        }
        None
    }
}

/// Whether a hash is of a class. Faults other than of difficulty are on hashes that are good.
fn fits(class: ShareClass, hash: [u8; 32], target: &Target, network: &Target) -> bool {
    let meets = |target: &Target| hash.iter().rev().le(target.iter().rev());
    match class {
        ShareClass::Block => meets(network) && meets(target),
        ShareClass::LowDifficulty => !meets(target),
        _ => meets(target) && !meets(network),
    }
}

impl Announced {
    fn on(self, job_id: u32, prev_hash: [u8; 32], nbits: u32, min_ntime: u32) -> Work {
        let Self { version, root, target } = self;
        Work { job_id, version, root, target, prev_hash, nbits, min_ntime }
    }
}

impl Work {
    fn header(&self, merkle_root: &[u8; 32], ground: &Ground) -> [u8; 80] {
        let mut header = [0; 80];
        header[..4].copy_from_slice(&ground.version.to_le_bytes());
        header[4..36].copy_from_slice(&self.prev_hash);
        header[36..68].copy_from_slice(merkle_root);
        header[68..72].copy_from_slice(&ground.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        header[76..].copy_from_slice(&ground.nonce.to_le_bytes());
        header
    }
}

impl Ground {
    /// The same header, sent for another reason.
    pub(crate) fn into_class(self, class: ShareClass) -> Self {
        Self { class, ..self }
    }

    /// The hash in internal byte order.
    fn hash(&self) -> [u8; 32] {
        sha256d::Hash::hash(&self.header).to_byte_array()
    }

    /// The block hash as it is shown.
    pub(crate) fn shown_hash(&self) -> String {
        shown(&self.hash())
    }

    /// The share's id: SHA-256 of the header.
    pub(crate) fn share_id(&self) -> String {
        const_hex::encode(sha256::Hash::hash(&self.header).as_byte_array())
    }
}

/// A block hash in internal byte order, as it is shown.
pub(crate) fn shown(hash: &[u8; 32]) -> String {
    let mut reversed = *hash;
    reversed.reverse();
    const_hex::encode(reversed)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use sv2_wire::U256;

    use super::*;

    const REGTEST_BITS: u32 = 0x207f_ffff;

    fn job(job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
        let merkle_root = U256([job_id as u8; 32]);
        NewMiningJob { channel_id: 1, job_id, min_ntime, version: 0x2000_0000, merkle_root }
    }

    fn new_prev_hash(job_id: u32, tip: u8) -> SetNewPrevHash {
        SetNewPrevHash {
            channel_id: 1,
            job_id,
            prev_hash: U256([tip; 32]),
            min_ntime: 1_000,
            nbits: REGTEST_BITS,
        }
    }

    /// A board on its second tip, with a target between regtest's and the easiest.
    fn board() -> Board {
        let mut target = [0xff; 32];
        target[31] = 0xc0;
        let mut board = Board::new(1, target);
        for (id, tip) in [(1, 0xaa), (2, 0xbb)] {
            assert!(board.job(&job(id, None)));
            assert!(board.prev_hash(&new_prev_hash(id, tip)));
        }
        board
    }

    #[rstest]
    #[case(ShareClass::Block)]
    #[case(ShareClass::Share)]
    #[case(ShareClass::LowDifficulty)]
    #[case(ShareClass::BadNtime)]
    #[case(ShareClass::BadVersionBits)]
    #[case(ShareClass::UnknownJob)]
    #[case(ShareClass::UnknownChannel)]
    #[case(ShareClass::Stale)]
    fn each_class_is_ground_within_a_few_tries(#[case] class: ShareClass) {
        let ground = board().grind(class, 7, 2_000).unwrap();
        assert!(ground.nonce < 7 + 100, "took until nonce {}", ground.nonce);
        let top = ground.hash()[31];
        match class {
            ShareClass::Block => assert!(top < 0x80),
            ShareClass::LowDifficulty => assert!(top >= 0xc0),
            _ => assert!((0x80..0xc1).contains(&top)),
        }
        let tip = if class == ShareClass::Stale { 0xaa } else { 0xbb };
        assert_eq!(ground.prev_hash, [tip; 32]);
    }

    #[test]
    fn a_share_takes_as_many_hashes_as_its_target_says() {
        // The target is three quarters of all hashes.
        let hashes = board().hashes_a_share().unwrap();
        assert!((hashes - 4.0 / 3.0).abs() < 0.01, "{hashes}");
        assert_eq!(Board::new(1, [0xff; 32]).hashes_a_share(), None);
    }

    #[test]
    fn faults_are_where_their_class_says() {
        let grind = |class| board().grind(class, 0, 2_000).unwrap();
        assert_eq!(grind(ShareClass::BadNtime).ntime, 999);
        assert_eq!(grind(ShareClass::BadVersionBits).version, 0x6000_0000);
        assert_eq!(grind(ShareClass::UnknownJob).job_id, 2 + INVENTED);
        assert_eq!(grind(ShareClass::UnknownChannel).channel_id, 1 + INVENTED);
        assert_eq!(grind(ShareClass::Share).ntime, 2_000);
    }

    #[test]
    fn jobs_of_an_old_tip_are_void() {
        let mut board = board();
        assert!(board.job(&job(3, None)));
        assert!(board.job(&job(4, None)));
        assert!(board.prev_hash(&new_prev_hash(4, 0xcc)));
        assert!(!board.prev_hash(&new_prev_hash(3, 0xdd)), "job 3 was for the tip before");
    }

    #[test]
    fn a_job_for_now_needs_a_tip() {
        let mut fresh = Board::new(1, [0xff; 32]);
        assert!(!fresh.job(&job(1, Some(5))));
        assert!(fresh.grind(ShareClass::Share, 0, 0).is_none());
        let mut board = board();
        assert!(board.job(&job(9, Some(3_000))));
        let ground = board.grind(ShareClass::Share, 0, 0).unwrap();
        assert_eq!((ground.job_id, ground.ntime), (9, 3_000));
    }
}
