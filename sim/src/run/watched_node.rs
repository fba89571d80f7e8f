//! A node that is watched: every tip and every submitted block is written down, whoever caused it.

use bitcoin::consensus::encode::deserialize_hex;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::actors::observe::{NodeSeen, Recorder, Seen};
use crate::node::{Answer, Node, RpcError};

/// Passes calls on, and looks at the tip after each that may have changed it.
pub(super) struct WatchedNode {
    node: Box<dyn Node>,
    recorder: Recorder,
    tip: String,
    changes: watch::Sender<u64>,
}

impl WatchedNode {
    /// Watches `node`. `changes` is raised with every new tip.
    pub(super) fn new(
        node: Box<dyn Node>,
        recorder: Recorder,
        changes: watch::Sender<u64>,
    ) -> Self {
        Self { node, recorder, tip: String::new(), changes }
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
            let hash = deserialize_hex::<bitcoin::Block>(block)
                .map_or_else(|_| "(no block)".to_owned(), |block| block.block_hash().to_string());
            let result = match &answer {
                Ok(word) => word.get().trim_matches('"').to_owned(),
                Err(error) => error.to_string(),
            };
            self.recorder.record(Seen::Node(NodeSeen::Submitted { hash, result }));
            self.look()?;
        }
        match answer {
            Ok(template) if method == "getblocktemplate" => Ok(with_even_id(template)),
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
