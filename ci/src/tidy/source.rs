//! Sizes and text of the source files.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

const MAX_FILE_LINES: usize = 700;
const MAX_FUNCTION_LINES: usize = 70;

/// Text that must not be committed, and why. Each is split so that this file passes.
const BANNED: [(&str, &str); 5] = [
    (concat!("TO", "DO"), "finish it or leave it out"),
    (concat!("FIX", "ME"), "fix it"),
    (concat!("todo", "!("), "finish it or leave it out"),
    (concat!("unimplemented", "!("), "finish it or leave it out"),
    (concat!("thread", "::sleep"), "tests and programs wait for events, never for time"),
];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let listing = Command::new("git")
        .args(["ls-files", "*.rs"])
        .current_dir(root)
        .output()
        .context("git does not start")?;
    let listing = String::from_utf8(listing.stdout).context("a file name is not UTF-8")?;
    let mut breaches = Vec::new();
    for name in listing.lines() {
        let path = root.join(name);
        // A file that is deleted but not yet committed.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        breaches.extend(check_file(name, &text));
    }
    Ok(breaches)
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut breaches = Vec::new();
    if lines.len() > MAX_FILE_LINES {
        breaches.push(format!("{name}: {} lines, at most {MAX_FILE_LINES}", lines.len()));
    }
    if name.ends_with("src/lib.rs") && !text.contains("unsafe_code)]") {
        breaches.push(format!("{name}: does not say #![forbid(unsafe_code)]"));
    }
    for (index, line) in lines.iter().enumerate() {
        let place = format!("{name}:{}", index + 1);
        for (text, advice) in BANNED {
            if line.contains(text) {
                breaches.push(format!("{place}: \"{text}\": {advice}"));
            }
        }
        if line.trim_end().ends_with("select! {") && !follows_biased(&lines, index) {
            breaches.push(format!("{place}: a select without `biased;` is not deterministic"));
        }
        if let Some(length) = function_length(&lines, index)
            && length > MAX_FUNCTION_LINES
        {
            breaches.push(format!("{place}: function of {length} lines, at most 70"));
        }
    }
    breaches
}

fn follows_biased(lines: &[&str], select: usize) -> bool {
    lines.get(select + 1).is_some_and(|line| line.trim() == "biased;")
}

/// How many lines the function that begins on this line has. Formatted code closes a function
/// with a brace at the depth of its first line.
fn function_length(lines: &[&str], start: usize) -> Option<usize> {
    let line = lines[start];
    let code = line.trim_start();
    let indent = &line[..line.len() - code.len()];
    let signature = code.split("fn ").next()?;
    let is_function = code.contains("fn ")
        && signature.split_whitespace().all(|word| {
            matches!(word, "pub" | "async" | "const" | "unsafe") || word.starts_with("pub(")
        });
    if !is_function {
        return None;
    }
    let close = format!("{indent}}}");
    for (offset, line) in lines[start..].iter().enumerate() {
        if *line == close {
            return Some(offset + 1);
        }
        // A declaration without a body, or one on a single line.
        if offset == 0 && (line.ends_with(';') || line.ends_with('}')) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_functions_and_unbiased_selects_are_found() {
        let mut text = String::from("fn long() {\n");
        text.push_str(&"    work();\n".repeat(70));
        text.push_str("}\nfn short() {\n    tokio::select! {\n        a => {}\n    }\n}\n");
        let breaches = check_file("x.rs", &text);
        assert_eq!(breaches.len(), 2, "{breaches:?}");
        assert!(breaches[0].contains("function of 72 lines"));
        assert!(breaches[1].contains("x.rs:74"));
    }

    #[test]
    fn banned_text_is_found_with_its_line() {
        let text = format!("fn ok() {{}}\n// {}: later\n", concat!("TO", "DO"));
        assert!(check_file("x.rs", &text)[0].starts_with("x.rs:2"));
    }
}
