//! Names that operators rely on: what the contract promises, what the source has and what the
//! generated reference tells must be the same, both ways.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

type Names = BTreeSet<String>;

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let read =
        |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let contract: Value = serde_json::from_str(&read(CONTRACT)?).context(CONTRACT)?;
    let promised = |what: &str| -> Names {
        contract[what].as_array().into_iter().flatten().filter_map(text).collect()
    };
    let config = read("docs/reference/config.md")?;
    let openapi: Value = serde_json::from_str(&read("docs/reference/openapi.json")?)?;
    let events: Value = serde_json::from_str(&read("docs/reference/events.schema.json")?)?;
    let (keys, codes) = ("config keys", "reason codes");
    let mut breaches = Vec::new();
    let mut compare = |what: &str, place: &str, found: Names, expected: &Names| {
        for name in found.difference(expected) {
            breaches.push(format!("{place}: {name} is not among the {what} of {CONTRACT}"));
        }
        for name in expected.difference(&found) {
            breaches.push(format!("{place}: the {what} of {CONTRACT} have {name}, this has not"));
        }
    };
    let source = "gateway/src/config/keys.rs";
    let promised_keys = promised("config_keys");
    compare(keys, source, after_each(&read(source)?, "    key(\"", '"'), &promised_keys);
    let is_key = |name: &String| name.contains('.');
    let (listed, hatches) = after_each(&config, "\n| `", '`').into_iter().partition(is_key);
    compare(keys, "docs/reference/config.md", listed, &promised_keys);
    compare("hatches", "docs/reference/config.md", hatches, &promised("escape_hatches"));
    let page = "docs/reference/reason-codes.md";
    let listed = after_each(&read(page)?, "\n| `", '`');
    compare(codes, page, listed, &promised("reason_codes"));
    let page = "docs/reference/metrics.md";
    let listed = after_each(&read(page)?, "\n| `", '`');
    compare("metrics", page, listed, &promised("metrics"));
    compare(
        "endpoints",
        "docs/reference/openapi.json",
        endpoints(&openapi),
        &promised("endpoints"),
    );
    let fields = event_fields(&events);
    compare("event fields", "docs/reference/events.schema.json", fields, &promised("event_fields"));
    Ok(breaches)
}

const CONTRACT: &str = "golden/contract.json";

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// What stands between each `before` and the next `end`.
fn after_each(text: &str, before: &str, end: char) -> Names {
    text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(end)?.0.to_owned())).collect()
}

/// `METHOD path` of every operation.
fn endpoints(document: &Value) -> Names {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}

/// `event.field` of every event.
fn event_fields(schema: &Value) -> Names {
    let events = schema["oneOf"].as_array().into_iter().flatten();
    events
        .flat_map(|event| {
            let name = event["properties"]["event"]["const"].as_str().unwrap_or_default();
            let fields = event["properties"].as_object().into_iter().flatten();
            fields
                .filter(|(field, _)| !matches!(field.as_str(), "event" | "schema" | "seq"))
                .map(move |(field, _)| format!("{name}.{field}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(names: &[&str]) -> Names {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_found_in_each_form() {
        let table = "| key |\n|---|\n| `a.b` | text |\n| `c.d` | text |\n";
        assert_eq!(after_each(table, "\n| `", '`'), names(&["a.b", "c.d"]));
        let document = json!({ "paths": { "/x": { "get": {}, "post": {} } } });
        assert_eq!(endpoints(&document), names(&["GET /x", "POST /x"]));
        let event = json!({ "properties": { "event": { "const": "e" }, "seq": {}, "f": {} } });
        assert_eq!(event_fields(&json!({ "oneOf": [event] })), names(&["e.f"]));
    }
}
