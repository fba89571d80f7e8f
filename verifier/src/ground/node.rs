//! The calls to the node.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Txid;
use platform::{Env, Offload, offload};
use serde_json::json;
use templates::node_rpc::{NodeRpc, RpcError};
use tokio::time::timeout;

use crate::config::NodeConfig;
use crate::proposed::ProposedBlock;

pub(super) struct Node {
    rpc: NodeRpc,
    rpc_timeout: Duration,
    proposal_timeout: Duration,
}

/// What the node's proposal mode (BIP 23) says of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeSays {
    /// It would be valid, with proof of work.
    Valid,
    /// It would not; the node's own words.
    Invalid(String),
    /// It answers and does not say. `cause` is one word of a closed set, for metrics.
    Undecided { cause: &'static str, detail: String },
    /// It does not answer. `cause` as above.
    Nothing { cause: &'static str, detail: String },
}

impl NodeSays {
    /// The outcome as one word of a closed set, for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid(_) => "invalid",
            Self::Undecided { cause, .. } | Self::Nothing { cause, .. } => cause,
        }
    }
}

impl Node {
    pub(super) fn new(env: &Env, config: &NodeConfig) -> Self {
        Self {
            rpc: NodeRpc::new(env, &config.url, config.auth.clone()),
            rpc_timeout: config.rpc_timeout,
            proposal_timeout: config.proposal_timeout,
        }
    }

    /// The transactions in the node's mempool.
    pub(super) async fn mempool(&self, cpu: &Arc<dyn Offload>) -> Result<Vec<Txid>, RpcError> {
        let listed = self.rpc.call("getrawmempool", &json!([]), self.rpc_timeout).await?;
        // A full mempool is megabytes of text.
        let read = offload(cpu, move || serde_json::from_slice(&listed)).await;
        read.map_err(|error| RpcError::Malformed(format!("getrawmempool: {error}")))
    }

    pub(super) async fn proposal(
        &self,
        cpu: &Arc<dyn Offload>,
        block: Arc<ProposedBlock>,
    ) -> NodeSays {
        let asking = async {
            let params = offload(cpu, move || {
                let data = const_hex::encode(block.to_bytes());
                json!([{ "mode": "proposal", "data": data, "rules": ["segwit"] }])
            });
            let params = params.await;
            self.rpc.call_as("getblocktemplate", &params, self.proposal_timeout).await
        };
        // Around it all: a refused cookie makes two calls of one.
        match timeout(self.proposal_timeout, asking).await {
            Ok(answered) => understand(answered),
            Err(_) => understand(Err(RpcError::Timeout(self.proposal_timeout))),
        }
    }
}

/// BIP 22 and BIP 23 in Bitcoin Core's words: null or a reason.
fn understand(answered: Result<Option<String>, RpcError>) -> NodeSays {
    match answered {
        Ok(None) => NodeSays::Valid,
        Ok(Some(reason)) => match reason.as_str() {
            "duplicate" => NodeSays::Valid,
            "inconclusive-not-best-prevblk" => {
                NodeSays::Undecided { cause: "other_tip", detail: reason }
            }
            "inconclusive" | "duplicate-inconclusive" => {
                NodeSays::Undecided { cause: "inconclusive", detail: reason }
            }
            _ => NodeSays::Invalid(reason),
        },
        Err(error) => NodeSays::Nothing { cause: error.kind(), detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, "valid")]
    #[case(Some("duplicate"), "valid")]
    #[case(Some("bad-cb-amount"), "invalid")]
    #[case(Some("duplicate-invalid"), "invalid")]
    #[case(Some("inconclusive-not-best-prevblk"), "other_tip")]
    #[case(Some("inconclusive"), "inconclusive")]
    fn only_a_clear_answer_counts(#[case] answer: Option<&str>, #[case] label: &str) {
        assert_eq!(understand(Ok(answer.map(str::to_owned))).label(), label);
    }

    #[test]
    fn an_error_is_no_opinion() {
        let rpc = RpcError::Rpc { code: -22, message: "Block decode failed".to_owned() };
        assert_eq!(understand(Err(rpc)).label(), "rpc");
        assert_eq!(understand(Err(RpcError::Timeout(Duration::ZERO))).label(), "timeout");
    }
}
