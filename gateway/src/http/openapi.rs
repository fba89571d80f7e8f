//! The OpenAPI document.

use serde_json::{Map, Value, json};

use super::answer::JSON;
use super::endpoints::{Body, ENDPOINTS, Endpoint, Method, Operation, Parameter, SCHEMAS, Schema};

/// The document as text, the same in every process of this version.
pub fn document() -> String {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let method = match endpoint.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[method] = operation(endpoint);
    }
    let schemas: Map<String, Value> =
        SCHEMAS.iter().map(|schema| (schema.name.to_owned(), object(schema))).collect();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Assay gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the Stratum V2 mining gateway serves over HTTP.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "api_key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
            },
        },
    });
    let mut text = serde_json::to_string_pretty(&document).expect("JSON always encodes");
    text.push('\n');
    text
}

fn operation(endpoint: &Endpoint) -> Value {
    let answers: Map<String, Value> = endpoint
        .answers
        .iter()
        .map(|(status, meaning, body)| {
            let content = match body {
                Body::Json(name) => json!({ JSON: { "schema": reference(name) } }),
                Body::Media(media) => json!({ *media: { "schema": { "type": "string" } } }),
            };
            (status.to_string(), json!({ "description": meaning, "content": content }))
        })
        .collect();
    let mut operation = json!({
        "operationId": operation_id(endpoint.operation),
        "summary": endpoint.summary,
        "responses": answers,
    });
    if !endpoint.parameters.is_empty() {
        operation["parameters"] = endpoint.parameters.iter().map(parameter).collect();
    }
    if !endpoint.is_probe {
        // The empty one: none is needed where no key is configured.
        operation["security"] = json!([{ "api_key": [] }, {}]);
    }
    operation
}

fn operation_id(operation: Operation) -> &'static str {
    match operation {
        Operation::Health => "health",
        Operation::Ready => "ready",
        Operation::Metrics => "metrics",
        Operation::Events => "events",
        Operation::Status => "status",
        Operation::Channels => "channels",
        Operation::Workers => "workers",
        Operation::SharesCsv => "sharesCsv",
        Operation::Prevhash => "prevhash",
        Operation::Templates => "templates",
        Operation::Config => "config",
        Operation::Reload => "reload",
        Operation::Drain => "drain",
        Operation::OpenApi => "openApi",
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, kind, meaning } = parameter;
    json!({ "name": name, "in": "query", "required": false, "description": meaning, "schema": of_kind(kind) })
}

fn object(schema: &Schema) -> Value {
    let fields = schema.fields.iter();
    let properties: Map<String, Value> =
        fields.clone().map(|(name, kind)| ((*name).to_owned(), of_kind(kind))).collect();
    let required: Vec<&str> = fields.map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// The schema of a kind, as [`Schema::fields`] names them.
pub(crate) fn of_kind(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({ "anyOf": [of_kind(kind), { "type": "null" }] });
    }
    if let Some(of) = kind.strip_prefix("[]") {
        return json!({ "type": "array", "items": of_kind(of) });
    }
    match kind.strip_prefix('@') {
        Some(name) => reference(name),
        None => json!({ "type": kind }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_to_a_schema_that_exists() {
        let text = document();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(SCHEMAS.iter().any(|schema| schema.name == name), "{name}");
        }
    }
}
