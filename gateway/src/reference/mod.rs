//! The reference pages, made from the tables that the program itself uses.

mod config;
mod events;
mod examples;
mod metrics;
mod reason_codes;

pub use examples::PROFILES;

/// Every page: its path below `docs/reference` and its text.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = vec![
        ("config.md".to_owned(), config::page()),
        ("events.md".to_owned(), events::page()),
        ("events.schema.json".to_owned(), events::schema()),
        ("metrics.md".to_owned(), metrics::page()),
        ("openapi.json".to_owned(), crate::http::openapi::document()),
        ("reason-codes.md".to_owned(), reason_codes::page()),
    ];
    for profile in PROFILES {
        pages.push((format!("examples/{}.toml", profile.name), examples::file(profile)));
    }
    pages
}

/// A text as it stands in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use platform::Storage as _;
    use platform::real::Disk;

    use super::*;

    #[test]
    fn the_pages_are_as_published() {
        let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference"));
        let pages = pages();
        for (path, text) in &pages {
            let published = Disk.read(&directory.join(path)).unwrap_or_default();
            let is_same = published == text.as_bytes();
            assert!(is_same, "{path} is out of date; run `gateway reference --out docs/reference`");
        }
        for folder in ["", "examples"] {
            for name in Disk.list(&directory.join(folder)).unwrap() {
                let path = Path::new(folder).join(name).display().to_string();
                assert!(pages.iter().any(|(page, _)| *page == path), "{path} is not generated");
            }
        }
    }
}
