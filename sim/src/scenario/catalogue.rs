//! The scenario files of a folder.

use std::path::{Path, PathBuf};

use super::reader::unknown;
use super::{Problem, Scenario};

/// Why the scenarios cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The folder or a file in it cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file does not follow the schema.
    #[error("{path}:\n{}", .problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Everything wrong in it.
        problems: Vec<Problem>,
    },
    /// Nothing has the name asked for.
    #[error("scenario or family \"{name}\" {advice}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The nearest name, or all.
        advice: String,
    },
}

/// The family that lasts too long to be part of `all`.
const SOAK: &str = "soak";

/// Every scenario of a folder: `family/name.toml`, in the order of their names.
pub struct Catalogue {
    scenarios: Vec<Scenario>,
}

impl Catalogue {
    /// Reads every file of `directory`.
    ///
    /// # Errors
    /// The first file that cannot be read or does not follow the schema.
    pub fn load(directory: &Path) -> Result<Self, CatalogueError> {
        let mut scenarios = Vec::new();
        for folder in entries(directory)? {
            if !folder.is_dir() {
                continue;
            }
            for file in entries(&folder)? {
                if file.extension().is_some_and(|extension| extension == "toml") {
                    scenarios.push(load_file(&stem(&folder), &file)?);
                }
            }
        }
        scenarios.sort_by(|a: &Scenario, b| (&a.family, &a.name).cmp(&(&b.family, &b.name)));
        Ok(Self { scenarios })
    }

    /// Every scenario.
    pub fn all(&self) -> &[Scenario] {
        &self.scenarios
    }

    /// What `name` stands for: `all` (but the soak), the scenarios of a family, or one scenario. A family comes
    /// before a scenario of the same name, which it contains.
    ///
    /// # Errors
    /// If nothing has the name.
    pub fn select(&self, name: &str) -> Result<Vec<&Scenario>, CatalogueError> {
        let by = |matches: &dyn Fn(&Scenario) -> bool| -> Vec<&Scenario> {
            self.scenarios.iter().filter(|scenario| matches(scenario)).collect()
        };
        let family =
            by(&|scenario| name == "all" && scenario.family != SOAK || scenario.family == name);
        let chosen = if family.is_empty() { by(&|scenario| scenario.name == name) } else { family };
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let mut names: Vec<&str> = self
            .scenarios
            .iter()
            .flat_map(|scenario| [scenario.family.as_str(), scenario.name.as_str()])
            .collect();
        names.sort_unstable();
        names.dedup();
        let advice = unknown(name, names.into_iter());
        Err(CatalogueError::Unknown { name: name.to_owned(), advice })
    }
}

impl Catalogue {
    /// The table of `scenarios/README.md`.
    pub fn table(&self) -> String {
        let mut table = "| scenario | what it shows |\n|---|---|\n".to_owned();
        for Scenario { name, doc, .. } in &self.scenarios {
            table.push_str(&format!("| {name} | {doc} |\n"));
        }
        table
    }
}

#[allow(clippy::disallowed_methods)] // Read before any world exists.
fn load_file(family: &str, path: &Path) -> Result<Scenario, CatalogueError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CatalogueError::Unreadable { path: path.to_owned(), error })?;
    Scenario::parse(family, &stem(path), &text)
        .map_err(|problems| CatalogueError::Wrong { path: path.to_owned(), problems })
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let unreadable = |error| CatalogueError::Unreadable { path: directory.to_owned(), error };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Files of the tests.
mod tests {
    use super::*;

    fn catalogue(files: &[(&str, &str)]) -> Result<Catalogue, CatalogueError> {
        let directory = tempfile::tempdir().unwrap();
        for (family, name) in files {
            std::fs::create_dir_all(directory.path().join(family)).unwrap();
            let text = format!(
                "schema = 1\nname = \"{name}\"\ndoc = \"d\"\nsim = {{ duration = \"9s\" }}\n\
                 [[expect]]\nalways = \"share_join\"\n"
            );
            let path = directory.path().join(family).join(format!("{name}.toml"));
            std::fs::write(path, text).unwrap();
        }
        Catalogue::load(directory.path())
    }

    #[test]
    fn a_name_stands_for_a_family_a_scenario_or_all() {
        let files = [("reorg", "reorg-depth-1"), ("reorg", "reorg"), ("smoke", "smoke")];
        let catalogue = catalogue(&files).unwrap();
        let names = |name| -> Vec<_> {
            catalogue.select(name).unwrap().iter().map(|s| s.name.as_str()).collect()
        };
        assert_eq!(names("all"), ["reorg", "reorg-depth-1", "smoke"]);
        assert_eq!(names("reorg"), ["reorg", "reorg-depth-1"]);
        assert_eq!(names("reorg-depth-1"), ["reorg-depth-1"]);
        let Err(error) = catalogue.select("reorgs") else { panic!("found") };
        assert!(error.to_string().contains("did you mean \"reorg\"?"), "{error}");
    }

    #[test]
    fn a_wrong_file_is_named() {
        let Err(error) = catalogue(&[("reorg", "smoke")]) else { panic!("read") };
        assert!(error.to_string().contains("smoke.toml"), "{error}");
        assert!(error.to_string().contains("must be \"reorg\""), "{error}");
    }

    #[test]
    fn the_files_of_this_tree_follow_the_schema() {
        let catalogue =
            Catalogue::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios"));
        let catalogue = catalogue.unwrap_or_else(|error| panic!("{error}"));
        assert!(catalogue.all().iter().all(|scenario| !scenario.doc.is_empty()));
        let readme = include_str!("../../../scenarios/README.md");
        assert!(
            readme.ends_with(&catalogue.table()),
            "the table of scenarios/README.md must be:\n{}",
            catalogue.table()
        );
    }
}
