//! What a pool can check of a request without trusting the gateway.

use axum::http::HeaderMap;
use bitcoin::hashes::{Hash, sha256, sha256d};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// How old a timestamp may be, in milliseconds.
const MAX_SKEW_MS: u64 = 300_000;

/// 2^224 less a rounding: the target of difficulty 1 as a number.
const DIFFICULTY_ONE: f64 = 65_535.0
    * 4_294_967_296.0
    * 4_294_967_296.0
    * 4_294_967_296.0
    * 4_294_967_296.0
    * 4_294_967_296.0
    * 4_294_967_296.0
    * 65_536.0;

/// How exact a difficulty must be: it crosses the wire as a float.
const PRECISION: f64 = 1e-9;

/// A share as the gateway forwards it.
#[derive(Deserialize)]
pub(super) struct Share {
    pub(super) share_id: String,
    pub(super) event_id: String,
    pub(super) job_ref: String,
    version: u32,
    ntime: u32,
    nonce: u32,
    extranonce: String,
    difficulty: f64,
    header: String,
}

/// What a share was mined on.
#[derive(Deserialize)]
pub(super) struct Job {
    /// In the order of Bitcoin's RPC.
    prev_hash: String,
    nbits: u32,
    coinbase_prefix: String,
    coinbase_suffix: String,
    /// In internal byte order.
    merkle_path: Vec<String>,
}

/// The request is signed with the secret, and lately.
pub(super) fn signature(
    headers: &HeaderMap,
    body: &[u8],
    secret: &SecretString,
    now_ms: u64,
) -> Result<(), String> {
    let timestamp = header(headers, "x-timestamp")?;
    let sent_ms: u64 =
        timestamp.parse().map_err(|_| "X-Timestamp is not in Unix milliseconds".to_owned())?;
    if sent_ms.abs_diff(now_ms) > MAX_SKEW_MS {
        return Err(format!("X-Timestamp is {} ms off", sent_ms.abs_diff(now_ms)));
    }
    let signature = header(headers, "x-signature")?
        .strip_prefix("sha256=")
        .and_then(|hex| const_hex::decode(hex).ok())
        .ok_or("X-Signature is not sha256=<hex>")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut message = timestamp.as_bytes().to_vec();
    message.push(b'.');
    message.extend_from_slice(body);
    hmac::verify(&key, &message, &signature).map_err(|_| "X-Signature does not verify".to_owned())
}

/// The key names exactly these shares.
pub(super) fn idempotency_key<'a>(
    headers: &HeaderMap,
    share_ids: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let key = header(headers, "idempotency-key")?;
    let ids: Vec<&str> = share_ids.collect();
    let expected = match ids.as_slice() {
        [one] => (*one).to_owned(),
        many => const_hex::encode(sha256::Hash::hash(many.concat().as_bytes()).as_byte_array()),
    };
    if key == expected { Ok(()) } else { Err("Idempotency-Key is not of these shares".to_owned()) }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| format!("the header {name} is missing"))
}

impl Share {
    /// Builds the header from the job alone, and hashes it.
    pub(super) fn check(&self, job: &Job) -> Result<(), String> {
        let mut header = self.version.to_le_bytes().to_vec();
        let mut prev_hash = bytes("prev_hash", &job.prev_hash)?;
        prev_hash.reverse();
        header.extend_from_slice(&prev_hash);
        header.extend_from_slice(&job.merkle_root(&self.extranonce)?);
        for field in [self.ntime, job.nbits, self.nonce] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        if header != bytes("header", &self.header)? {
            return Err("the header is not that of the job".to_owned());
        }
        if const_hex::encode(sha256::Hash::hash(&header).as_byte_array()) != self.share_id {
            return Err("share_id is not SHA-256 of the header".to_owned());
        }
        let found = difficulty(&sha256d::Hash::hash(&header).to_byte_array());
        if found < self.difficulty * (1.0 - PRECISION) {
            return Err(format!("its difficulty is {found}, not {}", self.difficulty));
        }
        Ok(())
    }
}

impl Share {
    /// What the coinbase pays that was hashed for it; none where it is no transaction.
    pub(super) fn pays(&self, job: &Job) -> Option<Vec<(String, u64)>> {
        let coinbase = job.coinbase(&self.extranonce).ok()?;
        let coinbase = bitcoin::consensus::deserialize(&coinbase).ok()?;
        Some(crate::actors::pays(&coinbase))
    }
}

impl Job {
    fn coinbase(&self, extranonce: &str) -> Result<Vec<u8>, String> {
        let mut coinbase = bytes("coinbase_prefix", &self.coinbase_prefix)?;
        coinbase.extend_from_slice(&bytes("extranonce", extranonce)?);
        coinbase.extend_from_slice(&bytes("coinbase_suffix", &self.coinbase_suffix)?);
        Ok(coinbase)
    }

