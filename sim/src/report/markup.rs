//! How values are written, the same in every kind of report.

use serde_json::{Map, Value};

/// Text for HTML, SVG and XML, in elements and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no way to write the other control characters.
            control if control.is_control() && !matches!(control, '\n' | '\t') => {
                escaped.push('\u{fffd}');
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// Virtual milliseconds as seconds: `41.207s`.
pub(super) fn seconds(ms: u64) -> String {
    format!("{}.{:03}s", ms / 1000, ms % 1000)
}

/// Microseconds in the unit that suits their size: `840 µs`, `12.3 ms`, `5.00 s`.
pub(crate) fn duration(us: u64) -> String {
    // Display only: a float's 53 bits are far more than the three digits shown.
    let value = us as f64;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.2} ms", value / 1e3),
        10_000..100_000 => format!("{:.1} ms", value / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", value / 1e3),
        _ => format!("{:.2} s", value / 1e6),
    }
}

/// A count with thin groups of three digits: `12 345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// JSON with sorted keys, two spaces and a newline at the end, whatever order the map keeps.
pub(super) fn canonical_json(value: Value) -> String {
    let mut text =
        serde_json::to_string_pretty(&sorted(value)).expect("a JSON value always encodes");
    text.push('\n');
    text
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(
                entries.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0 µs")]
    #[case(999, "999 µs")]
    #[case(1_234, "1.23 ms")]
    #[case(12_345, "12.3 ms")]
    #[case(123_456, "123 ms")]
    #[case(5_001_000, "5.00 s")]
    fn durations_take_the_unit_of_their_size(#[case] us: u64, #[case] expect: &str) {
        assert_eq!(duration(us), expect);
    }

    #[test]
    fn counts_are_grouped_and_texts_escaped() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(123), "123");
        assert_eq!(escape("<a href='x'>&\u{0}"), "&lt;a href=&#39;x&#39;&gt;&amp;\u{fffd}");
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = serde_json::json!({ "b": { "z": 1, "a": [{ "d": 1, "c": 2 }] }, "a": 0 });
        let text = canonical_json(value);
        let order: Vec<_> = text.matches(['a', 'b', 'c', 'd', 'z']).collect();
        assert_eq!(order, ["a", "b", "a", "c", "d", "z"]);
    }
}
