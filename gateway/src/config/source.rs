//! Where a configuration comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use platform::Env;

use super::{Config, ConfigProblem};

/// A file and the environment that overrides it: what a reload reads again.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file; without one only the environment speaks.
    pub file: Option<PathBuf>,
    /// The environment of the process.
    pub environment: BTreeMap<String, String>,
}

impl ConfigSource {
    /// Reads the configuration and judges the files it names.
    ///
    /// # Errors
    /// Every problem, each with where it stands.
    pub fn load(&self, env: &Env) -> Result<Config, Vec<String>> {
        let text = self.text(env).map_err(|problem| vec![format!("{self}: {problem}")])?;
        Config::read(&text, &self.environment, env).map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {problem}", self.place(problem))).collect()
        })
    }

    fn text(&self, env: &Env) -> Result<String, String> {
        let Some(file) = &self.file else { return Ok(String::new()) };
        let bytes = env.storage.read(file).map_err(|error| format!("cannot be read: {error}"))?;
        String::from_utf8(bytes).map_err(|_| "cannot be read: it is not UTF-8".to_owned())
    }

    fn place(&self, problem: &ConfigProblem) -> String {
        let is_variable = self.environment.contains_key(&problem.key);
        if is_variable { "environment".to_owned() } else { self.to_string() }
    }
}

impl std::fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => file.display().fmt(f),
            None => f.write_str("no --config file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_disk::{self, FakeDisk};

    #[test]
    fn every_problem_is_told_with_its_place() {
        let disk = FakeDisk::default();
        let env = fake_disk::env(&disk);
        let variable = ("GATEWAY__LOG__SYNC".to_owned(), "never".to_owned());
        let source =
            ConfigSource { file: Some("gateway.toml".into()), environment: [variable].into() };
        let problems = source.load(&env).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("gateway.toml: cannot be read: "), "{problems:?}");
        disk.put("gateway.toml", b"[log]\nretention = -1\n");
        let problems = source.load(&env).unwrap_err();
        let starts = |start: &str| problems.iter().any(|problem| problem.starts_with(start));
        assert!(starts("gateway.toml: log.retention: "), "{problems:?}");
        assert!(starts("environment: GATEWAY__LOG__SYNC: "), "{problems:?}");
    }
}
