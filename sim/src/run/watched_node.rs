//! A node that is watched: every tip and every submitted block is written down, whoever caused it.

use bitcoin::consensus::encode::deserialize_hex;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::actors::observe::{NodeSeen, Recorder, Seen};
use crate::node::{Answer, Node, RpcError};
use crate::scenario::NodeMode;

/// Passes calls on, and looks at the tip after each that may have changed it.
pub(super) struct WatchedNode {
    node: Box<dyn Node>,
    recorder: Recorder,
    tip: String,
    changes: watch::Sender<u64>,
    mode: watch::Receiver<NodeMode>,
    /// The template given last while nothing was wrong.
    last_template: Option<Answer>,
}

impl WatchedNode {
    /// Watches `node`. `changes` is raised with every new tip.
    pub(super) fn new(
        node: Box<dyn Node>,
        recorder: Recorder,
        changes: watch::Sender<u64>,
        mode: watch::Receiver<NodeMode>,
    ) -> Self {
        Self { node, recorder, tip: String::new(), changes, mode, last_template: None }
    }

    /// A template as a node in this mode gives it.
    fn in_mode(&mut self, template: Answer) -> Answer {
        let mode = *self.mode.borrow();
        let changed = match mode {
            NodeMode::StaleTip => return self.last_template.clone().unwrap_or(template),
            NodeMode::EmptyTemplate => without_transactions(&template),
            NodeMode::ZeroCoinbase => {
                changed(&template, |template| template["coinbasevalue"] = json!(0))
            }
            _ => {
                self.last_template = Some(template.clone());
                return template;
            }
        };
        changed.unwrap_or(template)
    }

    fn look(&mut self) -> Result<(), RpcError> {
        let tip: String = self.node.as_mut().ask("getbestblockhash", &json!([]))?;
        if tip == self.tip {
            return Ok(());
        }
        let height = self.node.as_mut().ask("getblockcount", &json!([]))?;
        self.recorder.record(Seen::Node(NodeSeen::Tip { hash: tip.clone(), height }));
        self.tip = tip;
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

impl Node for WatchedNode {
    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
        let answer = self.node.call(method, params);
        if method == "submitblock" {
            let block = params[0].as_str().unwrap_or_default();
            let block = deserialize_hex::<bitcoin::Block>(block).ok();
            let hash = block
                .as_ref()
                .map_or_else(|| "(no block)".to_owned(), |block| block.block_hash().to_string());
            let coinbase = block.as_ref().and_then(|block| block.txdata.first());
            let pays = coinbase.map(crate::actors::pays).unwrap_or_default();
            let result = match &answer {
                Ok(word) => word.get().trim_matches('"').to_owned(),
                Err(error) => error.to_string(),
            };
            self.recorder.record(Seen::Node(NodeSeen::Submitted { hash, result, pays }));
            self.look()?;
        }
        let is_template = method == "getblocktemplate" && params[0]["mode"] != "proposal";
        match answer {
            Ok(template) if is_template => Ok(self.in_mode(with_even_id(template))),
            Ok(_) if method == "getrawmempool" && *self.mode.borrow() == NodeMode::BlindMempool => {
                Ok(RawValue::from_string("[]".to_owned()).expect("an empty list is JSON"))
            }
            Ok(_) if method == "getrawmempool" && *self.mode.borrow() == NodeMode::MempoolError => {
                Err(RpcError::new(-1, "the mempool is not to be seen"))
            }
            answer => answer,
        }
    }

    fn version(&self) -> &str {
        self.node.version()
    }

    fn fault(&self) -> Option<String> {
        self.node.fault()
    }
}

fn changed(template: &Answer, change: impl FnOnce(&mut Value)) -> Option<Answer> {
    let mut value = serde_json::from_str(template.get()).ok()?;
    change(&mut value);
    RawValue::from_string(value.to_string()).ok()
}

/// The template without its transactions and what they pay. The commitment is to the coinbase
/// alone.
fn without_transactions(template: &Answer) -> Option<Answer> {
    changed(template, |template| {
        let fees: u64 = template["transactions"]
            .as_array()
            .map_or(0, |all| all.iter().filter_map(|tx| tx["fee"].as_u64()).sum());
        let value = template["coinbasevalue"].as_u64().unwrap_or_default();
        template["coinbasevalue"] = json!(value.saturating_sub(fees));
        template["transactions"] = json!([]);
        template["default_witness_commitment"] = json!(EMPTY_COMMITMENT);
    })
}

/// The output that commits to a block without witnesses but the coinbase's: SHA-256d over a root
/// of zeros and a reserved value of zeros.
const EMPTY_COMMITMENT: &str =
    "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";

/// How many digits the counter at the end of a `longpollid` gets.
const COUNTER_DIGITS: usize = 12;

/// The template with a `longpollid` that is always as long. The id is opaque, and its counter is
/// the one thing in which nodes of different kinds differ: with another number of digits the
/// answer would have another length, and would travel in other pieces at other times.
fn with_even_id(template: Answer) -> Answer {
    const KEY: &str = "\"longpollid\":\"";
    /// The tip's hash in front of the counter.
    const TIP: usize = 64;
    let text = template.get();
    let Some(start) = text.find(KEY).map(|at| at + KEY.len() + TIP) else { return template };
    let Some(counter) = text.get(start..).and_then(|rest| rest.split('"').next()) else {
        return template;
    };
    let even =
        format!("{}{counter:0>COUNTER_DIGITS$}{}", &text[..start], &text[start + counter.len()..]);
    RawValue::from_string(even).unwrap_or(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_always_as_long() {
        let template = |counter: &str| {
            let text = format!(r#"{{"a":1,"longpollid":"{}{counter}","z":"2"}}"#, "ab".repeat(32));
            with_even_id(RawValue::from_string(text).unwrap()).get().to_owned()
        };
        assert_eq!(template("7").len(), template("123456").len());
        assert!(template("7").contains("ab000000000007\",\"z\":\"2\""), "{}", template("7"));
        let other = RawValue::from_string(r#"{"a":1}"#.to_owned()).unwrap();
        assert_eq!(with_even_id(other).get(), r#"{"a":1}"#);
    }
}
