//! What `getblocktemplate` answers (BIP 22, 23, 145).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, Txid, Wtxid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A block template, decoded. Hashes are in internal byte order, as their types have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTemplate {
    /// Block version, version bits of signalled deployments included.
    pub version: i32,
    /// The tip that the block builds on.
    pub previous_block_hash: BlockHash,
    /// The block's height.
    pub height: u32,
    /// The difficulty target in compact form.
    pub bits: CompactTarget,
    /// The node's time, in Unix seconds.
    pub curtime: u32,
    /// The earliest valid time of the block (BIP 113 median time past + 1), in Unix seconds.
    pub mintime: u32,
    /// Subsidy and fees: the most that the coinbase may pay.
    pub coinbase_value: Amount,
    /// The coinbase's witness commitment output script (BIP 141); absent where the node has
    /// segwit inactive.
    pub default_witness_commitment: Option<ScriptBuf>,
    /// The block's transactions after the coinbase, in order.
    pub transactions: Vec<TemplateTransaction>,
    /// Largest block weight (BIP 141).
    pub weight_limit: u64,
    /// Largest signature operation cost (BIP 141).
    pub sigop_limit: u64,
    /// Names the template for the next long poll (BIP 22); opaque.
    pub longpollid: Option<String>,
}

/// One transaction of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTransaction {
    /// The serialized transaction, witnesses included (BIP 144).
    pub data: Vec<u8>,
    /// Its hash without witnesses.
    pub txid: Txid,
    /// Its hash with witnesses.
    pub wtxid: Wtxid,
    /// Its fee.
    pub fee: Amount,
    /// Its signature operation cost.
    pub sigops: u64,
    /// Its weight.
    pub weight: u64,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GbtError {
    /// It is not JSON, or no object.
    #[error("getblocktemplate: {0}")]
    Json(serde_json::Error),
    /// One field is missing or wrong.
    #[error("getblocktemplate: {field}: {problem}")]
    Field {
        /// The field's path, such as `transactions[3].data`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl BlockTemplate {
    /// Reads a `getblocktemplate` result.
    ///
    /// # Errors
    /// The first field that is missing or wrong, by name.
    pub fn parse(json: &[u8]) -> Result<Self, GbtError> {
        TemplateView::parse(json)?.decode()
    }

    /// The fees of all transactions; `None` when they add up to more than 64 bits hold.
    pub fn total_fees(&self) -> Option<Amount> {
        self.transactions.iter().try_fold(Amount::ZERO, |sum, tx| sum.checked_add(tx.fee))
    }
}

/// A template whose texts are still those of the answer: enough to compare and to choose.
#[derive(Deserialize)]
pub(crate) struct TemplateView<'a> {
    version: i32,
    previousblockhash: &'a str,
    pub(crate) height: u32,
    bits: &'a str,
    curtime: u32,
    mintime: u32,
    coinbasevalue: u64,
    default_witness_commitment: Option<&'a str>,
    #[serde(borrow)]
    transactions: Vec<TransactionView<'a>>,
    weightlimit: Option<u64>,
    sigoplimit: Option<u64>,
    #[serde(borrow)]
    longpollid: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct TransactionView<'a> {
    data: &'a str,
    txid: &'a str,
    hash: &'a str,
    fee: u64,
    sigops: u64,
    weight: u64,
}

impl<'a> TemplateView<'a> {
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, GbtError> {
        // serde does not name the field whose value is wrong, so failing costs a second pass.
        serde_json::from_slice(json).map_err(|error| blame(json, error))
    }

    pub(crate) fn longpollid(&self) -> Option<&str> {
        self.longpollid.as_deref()
    }

    pub(crate) fn previous_block_hash(&self) -> Result<BlockHash, GbtError> {
        text("previousblockhash", self.previousblockhash)
    }