    fn merkle_root(&self, extranonce: &str) -> Result<[u8; 32], String> {
        let coinbase = self.coinbase(extranonce)?;
        let mut node = sha256d::Hash::hash(&coinbase).to_byte_array();
        for sibling in &self.merkle_path {
            let pair = [node.as_slice(), &bytes("merkle_path", sibling)?].concat();
            node = sha256d::Hash::hash(&pair).to_byte_array();
        }
        Ok(node)
    }

    /// Names the tip and the transactions: what a verdict is about.
    pub(super) fn work_id(&self) -> String {
        let path: Vec<[u8; 32]> = self
            .merkle_path
            .iter()
            .filter_map(|node| const_hex::decode_to_array(node).ok())
            .collect();
        crate::actors::work_id(&self.prev_hash, &path)
    }
}

fn bytes(field: &str, hex: &str) -> Result<Vec<u8>, String> {
    const_hex::decode(hex).map_err(|_| format!("{field} is not hex"))
}

/// The difficulty of a hash in internal byte order.
fn difficulty(hash: &[u8; 32]) -> f64 {
    let number = hash.iter().rev().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
    DIFFICULTY_ONE / number.max(1.0)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const SECRET: &str = "pool secret";

    fn signed(timestamp: &str, body: &[u8], secret: &str) -> HeaderMap {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let message = [timestamp.as_bytes(), b".", body].concat();
        let hex = const_hex::encode(hmac::sign(&key, &message));
        let mut headers = HeaderMap::new();
        headers.insert("X-Timestamp", HeaderValue::from_str(timestamp).unwrap());
        let signature = HeaderValue::from_str(&format!("sha256={hex}")).unwrap();
        headers.insert("X-Signature", signature);
        headers
    }

    fn check(headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
        signature(headers, body, &SecretString::from(SECRET), 1_000_000)
    }

    #[test]
    fn only_the_right_signature_verifies() {
        assert_eq!(check(&signed("1000000", b"{}", SECRET), b"{}"), Ok(()));
        let refused = |headers: &HeaderMap, body: &[u8]| check(headers, body).unwrap_err();
        let good = signed("1000000", b"{}", SECRET);
        assert!(refused(&good, b"{ }").contains("does not verify"));
        assert!(refused(&signed("1000000", b"{}", "other"), b"{}").contains("does not verify"));
        assert!(refused(&signed("1", b"{}", SECRET), b"{}").contains("ms off"));
        assert!(refused(&HeaderMap::new(), b"{}").contains("x-timestamp is missing"));
        let mut bare = good;
        bare.insert("X-Signature", HeaderValue::from_static("abc"));
        assert!(refused(&bare, b"{}").contains("sha256=<hex>"));
    }

    #[test]
    fn the_idempotency_key_names_the_shares() {
        let key = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Idempotency-Key", HeaderValue::from_str(text).unwrap());
            headers
        };
        assert_eq!(idempotency_key(&key("aa"), ["aa"].into_iter()), Ok(()));
        let both = const_hex::encode(sha256::Hash::hash(b"aabb").as_byte_array());
        assert_eq!(idempotency_key(&key(&both), ["aa", "bb"].into_iter()), Ok(()));
        assert!(idempotency_key(&key("aa"), ["bb"].into_iter()).is_err());
    }

    /// The genesis block of Bitcoin as a share of difficulty 1.
    fn genesis() -> (Share, Job) {
        let block = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        let header = bitcoin::consensus::serialize(&block.header);
        let coinbase = bitcoin::consensus::serialize(&block.txdata[0]);
        let (prefix, rest) = coinbase.split_at(60);
        let (extranonce, suffix) = rest.split_at(8);
        let share = Share {
            share_id: const_hex::encode(sha256::Hash::hash(&header).as_byte_array()),
            event_id: String::new(),
            job_ref: String::new(),
            version: 1,
            ntime: block.header.time,
            nonce: block.header.nonce,
            extranonce: const_hex::encode(extranonce),
            difficulty: 1.0,
            header: const_hex::encode(header),
        };
        let job = Job {
            prev_hash: "00".repeat(32),
            nbits: block.header.bits.to_consensus(),
            coinbase_prefix: const_hex::encode(prefix),
            coinbase_suffix: const_hex::encode(suffix),
            merkle_path: Vec::new(),
        };
        (share, job)
    }

    #[test]
    fn a_share_holds_when_rebuilt_from_its_job() {
        let (share, job) = genesis();
        assert_eq!(share.check(&job), Ok(()));
    }

    #[test]
    fn each_false_claim_is_seen() {
        let refused = |change: fn(&mut Share, &mut Job)| {
            let (mut share, mut job) = genesis();
            change(&mut share, &mut job);
            share.check(&job).unwrap_err()
        };
        assert!(refused(|share, _| share.nonce += 1).contains("header is not that"));
        assert!(refused(|_, job| job.merkle_path.push("00".repeat(32))).contains("not that"));
        assert!(refused(|share, _| share.share_id = "00".repeat(32)).contains("share_id"));
        assert!(refused(|share, _| share.difficulty = 1e6).contains("its difficulty is"));
        assert!(refused(|share, _| share.extranonce = "xy".to_owned()).contains("not hex"));
    }
}
