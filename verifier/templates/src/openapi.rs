//! Describes an HTTP interface as OpenAPI 3.1, from one table of its endpoints.

use serde_json::{Map, Value, json};

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// `get`, `post` or `put`.
    pub method: &'static str,
    /// The path, without query.
    pub path: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Parameters of the query.
    pub query: &'static [Parameter],
    /// Media type of the request's body; `None`: it has none.
    pub takes: Option<&'static str>,
    /// Media type of the answer.
    pub gives: &'static str,
    /// The statuses it answers with, each with its meaning.
    pub answers: &'static [(u16, &'static str)],
    /// Who may ask.
    pub access: Access,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its JSON type.
    pub kind: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Open,
    /// Off loopback, whoever has the key.
    Guarded,
    /// Whoever has the key, on loopback too.
    Key,
}

/// A [`Parameter`] in one line.
pub const fn parameter(name: &'static str, kind: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind, doc }
}

/// The document of the interface that `endpoints` make up.
pub fn document(title: &str, version: &str, endpoints: &[Endpoint]) -> Value {
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": version },
        "paths": paths,
        "components": { "securitySchemes": { "key": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
        } } },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let parameters: Vec<Value> = endpoint
        .query
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "in": "query",
                "required": false,
                "schema": { "type": parameter.kind },
                "description": parameter.doc,
            })
        })
        .collect();
    let answers = endpoint.answers.iter().map(|(status, meaning)| {
        let media = if *status < 300 { endpoint.gives } else { "application/json" };
        let mut answer = json!({ "description": meaning });
        if *status != 204 {
            answer["content"] = json!({ media: {} });
        }
        (status.to_string(), answer)
    });
    let mut answers: Map<String, Value> = answers.collect();
    if endpoint.access != Access::Open {
        answers.insert("401".to_owned(), json!({ "description": "the key is missing or wrong" }));
    }
    let mut operation = json!({ "summary": endpoint.summary, "responses": answers });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(media) = endpoint.takes {
        operation["requestBody"] = json!({ "required": true, "content": { media: {} } });
    }
    match endpoint.access {
        Access::Open => {}
        Access::Guarded => operation["security"] = json!([{ "key": [] }, {}]),
        Access::Key => operation["security"] = json!([{ "key": [] }]),
    }
    operation
}