    /// Equal for templates that give miners the same work: everything but the node's time.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut engine = sha256::Hash::engine();
        engine.input(self.previousblockhash.as_bytes());
        engine.input(self.bits.as_bytes());
        engine.input(&self.version.to_le_bytes());
        engine.input(&self.height.to_le_bytes());
        engine.input(&self.coinbasevalue.to_le_bytes());
        for transaction in &self.transactions {
            engine.input(transaction.hash.as_bytes());
            engine.input(&transaction.fee.to_le_bytes());
        }
        sha256::Hash::from_engine(engine).to_byte_array()
    }

    fn decode(self) -> Result<BlockTemplate, GbtError> {
        let previous_block_hash = self.previous_block_hash()?;
        let bits = CompactTarget::from_unprefixed_hex(self.bits)
            .map_err(|error| field("bits", error.to_string()))?;
        let default_witness_commitment = self
            .default_witness_commitment
            .map(|script| hex("default_witness_commitment", script).map(ScriptBuf::from_bytes))
            .transpose()?;
        let transactions = self
            .transactions
            .iter()
            .enumerate()
            .map(|(index, transaction)| transaction.decode(index))
            .collect::<Result<_, _>>()?;
        Ok(BlockTemplate {
            version: self.version,
            previous_block_hash,
            height: self.height,
            bits,
            curtime: self.curtime,
            mintime: self.mintime,
            coinbase_value: Amount::from_sat(self.coinbasevalue),
            default_witness_commitment,
            transactions,
            // Consensus constants of BIP 141, where a node leaves them out.
            weight_limit: self.weightlimit.unwrap_or(4_000_000),
            sigop_limit: self.sigoplimit.unwrap_or(80_000),
            longpollid: self.longpollid.map(Cow::into_owned),
        })
    }
}

impl TransactionView<'_> {
    fn decode(&self, index: usize) -> Result<TemplateTransaction, GbtError> {
        let decoded = || {
            Ok(TemplateTransaction {
                data: hex("data", self.data)?,
                txid: text("txid", self.txid)?,
                wtxid: text("hash", self.hash)?,
                fee: Amount::from_sat(self.fee),
                sigops: self.sigops,
                weight: self.weight,
            })
        };
        decoded().map_err(|error| within(index, error))
    }
}

fn text<T>(name: &str, value: &str) -> Result<T, GbtError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    value.parse().map_err(|error: T::Err| field(name, error.to_string()))
}

fn hex(name: &str, value: &str) -> Result<Vec<u8>, GbtError> {
    const_hex::decode(value).map_err(|error| field(name, error.to_string()))
}

fn field(name: &str, problem: String) -> GbtError {
    GbtError::Field { field: name.to_owned(), problem }
}

fn within(index: usize, error: GbtError) -> GbtError {
    match error {
        GbtError::Field { field, problem } => {
            GbtError::Field { field: format!("transactions[{index}].{field}"), problem }
        }
        error => error,
    }
}

/// Checks one field's value alone.
type Check = fn(&RawValue) -> Result<(), serde_json::Error>;

/// The fields without which there is no template, each with its type.
const FIELDS: [(&str, Check); 7] = [
    ("version", is::<i32>),
    ("previousblockhash", is::<String>),
    ("height", is::<u32>),
    ("bits", is::<String>),
    ("curtime", is::<u32>),
    ("mintime", is::<u32>),
    ("coinbasevalue", is::<u64>),
];
const OPTIONAL_FIELDS: [(&str, Check); 4] = [
    ("default_witness_commitment", is::<Option<String>>),
    ("weightlimit", is::<Option<u64>>),
    ("sigoplimit", is::<Option<u64>>),
    ("longpollid", is::<Option<String>>),
];
const TRANSACTION_FIELDS: [(&str, Check); 6] = [
    ("data", is::<String>),
    ("txid", is::<String>),
    ("hash", is::<String>),
    ("fee", is::<u64>),
    ("sigops", is::<u64>),
    ("weight", is::<u64>),
];

fn is<T: DeserializeOwned>(value: &RawValue) -> Result<(), serde_json::Error> {
    serde_json::from_str::<T>(value.get()).map(drop)
}

type Object<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Finds the field for which reading the template failed with `error`.
fn blame(json: &[u8], error: serde_json::Error) -> GbtError {
    let object: Object<'_> = match serde_json::from_slice(json) {
        Ok(object) => object,
        Err(error) => return GbtError::Json(error),
    };
    first_wrong(&object, &FIELDS, &OPTIONAL_FIELDS)
        .or_else(|| first_wrong_transaction(&object))
        .unwrap_or(GbtError::Json(error))
}

fn first_wrong(
    object: &Object<'_>,
    required: &[(&str, Check)],
    optional: &[(&str, Check)],
) -> Option<GbtError> {
    for (name, check) in required {
        match object.get(*name) {
            None => return Some(field(name, "is missing".to_owned())),
            Some(value) => {
                if let Err(error) = check(value) {
                    return Some(field(name, error.to_string()));
                }
            }
        }
    }
    optional.iter().find_map(|(name, check)| {
        let error = check(object.get(*name)?).err()?;
        Some(field(name, error.to_string()))
    })
}

