//! The JSON of the template-manager's HTTP interface, both directions of it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::gbt::{BlockTemplate, GbtError};

/// Identifies an announced template. Ids strictly increase within a process and start at its
/// wall clock in milliseconds, so that a restart never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateId(pub u64);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One announced template: the answer of `GET /template`.
#[derive(Clone, PartialEq, Eq)]
pub struct TemplateAnswer {
    /// Its id.
    pub template_id: TemplateId,
    /// The configured name of the node it comes from.
    pub source: String,
    /// The node's chain as `getblockchaininfo` names it: `main`, `test`, `signet`, `regtest`.
    pub network: String,
    /// When the template-manager received it, in Unix milliseconds.
    pub observed_at_ms: u64,
    /// Transactions in the node's mempool when it last counted them, which it is asked to after each
    /// template; `None` until it has. No template waits for it, so after a new tip it is the number
    /// from before the block.
    pub mempool_tx: Option<u64>,
    /// The `getblocktemplate` result, byte for byte as the node sent it. It is UTF-8.
    template: Bytes,
}

#[derive(Serialize, Deserialize)]
struct WireTemplate<'a> {
    template_id: TemplateId,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    network: Cow<'a, str>,
    observed_at_ms: u64,
    mempool_tx: Option<u64>,
    #[serde(borrow)]
    template: &'a RawValue,
}

impl TemplateAnswer {
    /// Puts an answer together. `template` is the node's `getblocktemplate` result.
    pub(crate) fn new(
        template_id: TemplateId,
        source: String,
        network: String,
        observed_at_ms: u64,
        mempool_tx: Option<u64>,
        template: Bytes,
    ) -> Self {
        Self { template_id, source, network, observed_at_ms, mempool_tx, template }
    }

    /// Reads the body of a `GET /template` answer.
    pub fn parse(body: &Bytes) -> Result<Self, serde_json::Error> {
        let wire: WireTemplate<'_> = serde_json::from_slice(body)?;
        Ok(Self {
            template_id: wire.template_id,
            source: wire.source.into_owned(),
            network: wire.network.into_owned(),
            observed_at_ms: wire.observed_at_ms,
            mempool_tx: wire.mempool_tx,
            template: body.slice_ref(wire.template.get().as_bytes()),
        })
    }

    /// Writes the body of a `GET /template` answer.
    ///
    /// # Errors
    /// The template is not JSON.
    pub(crate) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        let wire = WireTemplate {
            template_id: self.template_id,
            source: Cow::Borrowed(&self.source),
            network: Cow::Borrowed(&self.network),
            observed_at_ms: self.observed_at_ms,
            mempool_tx: self.mempool_tx,
            template: serde_json::from_slice(&self.template)?,
        };
        serde_json::to_vec(&wire).map(Bytes::from)
    }

    /// The `getblocktemplate` result as the node wrote it.
    pub fn template_json(&self) -> &str {
        std::str::from_utf8(&self.template).expect("JSON was parsed from these bytes as UTF-8")
    }

    /// Reads the `getblocktemplate` result.
    ///
    /// # Errors
    /// A field is missing or not what it should be; the error names it.
    pub fn block_template(&self) -> Result<BlockTemplate, GbtError> {
        BlockTemplate::parse(&self.template)
    }
}

impl fmt::Debug for TemplateAnswer {
    /// Without the template itself, which may have megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateAnswer")
            .field("template_id", &self.template_id.0)
            .field("source", &self.source)
            .field("network", &self.network)
            .field("observed_at_ms", &self.observed_at_ms)
            .field("mempool_tx", &self.mempool_tx)
            .field("template_bytes", &self.template.len())
            .finish()
    }
}

/// A found block: the body of `POST /block`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockSubmission {
    /// The serialized block (BIP 144, witnesses included) in hex.
    pub block: String,
    /// Its hash in RPC (display) order.
    pub hash: String,
    /// Its height.
    pub height: u32,
}

/// What the nodes said to a block: the answer of `POST /block`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitAnswer {
    /// Whether some node has taken the block (see [`NodeResult::accepted`]).
    pub accepted: bool,
    /// One entry for each configured node, in the order of the configuration.
    pub results: Vec<NodeResult>,
}

/// What one node said to a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeResult {
    /// The node's configured name.
    pub node: String,
    /// The `submitblock` result (BIP 22): `None` is the new tip, a text is a reason.
    pub result: Option<String>,
    /// Why the node gave no result.
    pub error: Option<String>,
    /// Whether asking the node again would bring the same answer: it gave a result, or it refused
    /// the request itself (such as a block that it cannot decode).
    #[serde(rename = "final", default)]
    pub is_final: bool,
}

impl NodeResult {
    /// Whether the node holds the block: as its new tip, as one that it had already
    /// (`duplicate`), or on a valid side branch (`inconclusive`).
    pub fn accepted(&self) -> bool {
        self.error.is_none()
            && matches!(self.result.as_deref(), None | Some("duplicate" | "inconclusive"))
    }
}

/// The header of `GET /template` that tells how long ago, in milliseconds, a node last confirmed
/// the template.
pub(crate) const CONFIRMED_AGO_HEADER: &str = "x-confirmed-ago-ms";

/// An answer that is no success.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: String,
    /// How long ago a node last confirmed the template that is not given any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) age_ms: Option<u64>,
    /// When that was, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confirmed_at_ms: Option<u64>,
}

impl ErrorBody {
    pub(crate) fn new(error: &str) -> Self {
        Self { error: error.to_owned(), age_ms: None, confirmed_at_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn an_answer_keeps_the_nodes_bytes() {
        let template = Bytes::from_static(br#"{"height": 7,  "x":"\u00e9"}"#);
        let answer = TemplateAnswer::new(
            TemplateId(5),
            "core \"a\"".to_owned(),
            "regtest".to_owned(),
            1_700_000_000_123,
            None,
            template.clone(),
        );
        let parsed = TemplateAnswer::parse(&answer.encode().unwrap()).unwrap();
        assert_eq!(parsed, answer);
        assert_eq!(parsed.template_json().as_bytes(), template);
        assert!(!format!("{parsed:?}").contains("height"));
    }

    #[rstest]
    #[case(None, None, true)]
    #[case(Some("duplicate"), None, true)]
    #[case(Some("inconclusive"), None, true)]
    #[case(Some("high-hash"), None, false)]
    #[case(Some("duplicate-invalid"), None, false)]
    #[case(None, Some("unreachable"), false)]
    fn acceptance_follows_bip_22(
        #[case] result: Option<&str>,
        #[case] error: Option<&str>,
        #[case] accepted: bool,
    ) {
        let result = NodeResult {
            node: "a".to_owned(),
            result: result.map(str::to_owned),
            error: error.map(str::to_owned),
            is_final: true,
        };
        assert_eq!(result.accepted(), accepted);
    }
}
