//! The coinbase transaction around a space for the extranonce.

use bitcoin::ScriptBuf;
use bitcoin::VarInt;
use bitcoin::consensus::Encodable as _;
use bitcoin::script::{Builder, PushBytesBuf};

use super::template::Template;
use super::work::BuildError;
use crate::ids::sha256d;
use crate::limits::{EXTRANONCE_BYTES, MAX_COINBASE_SUFFIX_BYTES, MAX_SCRIPT_SIG_BYTES};

/// What the operator puts into every coinbase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinbaseSpec {
    /// Text behind the height (`gateway.coinbase_tag`); may be empty.
    pub tag: Vec<u8>,
    /// Who is paid, at least one (`gateway.payout_outputs`).
    pub payouts: Vec<PayoutOutput>,
}

/// One payee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutOutput {
    /// Where to.
    pub script_pubkey: ScriptBuf,
    /// How many parts of the sum of all parts. What division leaves over goes to the first payee.
    pub parts: u32,
}

/// A coinbase whose extranonce is still open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    has_witness: bool,
}

impl Coinbase {
    /// Lays out the coinbase of `template`.
    ///
    /// scriptSig: height (BIP34), tag, extranonce, each a push. Outputs: the payees in order, then
    /// the witness commitment.
    ///
    /// # Errors
    /// No payee with parts, a tag for which the scriptSig has no room, or a commitment that is
    /// none.
    pub fn build(template: &Template, spec: &CoinbaseSpec) -> Result<Self, BuildError> {
        let script_sig = script_sig_before_extranonce(template.height, &spec.tag)?;
        let script_sig_len = script_sig.len() + EXTRANONCE_BYTES;
        if script_sig_len > MAX_SCRIPT_SIG_BYTES {
            return Err(BuildError::TagTooLong { excess: script_sig_len - MAX_SCRIPT_SIG_BYTES });
        }

        let mut prefix = Vec::with_capacity(64 + script_sig.len());
        prefix.extend(2u32.to_le_bytes());
        prefix.push(1);
        prefix.extend([0; 32]);
        prefix.extend(u32::MAX.to_le_bytes());
        prefix.push(u8::try_from(script_sig_len).expect("at most 100"));
        prefix.extend(script_sig);

        let payouts = split(template.coinbase_value, &spec.payouts)?;
        let commitment = template.witness_commitment.as_deref();
        let mut suffix = Vec::new();
        suffix.extend(u32::MAX.to_le_bytes());
        push_compact_size(&mut suffix, payouts.len() + usize::from(commitment.is_some()));
        for (payee, sats) in spec.payouts.iter().zip(payouts) {
            push_output(&mut suffix, sats, payee.script_pubkey.as_bytes());
        }
        if let Some(script) = commitment {
            push_output(&mut suffix, 0, script);
        }
        suffix.extend(0u32.to_le_bytes());
        if suffix.len() > MAX_COINBASE_SUFFIX_BYTES {
            return Err(BuildError::TooManyPayees { bytes: suffix.len() });
        }
        Ok(Self { prefix, suffix, has_witness: commitment.is_some() })
    }

    /// Bytes before the extranonce, without marker and flag: `coinbase_tx_prefix` on the wire
    /// (SV2 §3.7).
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Bytes after the extranonce, without the witness: `coinbase_tx_suffix` on the wire.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// The txid with this extranonce, internal byte order.
    pub fn txid(&self, extranonce: &[u8; EXTRANONCE_BYTES]) -> [u8; 32] {
        sha256d(&[&self.prefix, extranonce, &self.suffix])
    }

    /// The whole transaction with this extranonce, with its witness where it has one, as a block
    /// holds it.
    pub fn transaction(&self, extranonce: &[u8; EXTRANONCE_BYTES]) -> Vec<u8> {
        let (version, inputs) = self.prefix.split_at(4);
        let (body, lock_time) = self.suffix.split_at(self.suffix.len() - 4);
        let mut bytes = Vec::with_capacity(self.prefix.len() + self.suffix.len() + 64);
        bytes.extend(version);
        if self.has_witness {
            bytes.extend([0, 1]);
        }
        bytes.extend(inputs);
        bytes.extend(extranonce);
        bytes.extend(body);
        if self.has_witness {
            // One item of 32 zero bytes: the witness reserved value of BIP141.
            bytes.extend([1, 32]);
            bytes.extend([0; 32]);
        }
        bytes.extend(lock_time);
        bytes
    }
}

fn script_sig_before_extranonce(height: u32, tag: &[u8]) -> Result<Vec<u8>, BuildError> {
    let mut script = Builder::new().push_int(i64::from(height));
    if !tag.is_empty() {
        let push = PushBytesBuf::try_from(tag.to_vec())
            .ok()
            .filter(|push| push.len() <= MAX_SCRIPT_SIG_BYTES)
            .ok_or(BuildError::TagTooLong { excess: tag.len() })?;
        script = script.push_slice(push);
    }
    let mut bytes = script.into_bytes();
    bytes.push(u8::try_from(EXTRANONCE_BYTES).expect("a direct push, below 76"));
    Ok(bytes)
}

fn split(value: u64, payouts: &[PayoutOutput]) -> Result<Vec<u64>, BuildError> {
    let parts_of = |payee: &PayoutOutput| mutant::pick!(CoinbaseInEqualParts, 1, payee.parts);
    let parts: u64 = payouts.iter().map(|payee| u64::from(parts_of(payee))).sum();
    if parts == 0 {
        return Err(BuildError::NoPayee);
    }
    let share = |payee: &PayoutOutput| {
        let sats = u128::from(value) * u128::from(parts_of(payee)) / u128::from(parts);
        u64::try_from(sats).expect("no more than the whole value")
    };
    let mut shares: Vec<u64> = payouts.iter().map(share).collect();
    shares[0] += value - shares.iter().sum::<u64>();
    Ok(shares)
}

fn push_output(bytes: &mut Vec<u8>, sats: u64, script: &[u8]) {
    bytes.extend(sats.to_le_bytes());
    push_compact_size(bytes, script.len());
    bytes.extend(script);
}

pub(super) fn push_compact_size(bytes: &mut Vec<u8>, value: usize) {
    VarInt::from(value).consensus_encode(bytes).expect("writing to a vector cannot fail");
}
