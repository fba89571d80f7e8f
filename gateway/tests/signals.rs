//! Signals to the real program, with a verifier in the same process.
#![allow(clippy::disallowed_methods)] // It drives a process, which reads real files.
#![allow(clippy::unwrap_used)] // A test may.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

const GATEWAY: &str = r#"
[gateway]
mode = "shadow"
http_addr = "127.0.0.1:0"
upstream_url = "http://127.0.0.1:9"
upstream_failure_policy = "fail_closed"

[share]
share_upstream_url = "http://127.0.0.1:9/shares"
share_upstream_secret = "secret"

[auth]
mode = "prefix_map"
prefix_map = [{ prefix = "miner" }]
"#;

const VERIFIER: &str = r#"
listen_addr = "127.0.0.1:0"
http_addr = "127.0.0.1:0"
policy_file = "policy.toml"
"#;

/// `gateway run --with verifier`, killed when it is dropped.
struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Program {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["run", "--with", "verifier", "--config", "gateway.toml"])
            .args(["--verifier-config", "verifier.toml"])
            .current_dir(folder)
            .env("VELDRA_ALLOW_PLAINTEXT", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads on until lines with all of these have come, in any order; those lines.
    fn until_said(&mut self, wanted: &[&str]) -> Vec<String> {
        let mut said = vec![String::new(); wanted.len()];
        let mut all = String::new();
        while said.iter().any(String::is_empty) {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "it ended after:\n{all}");
            for (said, wanted) in said.iter_mut().zip(wanted) {
                if line.contains(wanted) {
                    said.clone_from(&line);
                }
            }
            all += &line;
        }
        said
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hash(line: &str) -> &str {
    line.split_once("policy_hash=").unwrap().1.trim()
}

#[test]
fn sighup_reloads_the_configuration_and_the_verifiers_policy() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("gateway.toml", GATEWAY);
    write("verifier.toml", VERIFIER);
    write("policy.toml", "[policy]\nmin_total_fees = 1\n");
    let mut program = Program::start(folder.path());
    let started = program.until_said(&["policy loaded", "HTTP interface"]);

    write("policy.toml", "[policy]\nmin_total_fees = 2\n");
    write("gateway.toml", &format!("{GATEWAY}[log]\nretention = 3\n"));
    program.signal("-HUP");
    let reloaded = program.until_said(&["policy reloaded", "configuration reloaded"]);
    assert_ne!(hash(&reloaded[0]), hash(&started[0]));
    assert!(reloaded[1].contains("log.retention"), "{}", reloaded[1]);

    write("policy.toml", "[policy]\nmin_total_feas = 3\n");
    program.signal("-HUP");
    let refused = program.until_said(&["the old one stays", "configuration reloaded"]);
    assert!(refused[0].contains("min_total_fees"), "it names the nearest key: {}", refused[0]);

    program.signal("-TERM");
    program.until_said(&["draining"]);
    assert!(program.child.wait().unwrap().success());
}
