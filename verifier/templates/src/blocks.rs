//! Hands a found block to every node.

use std::sync::Arc;
use std::time::Duration;

use platform::Tasks;
use serde_json::json;

use crate::node_rpc::RpcError;
use crate::source::Node;
use crate::wire::{BlockSubmission, NodeResult, SubmitAnswer};

/// How often a node that cannot be reached is tried, and the wait in between.
const ATTEMPTS: u32 = 5;
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// Submits a block to all nodes at once and waits for what each says. Each submission is a task
/// of its own, so that none is lost when the one who asked goes away.
pub(crate) async fn submit(
    nodes: &[Arc<Node>],
    tasks: &Tasks,
    block: &BlockSubmission,
) -> SubmitAnswer {
    let submissions: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (task_node, hex) = (Arc::clone(node), block.block.clone());
            (node, tasks.spawn("submit_block", async move { submit_to(&task_node, &hex).await }))
        })
        .collect();
    let mut results = Vec::with_capacity(submissions.len());
    for (node, submission) in submissions {
        let (result, error, is_final) = match submission.await {
            Some(Ok(result)) => (result, None, true),
            Some(Err(error)) => (None, Some(error.to_string()), error.is_final()),
            None => (None, Some("the program is ending".to_owned()), false),
        };
        let result = NodeResult { node: node.name.clone(), result, error, is_final };
        let outcome = match (result.accepted(), &result.error) {
            (true, _) => "accepted",
            (false, None) => "rejected",
            (false, Some(_)) => "failed",
        };
        node.metrics.block_submitted(&node.name, outcome);
        tracing::info!(
            node = result.node,
            hash = block.hash,
            height = block.height,
            result = result.result,
            error = result.error,
            outcome,
            "block submitted"
        );
        results.push(result);
    }
    SubmitAnswer { accepted: results.iter().any(NodeResult::accepted), results }
}

/// `submitblock` (BIP 22): null is success, a text says why not.
async fn submit_to(node: &Node, hex: &str) -> Result<Option<String>, RpcError> {
    let params = json!([hex]);
    let mut attempt = 1;
    loop {
        match node.call("submitblock", &params).await {
            Ok(result) => {
                return serde_json::from_slice(&result)
                    .map_err(|error| RpcError::Malformed(format!("submitblock: {error}")));
            }
            Err(error) if error.is_transport() && attempt < ATTEMPTS => {
                tracing::warn!(node = node.name, %error, attempt, "block not submitted yet");
                attempt += 1;
                tokio::time::sleep(RETRY_WAIT).await;
            }
            Err(error) => return Err(error),
        }
    }
}
