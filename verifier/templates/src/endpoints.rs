//! The template-manager's HTTP interface as a table.

use serde_json::Value;

use crate::openapi::{self, Access, Endpoint, Parameter, parameter};

const JSON: &str = "application/json";

const TEMPLATE: [Parameter; 2] = [
    parameter("after", "integer", "the template that the client has; waits for another one"),
    parameter("wait_ms", "integer", "how long to wait, at most 60000"),
];

const fn read(path: &'static str, summary: &'static str) -> Endpoint {
    Endpoint {
        method: "get",
        path,
        summary,
        query: &[],
        takes: None,
        gives: JSON,
        answers: &[(200, "as asked")],
        access: Access::Guarded,
    }
}

const fn probe(path: &'static str, summary: &'static str) -> Endpoint {
    Endpoint { access: Access::Open, ..read(path, summary) }
}

/// Every endpoint.
pub(crate) const ENDPOINTS: [Endpoint; 10] = [
    probe("/health", "Whether the process lives"),
    Endpoint {
        answers: &[(200, "a template is there that a node vouches for"), (503, "what is missing")],
        ..probe("/ready", "Whether templates can be relied on, and how each node does")
    },
    Endpoint {
        gives: "application/openmetrics-text",
        ..probe("/metrics", "What is counted and measured")
    },
    probe("/openapi.json", "This document"),
    Endpoint {
        query: &TEMPLATE,
        answers: &[
            (200, "the template; X-Confirmed-Ago-Ms: how long ago a node vouched for it"),
            (204, "none but that which the client has; X-Confirmed-Ago-Ms as above"),
            (503, "none that a node has vouched for lately: why, age_ms, confirmed_at_ms"),
        ],
        ..read("/template", "The current block template")
    },
    Endpoint {
        query: &[parameter("txids", "boolean", "with the ids of all transactions")],
        answers: &[(200, "as asked"), (502, "the node does not answer"), (503, "no node is there")],
        ..read("/mempool", "The mempool of the node whose template is current")
    },
    read("/settings", "Every setting with where it came from, secrets redacted"),
    Endpoint {
        method: "put",
        takes: Some(JSON),
        answers: &[
            (200, "the settings as they are now"),
            (403, "no key is configured"),
            (422, "a value or a key is not allowed"),
        ],
        access: Access::Key,
        ..read("/settings", "Changes poll_interval_ms and refresh_interval_ms")
    },
    Endpoint {
        method: "post",
        query: &[parameter("hash", "string", "the new tip, not looked at")],
        answers: &[(202, "every node is asked at once")],
        ..read("/notify", "Tells that a node has a new tip; for -blocknotify")
    },
    Endpoint {
        method: "post",
        takes: Some(JSON),
        answers: &[(200, "what each node said"), (400, "this is no block")],
        ..read("/block", "Submits a block to every node")
    },
];

/// The OpenAPI document.
pub(crate) fn document() -> Value {
    openapi::document("template-manager", env!("CARGO_PKG_VERSION"), &ENDPOINTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_the_published_one() {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/templates"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_json_snapshot!("openapi", document());
        });
    }
}
