//! The transaction that pays the miner.

use bitcoin::Transaction;
use bitcoin::script::Builder;
use verifier_protocol::VerdictCode;

use crate::{ConsensusFailure, Declared, Options};

/// Bounds of the coinbase script in bytes.
const SCRIPT_LENGTH: std::ops::RangeInclusive<usize> = 2..=100;
/// What the first blocks create, in satoshis.
const INITIAL_SUBSIDY: u64 = 50 * 100_000_000;
/// After how many blocks it is half as much (`nSubsidyHalvingInterval`).
const HALVING_INTERVAL: u32 = 210_000;
/// On regtest.
const REGTEST_HALVING_INTERVAL: u32 = 150;
/// The target of every block of regtest (`powLimit`, `fPowNoRetargeting`).
const REGTEST_BITS: u32 = 0x207f_ffff;

pub(crate) fn check_script_length(coinbase: &Transaction) -> Result<(), ConsensusFailure> {
    let length = coinbase.input[0].script_sig.len();
    if SCRIPT_LENGTH.contains(&length) {
        return Ok(());
    }
    let detail = format!("coinbase_script_length={length}, 2 to 100 are allowed");
    Err(ConsensusFailure::new(VerdictCode::ConsensusCoinbaseScriptLength, detail))
}

/// The height in the coinbase script, when it is the declared one.
pub(crate) fn check_height(
    coinbase: &Transaction,
    declared: &Declared,
) -> Result<u32, ConsensusFailure> {
    let Some(height) = bip34_height(coinbase.input[0].script_sig.as_bytes()) else {
        return Err(ConsensusFailure::new(
            VerdictCode::ConsensusHeightMissing,
            "the coinbase script does not begin with a minimally pushed height",
        ));
    };
    if height != declared.height {
        let detail = format!("height={height} != declared={}", declared.height);
        return Err(ConsensusFailure::new(VerdictCode::ConsensusHeightMismatch, detail));
    }
    Ok(height)
}

/// Sum of the outputs in satoshis, when it is the declared one: less would give fees away, more
/// would make the block invalid.
pub(crate) fn check_value(
    coinbase: &Transaction,
    declared: &Declared,
) -> Result<u64, ConsensusFailure> {
    let mut values = coinbase.output.iter().map(|output| output.value.to_sat());
    let sum = values.try_fold(0_u64, u64::checked_add);
    match sum {
        Some(sum) if sum == declared.coinbase_value => Ok(sum),
        Some(sum) => {
            let sign = if sum < declared.coinbase_value { '<' } else { '>' };
            let detail =
                format!("coinbase_value={sum} {sign} declared={}", declared.coinbase_value);
            Err(ConsensusFailure::new(VerdictCode::ConsensusCoinbaseValueMismatch, detail))
        }
        None => Err(ConsensusFailure::new(
            VerdictCode::ConsensusCoinbaseValueMismatch,
            "the coinbase outputs exceed every amount",
        )),
    }
}

/// The declared fees are what the coinbase pays out beside the subsidy: a sum that is too great
/// would get a poor template past the operator's fee rules, one that is too small would hide what
/// the coinbase does not pay out.
pub(crate) fn check_fees(coinbase_value: u64, declared: &Declared) -> Result<(), ConsensusFailure> {
    let (total_fees, subsidy) = (declared.total_fees, subsidy(declared.bits, declared.height));
    if subsidy.checked_add(total_fees) == Some(coinbase_value) {
        return Ok(());
    }
    let detail =
        format!("coinbase_value={coinbase_value} != subsidy={subsidy} + total_fees={total_fees}");
    Err(ConsensusFailure::new(VerdictCode::ConsensusCoinbaseValueMismatch, detail))
}

/// What a block creates anew, in satoshis (`GetBlockSubsidy`). Its target tells the network: every
/// block of regtest has the easiest one, which no other network allows.
fn subsidy(bits: u32, height: u32) -> u64 {
    let interval = if bits == REGTEST_BITS { REGTEST_HALVING_INTERVAL } else { HALVING_INTERVAL };
    INITIAL_SUBSIDY.checked_shr(height / interval).unwrap_or(0)
}

