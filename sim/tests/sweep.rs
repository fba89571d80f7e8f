//! From a sweep that fails to the least that does: what the line says can be done, as people do it.
#![allow(clippy::disallowed_methods)] // The files and processes of the test itself.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use sim::bugs::{self, Bug};
use sim::report::progress::Clock;
use sim::scenario::Scenario;
use sim::shrink::shrink;
use sim::sweep::{Case, Weather, play};

/// Connections are reset all the time, and none may ever end: that fails on purpose.
const SCENARIO: &str = r#"
schema = 1
name = "broken"
doc = "Connections may not end, and are reset all the time"
sim = { duration = "25s", node = "embedded" }
chaos = { families = ["rst", "slow_link", "pool_5xx", "tip"], rate = "2/s", quiet_tail = "10s" }
[[miners]]
kind = "standard"
count = 3
[[at]]
t = "4s"
do = "mine"
[[at]]
t = "5s"
do = "pool_mode"
mode = "slow"
for = "5s"
[[expect]]
never = "miner_closed"
"#;

/// `sim` on the scenarios, bugs and reports of this folder.
fn sim(folder: &Path, arguments: &[&str]) -> Output {
    let at = |name: &str| folder.join(name).display().to_string();
    let verb = arguments[0];
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(arguments).args(["--scenarios", &at("scenarios")]);
    if !arguments.contains(&"--bugs") {
        command.args(["--bugs", &at("bugs")]);
    }
    if verb != "shrink" {
        command.args(["--reports", &at("reports")]);
    }
    command.env_remove("GITHUB_ACTIONS").output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first line of this kind.
fn fail_line(output: &Output) -> String {
    let text = text(output);
    let line = text.lines().find(|line| line.starts_with("FAIL "));
    line.unwrap_or_else(|| panic!("nothing failed:\n{text}")).to_owned()
}

/// What failed when: `miner_closed t=3.210s`.
fn what_and_when(line: &str) -> String {
    line.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")
}

fn only_bug(folder: &Path) -> Bug {
    let mut bugs = bugs::all(&folder.join("bugs")).expect("the bug base can be read");
    assert_eq!(bugs.len(), 1, "{bugs:?}");
    bugs.remove(0)
}

#[test]
fn a_failure_is_found_kept_shrunk_and_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let family = folder.join("scenarios/broken");
    std::fs::create_dir_all(&family).unwrap();
    std::fs::write(family.join("broken.toml"), SCENARIO).unwrap();
    // Seeds that add a storm are judged by what always holds, which does: the first seed that plays
    // the file as it is written fails.
    let seed = (0..).find(|seed| is_as_written(*seed)).unwrap();
    let seeds = format!("{seed}..{}", seed + 1);

    let swept = sim(folder, &["sweep", "broken", "--seeds", &seeds]);
    assert_eq!(swept.status.code(), Some(1), "{}", text(&swept));
    let line = fail_line(&swept);
    let bug = only_bug(folder);
    assert_eq!(bug.failure.property, "miner_closed");
    assert!(bugs::faults(&bug.expanded) > 10, "{}", bugs::faults(&bug.expanded));
    assert!(bugs::faults(&bug.shrunk) <= 3, "{:?}", bug.shrunk.steps);
    assert!(bug.shrunk.miners.len() == 1 && bug.shrunk.duration < bug.expanded.duration);

    // What the line tells people to type.
    let (_, command) = line.split_once("replay: sim ").expect("a line says how to see it again");
    let replayed = sim(folder, &command.split(' ').collect::<Vec<_>>());
    assert_eq!(replayed.status.code(), Some(1), "{}", text(&replayed));
    assert_eq!(what_and_when(&fail_line(&replayed)), what_and_when(&line));

    // As it was found, and by its seed alone.
    let expanded = fail_line(&sim(folder, &["replay", &bug.id, "--expanded"]));
    let by_seed = fail_line(&sim(folder, &["replay", &format!("{seed}@broken")]));
    assert_eq!(what_and_when(&expanded), what_and_when(&by_seed));

    // A second sweep plays the bug first; shrinking by hand comes to the same bug.
    let again = sim(folder, &["sweep", "broken", "--seeds", &seeds, "--shrink", "0"]);
    assert!(text(&again).contains("bug base: 1 known, 1 of them fail"), "{}", text(&again));
    let shrunk = sim(folder, &["shrink", &format!("{seed}@broken")]);
    assert_eq!(shrunk.status.code(), Some(1), "{}", text(&shrunk));
    assert_eq!(only_bug(folder).id, bug.id);
    assert!(bugs::faults(&only_bug(folder).shrunk) <= 3);
}

fn is_as_written(seed: u64) -> bool {
    let scenario = Scenario::parse("broken", "broken", SCENARIO);
    let scenario = scenario.expect("it follows the schema");
    Case::of(&scenario, seed).weather == Weather::AsWritten
}

/// The verifier dies for good, and what comes after it reaches nobody.
const UNSERVED: &str = r#"
schema = 1
name = "unserved"
doc = "The verifier dies before the next tip, and nobody starts it again"
sim = { duration = "80s", node = "embedded", quiet_tail = "6s" }
[[miners]]
kind = "standard"
count = 2
[[at]]
t = "6s"
do = "crash"
host = "verifier"
[[at]]
t = "8s"
do = "mine"
every = "10s"
times = 6
[[expect]]
eventually = "all_miners_on_tip"
"#;

#[test]
fn what_shows_at_the_end_only_shows_at_an_earlier_end() {
    let scenario = Scenario::parse("unserved", "unserved", UNSERVED);
    let scenario = scenario.expect("it follows the schema");
    let case = Case::judged_in(&scenario, scenario.plan(1), Weather::AsWritten);
    let failure = play(&case, &Clock::default()).failure.expect("nobody is on the tip");
    assert_eq!((failure.property.as_str(), failure.at_ms), ("all_miners_on_tip", Some(80_000)));

    let shrunk = shrink(&case, &failure, 60, |_, _| {});
    assert!(shrunk.plan.duration <= Duration::from_secs(20), "{:?}", shrunk.plan);
    assert_eq!(shrunk.plan.duration - shrunk.plan.quiet_from, Duration::from_secs(6));
    let left: Vec<_> = shrunk.plan.steps.iter().map(|step| step.action.name()).collect();
    assert_eq!((left, shrunk.plan.miners.len()), (vec!["crash", "mine"], 1));
}
