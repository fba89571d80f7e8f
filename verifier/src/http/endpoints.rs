//! The verifier's HTTP interface as a table.

use serde_json::Value;
use templates::openapi::{self, Access, Endpoint, Parameter, parameter};

const JSON: &str = "application/json";
const TOML: &str = "application/toml";

const PAGE: [Parameter; 3] = [
    parameter("before", "integer", "only verdicts with a smaller seq"),
    parameter("limit", "integer", "how many, 1 to 1000; 100 where it is not given"),
    parameter("format", "string", "json or csv"),
];
const SEQ: Parameter =
    parameter("seq", "integer", "the verdict's; the latest where it is not given");
const AGAINST: Parameter = parameter(
    "against",
    "string",
    "a version's hash: compare with what it says; with the verdicts given where it is not there",
);

const REPLACE: Endpoint = Endpoint {
    method: "put",
    takes: Some(TOML),
    answers: &[
        (200, "the policy in force from now on, and whether it outlives the process (persisted)"),
        (403, "it changes whom coinbases must pay, which takes the key on loopback too"),
        (422, "what is wrong with it; the old policy stays"),
    ],
    ..read("/api/v1/policy", "Puts a policy in force")
};

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
const ENDPOINTS: [Endpoint; 14] = [
    probe("/health", "Whether the process lives"),
    Endpoint {
        answers: &[(200, "templates can be judged"), (503, "what is missing")],
        ..probe("/ready", "Whether templates can be judged as the policy asks")
    },
    Endpoint {
        gives: "application/openmetrics-text",
        ..probe("/metrics", "What is counted and measured")
    },
    probe("/openapi.json", "This document"),
    read("/status", "Policy, mempool view, links and verdicts at a glance"),
    Endpoint { query: &PAGE, ..read("/api/v1/verdicts", "The last verdicts, the newest first") },
    read("/api/v1/stats", "Figures over the verdicts"),
    Endpoint {
        query: &[SEQ],
        gives: "application/x-ndjson",
        answers: &[(200, "the lines that propose it"), (404, "it is not kept; which are")],
        ..read("/api/v1/template", "A judged template with its bytes")
    },
    Endpoint {
        query: &[parameter(
            "hash",
            "string",
            "a version's; the one in force where it is not given",
        )],
        answers: &[(200, "as asked"), (404, "no such version"), (503, "no policy is in force")],
        ..read("/api/v1/policy", "A policy as TOML")
    },
    REPLACE,
    Endpoint { method: "post", ..REPLACE },
    read("/api/v1/policy/versions", "The policies that were in force"),
    Endpoint {
        method: "post",
        answers: &[(200, "the policy in force from now on"), (422, "what is wrong with the file")],
        ..read("/api/v1/policy/reload", "Reads the policy file again")
    },
    Endpoint {
        method: "post",
        query: &[SEQ, AGAINST],
        takes: Some(TOML),
        answers: &[
            (200, "what it would say of the templates and of the verdicts kept"),
            (404, "the template or the version is not kept"),
            (422, "this is no policy"),
        ],
        ..read("/api/v1/policy/dry-run", "Judges by another policy; nothing changes")
    },
];

/// The OpenAPI document.
pub(super) fn document() -> Value {
    openapi::document("verifier", env!("CARGO_PKG_VERSION"), &ENDPOINTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_the_published_one() {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/verifier"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_json_snapshot!("openapi", document());
        });
    }
}