fn first_wrong_transaction(object: &Object<'_>) -> Option<GbtError> {
    let Some(list) = object.get("transactions") else {
        return Some(field("transactions", "is missing".to_owned()));
    };
    let transactions: Vec<Object<'_>> = match serde_json::from_str(list.get()) {
        Ok(transactions) => transactions,
        Err(error) => return Some(field("transactions", error.to_string())),
    };
    transactions.iter().enumerate().find_map(|(index, transaction)| {
        first_wrong(transaction, &TRANSACTION_FIELDS, &[]).map(|error| within(index, error))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    /// What a node answers on regtest at height 102 with one transaction, shortened.
    fn answer() -> Value {
        json!({
            "capabilities": ["proposal"],
            "version": 536870912,
            "rules": ["csv", "!segwit", "taproot"],
            "previousblockhash":
                "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
            "transactions": [{
                "data": "0200ff",
                "txid": "1111111111111111111111111111111111111111111111111111111111111101",
                "hash": "2222222222222222222222222222222222222222222222222222222222222202",
                "depends": [], "fee": 210, "sigops": 4, "weight": 561
            }],
            "coinbasevalue": 5000000210u64,
            "longpollid": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e22063",
            "mintime": 1296688603, "curtime": 1700000000,
            "bits": "207fffff", "height": 102,
            "sigoplimit": 80000, "weightlimit": 4000000,
            "default_witness_commitment": "6a24aa21a9ed",
        })
    }

    #[test]
    fn an_answer_is_decoded_into_internal_byte_order() {
        let template = BlockTemplate::parse(answer().to_string().as_bytes()).unwrap();
        assert_eq!(template.height, 102);
        assert_eq!(template.bits.to_consensus(), 0x207f_ffff);
        assert_eq!(template.previous_block_hash.as_byte_array()[0], 0x06);
        assert_eq!(template.transactions[0].data, [2, 0, 255]);
        assert_eq!(template.transactions[0].txid.as_byte_array()[0], 0x01);
        assert_eq!(template.transactions[0].wtxid.as_byte_array()[0], 0x02);
        assert_eq!(template.total_fees(), Some(Amount::from_sat(210)));
        assert_eq!(template.default_witness_commitment.unwrap().as_bytes()[0], 0x6a);
    }

    #[rstest]
    #[case("/height", json!("102"), "height: invalid type: string")]
    #[case("/height", Value::Null, "height: invalid type: null")]
    #[case("/version", json!(1u64 << 40), "version: invalid value")]
    #[case("/bits", json!("207ffffg"), "bits: ")]
    #[case("/previousblockhash", json!("00"), "previousblockhash: ")]
    #[case("/coinbasevalue", json!(-1), "coinbasevalue: invalid value")]
    #[case("/longpollid", json!(7), "longpollid: invalid type")]
    #[case("/default_witness_commitment", json!("6"), "default_witness_commitment: ")]
    #[case("/transactions", json!({}), "transactions: invalid type")]
    #[case("/transactions/0/fee", json!(1.5), "transactions[0].fee: invalid type")]
    #[case("/transactions/0/data", json!("0"), "transactions[0].data: odd number")]
    #[case("/transactions/0/txid", json!("zz"), "transactions[0].txid: ")]
    fn a_wrong_field_is_named(#[case] path: &str, #[case] value: Value, #[case] expect: &str) {
        let mut answer = answer();
        *answer.pointer_mut(path).unwrap() = value;
        let error = BlockTemplate::parse(answer.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("getblocktemplate: {expect}")), "{error}");
    }

    #[rstest]
    #[case("height")]
    #[case("transactions")]
    #[case("mintime")]
    fn a_missing_field_is_named(#[case] name: &str) {
        let mut answer = answer();
        answer.as_object_mut().unwrap().remove(name);
        let error = BlockTemplate::parse(answer.to_string().as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("getblocktemplate: {name}: is missing"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(matches!(BlockTemplate::parse(b"[1,"), Err(GbtError::Json(_))));
    }

    #[rstest]
    #[case("/curtime", json!(1_700_000_009), false)]
    #[case("/longpollid", json!("other"), false)]
    #[case("/coinbasevalue", json!(5_000_000_211u64), true)]
    #[case("/transactions", json!([]), true)]
    #[case("/transactions/0/fee", json!(211), true)]
    fn the_digest_moves_with_the_work_alone(
        #[case] path: &str,
        #[case] value: Value,
        #[case] moves: bool,
    ) {
        let before = answer().to_string();
        let mut after = answer();
        *after.pointer_mut(path).unwrap() = value;
        let after = after.to_string();
        let digest = |text: &str| TemplateView::parse(text.as_bytes()).unwrap().digest();
        assert_eq!(digest(&before) != digest(&after), moves);
    }
}
