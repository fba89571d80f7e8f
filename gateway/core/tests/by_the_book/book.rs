//! What the specifications say of a share, written from them alone.
//!
//! Nothing here is shared with the gateway: coinbases are concatenated byte by byte, trees are
//! built level by level, and numbers are compared digit by digit.

use ring::digest::{SHA256, digest};

/// Hashed twice by SHA-256.
pub(crate) fn twice(bytes: &[u8]) -> [u8; 32] {
    let once = digest(&SHA256, bytes);
    digest(&SHA256, once.as_ref()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What a coinbase is made of.
pub(crate) struct Coinbase<'a> {
    pub(crate) height: u32,
    pub(crate) tag: &'a [u8],
    pub(crate) value: u64,
    /// Scripts and their parts; what division leaves over is the first one's.
    pub(crate) payouts: &'a [(Vec<u8>, u64)],
    pub(crate) commitment: &'a [u8],
}

impl Coinbase<'_> {
    /// The transaction without its witness, whose hash is its txid.
    pub(crate) fn bytes(&self, extranonce: &[u8]) -> Vec<u8> {
        let mut script = push(&script_number(self.height));
        script.extend(push(self.tag));
        script.extend(push(extranonce));
        let mut bytes = vec![2, 0, 0, 0, 1];
        bytes.extend([0; 32]);
        bytes.extend([0xff; 4]);
        bytes.push(script.len() as u8);
        bytes.extend(script);
        bytes.extend([0xff; 4]);
        bytes.push(self.payouts.len() as u8 + 1);
        let parts: u64 = self.payouts.iter().map(|(_, parts)| parts).sum();
        let dues: Vec<u64> =
            self.payouts.iter().map(|(_, part)| self.value * part / parts).collect();
        let rest = self.value - dues.iter().sum::<u64>();
        for (index, ((script, _), due)) in self.payouts.iter().zip(&dues).enumerate() {
            bytes.extend((due + if index == 0 { rest } else { 0 }).to_le_bytes());
            bytes.extend(push(script));
        }
        bytes.extend([0; 8]);
        bytes.extend(push(self.commitment));
        bytes.extend([0; 4]);
        bytes
    }
}

/// A length of one byte and what it is the length of.
fn push(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 76, "longer ones are written otherwise");
    [&[bytes.len() as u8], bytes].concat()
}

/// BIP 34: little-endian, as short as may be, and not negative.
fn script_number(mut height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while height > 0 {
        bytes.push((height % 256) as u8);
        height /= 256;
    }
    if bytes.last().is_some_and(|last| *last >= 0x80) {
        bytes.push(0);
    }
    bytes
}

/// The root of the whole tree: on a level of an odd number the last is paired with itself.
pub(crate) fn merkle_root(coinbase: [u8; 32], others: &[[u8; 32]]) -> [u8; 32] {
    let mut level = vec![coinbase];
    level.extend(others);
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(*level.last().expect("it has several"));
        }
        level = level.chunks(2).map(|pair| twice(&pair.concat())).collect();
    }
    level[0]
}

/// The fields of a header in their order.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) prev_hash: [u8; 32],
    pub(crate) merkle_root: [u8; 32],
    pub(crate) ntime: u32,
    pub(crate) nbits: u32,
    pub(crate) nonce: u32,
}

impl Header {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        bytes.extend(self.prev_hash);
        bytes.extend(self.merkle_root);
        bytes.extend(self.ntime.to_le_bytes());
        bytes.extend(self.nbits.to_le_bytes());
        bytes.extend(self.nonce.to_le_bytes());
        bytes
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        twice(&self.bytes())
    }
}

/// Whether a number is at most another; both are little-endian.
pub(crate) fn is_at_most(number: &[u8; 32], bound: &[u8; 32]) -> bool {
    for index in (0..32).rev() {
        if number[index] != bound[index] {
            return number[index] < bound[index];
        }
    }
    true
}

/// A little-endian number and its neighbour above (`up`) or below; the same where there is none.
pub(crate) fn neighbour(number: &[u8; 32], up: bool) -> [u8; 32] {
    let mut next = *number;
    for digit in &mut next {
        let (stepped, carries) =
            if up { digit.overflowing_add(1) } else { digit.overflowing_sub(1) };
        *digit = stepped;
        if !carries {
            return next;
        }
    }
    *number
}

/// A job as the wire told of it.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) id: u32,
    pub(crate) version: u32,
    pub(crate) min_ntime: u32,
    /// When it was sent, seconds since the start with their fraction in milliseconds.
    pub(crate) sent_ms: u64,
    pub(crate) prev_hash: [u8; 32],
    pub(crate) nbits: u32,
    /// The channel's target when it was sent.
    pub(crate) target: [u8; 32],
    /// Which of the test's templates it is of.
    pub(crate) template: usize,
    /// Which tip of the channel it is for, counted from the first.
    pub(crate) tip: usize,
}

/// A share as it was sent.
#[derive(Clone)]
pub(crate) struct Share {
    pub(crate) channel_id: u32,
    pub(crate) job_id: u32,
    pub(crate) version: u32,
    pub(crate) ntime: u32,
    pub(crate) nonce: u32,
    pub(crate) rolled: Vec<u8>,
}

/// What a channel allows.
pub(crate) struct Rules {
    pub(crate) channel_id: u32,
    pub(crate) rolled_bytes: usize,
    pub(crate) version_mask: u32,
    /// How far `ntime` may be ahead beyond the letter of the specification; `None`: not at all.
    pub(crate) ahead_s: Option<u64>,
}

/// How far the clock of a miner may be ahead of the gateway's.
const CLOCKS_DIFFER_S: u64 = 10;

impl Rules {
    /// Every fault of a share that shows before it is hashed, by the code it earns. `tip` is the
    /// one the channel is on.
    pub(crate) fn faults(
        &self,
        share: &Share,
        job: Option<&Job>,
        tip: usize,
        now_ms: u64,
        unix_s: u64,
    ) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if share.channel_id != self.channel_id {
            faults.push("invalid-channel-id");
        }
        if share.rolled.len() != self.rolled_bytes {
            faults.push("bad-extranonce-size");
        }
        let Some(job) = job else {
            faults.push("invalid-job-id");
            return faults;
        };
        if job.tip < tip {
            faults.push("stale-share");
        }
        // BIP 310 and BIP 323: bits outside the mask are the job's.
        for bit in 0..32 {
            let is_rolled = (share.version >> bit) & 1 != (job.version >> bit) & 1;
            if is_rolled && (self.version_mask >> bit) & 1 == 0 {
                faults.push(match self.version_mask {
                    0 => "version-rolling-not-allowed",
                    _ => "invalid-non-rollable-version-bit",
                });
                break;
            }
        }
        // SV2 5.3.11: not before the job's, and no further on than time has gone since.
        let (ntime, least) = (u64::from(share.ntime), u64::from(job.min_ntime));
        let by_the_letter = least + (now_ms - job.sent_ms) / 1000;
        let latest = match self.ahead_s {
            None => by_the_letter,
            Some(ahead) => by_the_letter.max(unix_s + CLOCKS_DIFFER_S) + ahead,
        };
        if ntime < least || ntime > latest {
            faults.push("ntime-out-of-range");
        }
        faults
    }
}