/// What goes to the operator's scripts in satoshis, when it is enough.
pub(crate) fn check_payout(
    coinbase: &Transaction,
    coinbase_value: u64,
    options: &Options,
) -> Result<u64, ConsensusFailure> {
    if options.payout_scripts.is_empty() {
        return Ok(0);
    }
    let is_ours = |script: &[u8]| options.payout_scripts.iter().any(|ours| ours == script);
    let mut found = false;
    let mut paid = 0;
    for output in &coinbase.output {
        if is_ours(output.script_pubkey.as_bytes()) {
            found = true;
            // No overflow: the sum of all outputs is known to fit.
            paid += output.value.to_sat();
        }
    }
    #[allow(clippy::cast_precision_loss)] // Exact below 2^53; all the bitcoin are 2^51 satoshis.
    let short = (paid as f64) < coinbase_value as f64 * options.min_payout_share;
    if found && !short {
        return Ok(paid);
    }
    let share = options.min_payout_share;
    let detail = format!("payout={paid} < {share} of coinbase_value={coinbase_value}");
    Err(ConsensusFailure::new(VerdictCode::PayoutScriptMissing, detail))
}

/// The number that the script begins with, when it is pushed as BIP 34 demands.
fn bip34_height(script: &[u8]) -> Option<u32> {
    let height = match *script.first()? {
        0 => 0,
        opcode @ 0x51..=0x60 => u64::from(opcode - 0x50),
        length @ 1..=5 => {
            let digits = script.get(1..=usize::from(length))?;
            digits.iter().rev().fold(0, |number, digit| (number << 8) | u64::from(*digit))
        }
        _ => return None,
    };
    let height = u32::try_from(height).ok()?;
    // Encoding it again finds every spelling that is not the shortest, and negative numbers.
    let minimal = Builder::new().push_int(i64::from(height)).into_script();
    script.starts_with(minimal.as_bytes()).then_some(height)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(REGTEST_BITS, 149, 5_000_000_000)]
    #[case(REGTEST_BITS, 150, 2_500_000_000)]
    #[case(REGTEST_BITS, 33 * 150 - 1, 1)]
    #[case(REGTEST_BITS, 33 * 150, 0)]
    #[case(REGTEST_BITS, u32::MAX, 0)]
    #[case(0x1d00_ffff, 209_999, 5_000_000_000)]
    #[case(0x1d00_ffff, 210_000, 2_500_000_000)]
    #[case(0x1e03_77ae, 840_000, 312_500_000)]
    #[case(0x1702_1a91, 900_000, 312_500_000)]
    fn the_subsidy_follows_network_and_height(
        #[case] bits: u32,
        #[case] height: u32,
        #[case] expect: u64,
    ) {
        assert_eq!(subsidy(bits, height), expect);
    }

    #[rstest]
    #[case(&[0x00, 0xff], Some(0))]
    #[case(&[0x51, 0xff], Some(1))]
    #[case(&[0x60, 0xff], Some(16))]
    #[case(&[0x01, 0x10], None)] // 16 has an opcode of its own
    #[case(&[0x01, 0x11], Some(17))]
    #[case(&[0x01, 0x7f], Some(127))]
    #[case(&[0x01, 0x80], None)] // negative zero
    #[case(&[0x01, 0x81], None)] // minus one
    #[case(&[0x02, 0x80, 0x00], Some(128))]
    #[case(&[0x02, 0x11, 0x00], None)] // too long
    #[case(&[0x03, 0x40, 0x0d, 0x03, 0xaa], Some(200_000))]
    #[case(&[0x04, 0xff, 0xff, 0xff, 0x7f], Some(0x7fff_ffff))]
    #[case(&[0x03, 0x40, 0x0d], None)] // cut off
    #[case(&[0x4c, 0x01, 0x11], None)] // OP_PUSHDATA1
    #[case(&[], None)]
    fn a_height_is_read_only_from_its_minimal_push(
        #[case] script: &[u8],
        #[case] expect: Option<u32>,
    ) {
        assert_eq!(bip34_height(script), expect);
    }
}
