//! The table of endpoints: the router and the OpenAPI document are both made of it.

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// Status, what it says, and its body.
    pub(crate) answers: &'static [(u16, &'static str, Body)],
    /// Whether it is open to everyone; the others want `X-API-Key` where one is configured.
    pub(crate) is_probe: bool,
}

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Health,
    Ready,
    Metrics,
    Events,
    Status,
    Channels,
    Workers,
    SharesCsv,
    Prevhash,
    Templates,
    Config,
    Reload,
    Drain,
    OpenApi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

/// A parameter of the query.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// As in [`Schema::fields`].
    pub(crate) kind: &'static str,
    pub(crate) meaning: &'static str,
}

/// What an answer carries.
pub(crate) enum Body {
    /// JSON of this schema.
    Json(&'static str),
    /// Another media type.
    Media(&'static str),
}

/// A JSON object. The kind of a field is `string`, `integer`, `number`, `boolean`, `object`, or
/// `@Name` for another schema; `[]` before it makes a list, `?` after it lets it be null.
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [(&'static str, &'static str)],
}

use Body::{Json, Media};
use Method::{Get, Post};

const UNAUTHORIZED: (u16, &str, Body) =
    (401, "the X-API-Key header is missing or wrong", Json("Error"));
const BAD_PARAMETERS: (u16, &str, Body) =
    (400, "a parameter is unknown or out of form; the error names it", Json("Error"));
const BUSY: (u16, &str, Body) = (503, "every place is taken", Json("Error"));
const NOT_FROM_OUTSIDE: (u16, &str, Body) =
    (403, "off loopback, or from a web page, nothing changes without a key", Json("Error"));

const fn parameter(name: &'static str, kind: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, kind, meaning }
}

const LIMIT: Parameter =
    parameter("limit", "integer", "entries at most, 1 to 1000; 100 by default");
const SINCE: Parameter = parameter("since", "integer", "only events after this seq");

/// Every endpoint.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        operation: Operation::Health,
        method: Get,
        path: "/health",
        summary: "Whether the process lives",
        parameters: &[],
        answers: &[(200, "it does", Json("Health"))],
        is_probe: true,
    },
    Endpoint {
        operation: Operation::Ready,
        method: Get,
        path: "/ready",
        summary: "Whether miners are served as they should be",
        parameters: &[],
        answers: &[(200, "they are", Json("Ready")), (503, "lists what is missing", Json("Ready"))],
        is_probe: true,
    },
    Endpoint {
        operation: Operation::Metrics,
        method: Get,
        path: "/metrics",
        summary: "Metrics in the OpenMetrics text format",
        parameters: &[],
        answers: &[(200, "the metrics", Media("application/openmetrics-text"))],
        is_probe: true,
    },
    Endpoint {
        operation: Operation::Events,
        method: Get,
        path: "/gateway/events",
        summary: "The event stream: one JSON object a line, each with event, schema and seq; a reader that is too slow gets a `lagged` line with the count it missed",
        parameters: &[SINCE],
        answers: &[
            (200, "the stream", Media("application/x-ndjson")),
            BAD_PARAMETERS,
            UNAUTHORIZED,
            BUSY,
        ],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Status,
        method: Get,
        path: "/api/v1/status",
        summary: "How things stand",
        parameters: &[],
        answers: &[(200, "the report", Json("Status")), UNAUTHORIZED],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Channels,
        method: Get,
        path: "/api/v1/channels",
        summary: "The open channels with their difficulty and hash rates, page by page",
        parameters: &[parameter("after", "string", "the `next` of the page before"), LIMIT],
        answers: &[(200, "a page", Json("Channels")), BAD_PARAMETERS, UNAUTHORIZED],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Workers,
        method: Get,
        path: "/api/v1/workers",
        summary: "The workers with open channels and their hash rates, page by page",
        parameters: &[parameter("after", "string", "the `next` of the page before"), LIMIT],
        answers: &[(200, "a page", Json("Workers")), BAD_PARAMETERS, UNAUTHORIZED],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::SharesCsv,
        method: Get,
        path: "/api/v1/shares.csv",
        summary: "The two events of each share as CSV, one row an event, streamed from the log",
        parameters: &[
            SINCE,
            parameter("until", "integer", "only events up to this seq"),
            parameter("from_ms", "integer", "only events from this moment on, Unix milliseconds"),
            parameter("to_ms", "integer", "only events before this moment, Unix milliseconds"),
        ],
        answers: &[
            (200, "the rows under a head line", Media("text/csv")),
            BAD_PARAMETERS,
            UNAUTHORIZED,
            BUSY,
        ],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Prevhash,
        method: Get,
        path: "/api/v1/prevhash",
        summary: "The last changes of tip with their stage times, newest first",
        parameters: &[],
        answers: &[(200, "the changes", Json("Switches")), UNAUTHORIZED],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Templates,
        method: Get,
        path: "/api/v1/templates",
        summary: "The templates whose jobs can still earn shares, and those proposed lately: pending, accepted or rejected; oldest first, with their verdicts",
        parameters: &[],
        answers: &[(200, "the templates", Json("Templates")), UNAUTHORIZED],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Config,
        method: Get,
        path: "/api/v1/config",
        summary: "The configuration in force, secrets redacted",
        parameters: &[],
        answers: &[
            (200, "every key with its value, origin and class", Json("Config")),
            UNAUTHORIZED,
        ],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Reload,
        method: Post,
        path: "/api/v1/reload",
        summary: "Reads the configuration again",
        parameters: &[],
        answers: &[
            (200, "it is in force; says what changed", Json("Reload")),
            (422, "it has problems; the old one stays in force", Json("Reload")),
            UNAUTHORIZED,
            NOT_FROM_OUTSIDE,
        ],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::Drain,
        method: Post,
        path: "/api/v1/drain",
        summary: "Begins a drain; the answer comes before its end",
        parameters: &[],
        answers: &[(202, "the drain has begun", Json("Drain")), UNAUTHORIZED, NOT_FROM_OUTSIDE],
        is_probe: false,
    },
    Endpoint {
        operation: Operation::OpenApi,
        method: Get,
        path: "/openapi.json",
        summary: "This document",
        parameters: &[],
        answers: &[(200, "OpenAPI 3.1", Json("OpenApi")), UNAUTHORIZED],
        is_probe: false,
    },
];

const fn schema(name: &'static str, fields: &'static [(&'static str, &'static str)]) -> Schema {
    Schema { name, fields }
}

/// Every schema that answers refer to.
#[rustfmt::skip] // One line a schema.
pub(crate) const SCHEMAS: &[Schema] = &[
    schema("Channel", &[("miner_id", "integer"), ("channel_id", "integer"), ("worker_id", "string"), ("is_extended", "boolean"), ("difficulty", "number"), ("hash_rate", "@HashRate"), ("shares_accepted", "integer"), ("shares_refused", "integer"), ("last_share_age_ms", "integer?")]),
    schema("Channels", &[("channels", "[]@Channel"), ("next", "string?")]),
    schema("Config", &[("settings", "[]@Setting")]),
    schema("Drain", &[("draining", "boolean")]),
    schema("Error", &[("error", "string")]),
    schema("HashRate", &[("one_minute", "number"), ("five_minutes", "number"), ("one_hour", "number")]),
    schema("Health", &[("status", "string")]),
    schema("LogStall", &[("cause", "string"), ("error", "string"), ("since_ms", "integer")]),
    schema("OpenApi", &[("openapi", "string"), ("info", "object"), ("paths", "object"), ("components", "object")]),
    schema("Ready", &[("ready", "boolean"), ("missing", "[]string")]),
    schema("Reload", &[("applied", "boolean"), ("changed", "[]string"), ("restart_required", "[]string"), ("problems", "[]string")]),
    schema("Setting", &[("key", "string"), ("value", "string"), ("origin", "string"), ("class", "string")]),
    schema("Status", &[("instance", "string"), ("version", "string"), ("mode", "string"), ("uptime_ms", "integer"), ("draining", "boolean"), ("ready", "boolean"), ("missing", "[]string"), ("log", "string"), ("log_stall", "@LogStall?"), ("connections", "integer"), ("channels", "integer"), ("hash_rate", "@HashRate"), ("submissions", "object"), ("template", "@StatusTemplate?"), ("last_switch", "@Switch?"), ("shares_queued", "integer"), ("posts_in_flight", "integer"), ("blocks_in_submission", "integer"), ("verifier_http_url", "string"), ("escape_hatches", "[]string")]),
    schema("StatusTemplate", &[("template_id", "integer"), ("source", "string"), ("height", "integer"), ("prev_hash", "string"), ("age_ms", "integer")]),
    schema("Switch", &[("prev_hash", "string"), ("previous_prev_hash", "string?"), ("height", "integer"), ("template_id", "integer?"), ("mode", "string"), ("outcome", "string"), ("reason_code", "string?"), ("observed_at_ms", "integer"), ("tip_seen_at_ms", "integer"), ("verdict_after_ms", "number?"), ("held_after_ms", "number?"), ("ended_after_ms", "number"), ("timestamp_ms", "integer")]),
    schema("Switches", &[("switches", "[]@Switch")]),
    schema("Template", &[("template_id", "integer"), ("source", "string"), ("height", "integer"), ("prev_hash", "string"), ("observed_at_ms", "integer"), ("tx_count", "integer"), ("total_fees", "integer"), ("coinbase_value", "integer"), ("weight", "integer"), ("state", "string"), ("verdict", "@TemplateVerdict?")]),
    schema("TemplateVerdict", &[("accepted", "boolean"), ("reason_code", "string"), ("reason_detail", "string?"), ("policy_hash", "string?")]),
    schema("Templates", &[("templates", "[]@Template")]),
    schema("Worker", &[("worker_id", "string"), ("hash_rate", "@HashRate")]),
    schema("Workers", &[("workers", "[]@Worker"), ("next", "string?")]),
];
