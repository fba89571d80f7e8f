//! From the text of a file to a [`Scenario`], with every problem at once.

use std::collections::BTreeMap;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use toml::Value;

use super::quantity::{Latency, Span, TimeSpan, duration, hashrate};
use super::reader::{Problem, Reader, unknown};
use super::{
    Behaviour, Chaos, Expect, Link, LinkQuality, MinerGroup, MinerKind, NodeChoice, PlannedEvent,
    Profile, Scenario, Sim,
};

/// The version of the schema of scenario files.
const SCHEMA: u64 = 1;

/// Sections that `[config]` may have: the gateway's own, its environment variables, and one each
/// for the other programs; what `first_policy` says is so at the first of two verifiers only.
const CONFIG_SECTIONS: [&str; 14] = [
    "auth",
    "environment",
    "first_policy",
    "gateway",
    "limits",
    "log",
    "noise",
    "policy",
    "share",
    "telemetry",
    "templates",
    "timing",
    "vardiff",
    "verifier",
];

/// Bounds that keep a typing error from filling the machine.
const MAX_MINERS: u64 = 10_000;
const MAX_INITIAL_BLOCKS: u64 = 10_000;

impl Scenario {
    /// Reads the text of the file `family/name.toml`.
    ///
    /// # Errors
    /// Every problem of the file, each with its key.
    pub fn parse(family: &str, name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            vec![Problem { key: name.to_owned(), what: format!("is not TOML: {error}") }]
        })?;
        let mut root = Reader::new(&table);
        check_head(&mut root, family, name);
        let doc = root.text("doc");
        let doc = root.required("doc", doc);
        let sim = root.table("sim");
        let sim = sim.or_else(|| root.required("sim", None)).and_then(read_sim);
        let topology = root.table("topology").map(read_topology).unwrap_or_default();
        let links = root.table("links").map(|links| read_links(&links)).unwrap_or_default();
        let config = root.table("config").map(|config| read_config(&config)).unwrap_or_default();
        let groups: Vec<_> = root.tables("miners").into_iter().map(read_group).collect();
        let events: Vec<_> = root.tables("at").into_iter().filter_map(PlannedEvent::read).collect();
        let chaos = root.table("chaos").map(Chaos::read);
        let expect: Vec<_> = root.tables("expect").into_iter().filter_map(Expect::read).collect();
        if expect.is_empty() {
            root.problem("expect", "is missing: a scenario that expects nothing proves nothing");
        }
        check_events(&root, sim.as_ref(), &events);
        root.finish_all().map(|()| Self {
            family: family.to_owned(),
            name: name.to_owned(),
            doc: doc.unwrap_or_default().to_owned(),
            sha256: const_hex::encode(digest(&SHA256, text.as_bytes())),
            sim: sim.expect("a missing table is a problem"),
            miners: topology.miners,
            verifiers: topology.verifiers,
            links,
            config,
            groups,
            events,
            chaos,
            expect,
        })
    }
}

fn check_head(root: &mut Reader<'_>, family: &str, name: &str) {
    match root.count("schema") {
        Some(SCHEMA) => {}
        Some(other) => root.problem("schema", format!("{other} is not known; write {SCHEMA}")),
        None => drop(root.required::<u64>("schema", None)),
    }
    match root.text("name") {
        Some(written) if written != name => {
            root.problem("name", format!("is \"{written}\" but the file is {name}.toml"));
        }
        Some(_) if name != family && !name.starts_with(&format!("{family}-")) => {
            root.problem("name", format!("must be \"{family}\" or start with \"{family}-\""));
        }
        Some(_) => {}
        None => drop(root.required::<&str>("name", None)),
    }
}

fn read_sim(mut table: Reader<'_>) -> Option<Sim> {
    let duration = table.times("duration");
    let duration = table.required("duration", duration);
    let initial_blocks = table.span("initial_blocks").unwrap_or(Span::fixed(101));
    if initial_blocks.high() > MAX_INITIAL_BLOCKS {
        table.problem("initial_blocks", format!("is over {MAX_INITIAL_BLOCKS}"));
    }
    let bits = table.parsed("bits", |text| {
        u32::from_str_radix(text, 16)
            .map_err(|_| format!("\"{text}\" is no compact target; write 8 hex digits"))
    });
    let node = table.choice("node", &NodeChoice::CHOICES).unwrap_or(NodeChoice::Auto);
    if bits.is_some() && node != NodeChoice::Embedded {
        table.problem("bits", "needs node = \"embedded\": a regtest node has its own limit");
    }
    let sim = Sim {
        duration: duration.unwrap_or(TimeSpan::fixed(Duration::ZERO)),
        seeds: table.span("seeds"),
        node,
        initial_blocks,
        quiet_tail: table.duration("quiet_tail").unwrap_or(Duration::from_secs(5)),
        retransmission_limit: table.duration("retransmission_limit"),
        bits,
    };
    table.finish();
    duration.map(|_| sim)
}

struct Topology {
    miners: Option<Span>,
    verifiers: u32,
}

impl Default for Topology {
    fn default() -> Self {
        Self { miners: None, verifiers: 1 }
    }
}

fn read_topology(mut table: Reader<'_>) -> Topology {
    let miners = table.span("miners");
    if miners.is_some_and(|miners| miners.high() > MAX_MINERS) {
        table.problem("miners", format!("is over {MAX_MINERS}"));
    }
    let verifiers = match table.count("verifiers") {
        None | Some(1) => 1,
        Some(2) => 2,
        Some(_) => {
            table.problem("verifiers", "must be 1 or 2");
            1
        }
    };
    for name in ["gateways", "pools"] {
        if let Some(span) = table.span(name)
            && (span.low(), span.high()) != (1, 1)
        {
            table.problem(name, "must be 1: a world has one of each");
        }
    }
    table.finish();
    Topology { miners, verifiers }
}

fn read_links(table: &Reader<'_>) -> BTreeMap<String, LinkQuality> {
    let mut links = BTreeMap::new();
    for name in table.keys() {
        if name != "default"
            && let Err(what) = Link::parse(name)
        {
            table.problem(name, what);
        }
        if let Some(inner) = table.named_table(name) {
            links.insert(name.to_owned(), read_link(inner));
        }
    }
    links
}

fn read_link(mut table: Reader<'_>) -> LinkQuality {
    let chunk = table.span("chunk");
    if chunk.is_some_and(|chunk| chunk.low() == 0) {
        table.problem("chunk", "must be at least 1: a read of nothing is the end of the stream");
    }
    let window = table.count("window");
    if window == Some(0) {
        table.problem("window", "must be at least 1: nothing passes a window of 0");
    }
    let quality = LinkQuality {
        latency: read_latency(&mut table),
        chunk,
        bytes_per_second: table.count("bytes_per_second"),
        window,
        coalesce: table.flag("coalesce"),
    };
    table.finish();
    quality
}

fn read_latency(table: &mut Reader<'_>) -> Option<Latency> {
    match table.value("latency")? {
        Value::String(_) => table.parsed("latency", duration).map(Latency::Fixed),
        Value::Table(_) => {
            let mut table = table.table("latency")?;
            let latency = read_distribution(&mut table);
            table.finish();
            latency
        }
        value => {
            table.wrong_type("latency", value, "\"5ms\" or a distribution");
            None
        }
    }
}

fn read_distribution(table: &mut Reader<'_>) -> Option<Latency> {
    if let Some((low, high)) = duration_pair(table, "uniform") {
        if low > high {
            table.problem("uniform", "has its bounds the wrong way round");
        }
        return Some(Latency::Uniform(low, high));
    }
    if let Some(mean) = table.duration("exp") {
        let cap = table.duration("cap").unwrap_or(mean * 20);
        return Some(Latency::Exponential { mean, cap });
    }
    if let Some((usual, rare)) = duration_pair(table, "bimodal") {
        let probability = table.float("probability").unwrap_or(0.01);
        if !(0.0..=1.0).contains(&probability) {
            table.problem("probability", "must be between 0 and 1");
        }
        return Some(Latency::Bimodal { usual, rare, probability });
    }
    None
}

fn duration_pair(table: &mut Reader<'_>, name: &'static str) -> Option<(Duration, Duration)> {
    let value = table.value(name)?;
    let items: Option<Vec<_>> =
        value.as_array().map(|items| items.iter().filter_map(Value::as_str).collect());
    if let Some([first, second]) = items.as_deref()
        && let (Ok(first), Ok(second)) = (duration(first), duration(second))
    {
        return Some((first, second));
    }
    table.problem(name, "must be two durations: [\"300us\", \"8ms\"]");
    None
}

fn read_config(table: &Reader<'_>) -> BTreeMap<String, toml::Table> {
    let mut config = BTreeMap::new();
    for name in table.keys() {
        if !CONFIG_SECTIONS.contains(&name) {
            table.problem(name, unknown(name, CONFIG_SECTIONS.into_iter()));
        } else if let Some(section) = table.named_value(name).as_table() {
            config.insert(name.to_owned(), section.clone());
        } else {
            table.wrong_type(name, table.named_value(name), "a table");
        }
    }
    config
}

fn read_group(mut table: Reader<'_>) -> MinerGroup {
    let kind = table.required_choice("kind", MinerKind::CHOICES);
    let count = match table.value("count") {
        Some(Value::String(text)) if text.is_empty() => {
            table.problem("count", "is empty");
            None
        }
        Some(_) => table.span("count"),
        None => None,
    };
    if count.is_some_and(|count| count.high() > MAX_MINERS) {
        table.problem("count", format!("is over {MAX_MINERS}"));
    }
    let profile = table.choice("profile", Profile::CHOICES).unwrap_or(Profile::Assay);
    let kind = kind.unwrap_or(MinerKind::Standard);
    if profile.only_kind().is_some_and(|only| only != kind) {
        table.problem("profile", "opens channels of another kind");
    }
    let group = MinerGroup {
        kind,
        count,
        hashrate: table.parsed("hashrate", hashrate).unwrap_or(1e14),
        share_interval: table
            .times("share_interval")
            .unwrap_or(TimeSpan::fixed(Duration::from_secs(1))),
        behaviour: table.choice("behaviour", Behaviour::CHOICES).unwrap_or(Behaviour::Honest),
        profile,
        start: table.times("start").unwrap_or(TimeSpan::fixed(Duration::from_millis(500))),
    };
    table.finish();
    group
}

fn check_events(root: &Reader<'_>, sim: Option<&Sim>, events: &[PlannedEvent]) {
    let Some(sim) = sim else { return };
    for (index, event) in events.iter().enumerate() {
        if event.latest() > sim.duration.longest() {
            root.problem(&format!("at[{index}]"), "may begin or end after the run's end");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const GOOD: &str = r#"
schema = 1
name   = "prevhash-dark"
doc    = "New tip while the verifier link is cut"
[sim]       duration = "60s"
"#;

    /// The example of the documentation: every table and every kind of expectation.
    const WHOLE: &str = r#"
schema = 1
name = "prevhash-dark"
doc = "New tip while the verifier link is cut: hold stale work, then disconnect"
sim = { duration = "60s", seeds = "0..64", node = "auto" }
topology = { miners = "10..50", gateways = 1, verifiers = 1, pools = 1 }
config = { gateway = { mode = "inline" }, policy = { min_total_fees = 0 } }
chaos = { families = ["cut", "rst"], swarm = true, rate = "0.2/s", quiet_tail = "15s" }
[links]
default = { latency = { uniform = ["300us", "8ms"] }, chunk = "1..1460" }
"gateway->verifier" = { latency = { exp = "2ms", cap = "40ms" } }
[[miners]]
kind = "standard"
count = 8
hashrate = "100 TH/s"
behaviour = "honest"
[[at]]
t = "10s"
do = "mine"
blocks = 1
every = "9s"
times = 3
[[at]]
t = "10s"
do = "cut"
link = "gateway<->verifier"
for = "7s"
[[expect]]
always = "share_join"
[[expect]]
sometimes = "closed:prevhash_switch_timeout"
[[expect]]
within = { after = "cut", event = "connection_closed", min = "5.00s", max = "5.06s" }
[[expect]]
eventually = "all_miners_on_tip"
[[expect]]
latency = { metric = "prevhash_to_miner", p50 = "50ms", p99 = "300ms" }
"#;

    fn problems(text: &str) -> String {
        let problems = Scenario::parse("prevhash", "prevhash-dark", text).unwrap_err();
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn the_whole_schema_is_read() {
        let scenario = Scenario::parse("prevhash", "prevhash-dark", WHOLE).unwrap();
        assert_eq!(scenario.expect.len(), 5);
        assert_eq!(scenario.events.len(), 2);
        let mined: Vec<_> =
            scenario.plan(1).events.iter().map(|event| event.at.as_secs()).collect();
        assert_eq!(mined, [10, 19, 28, 10], "every 9 s, and then the cut");
        assert_eq!(scenario.links.len(), 2);
        assert_eq!(scenario.groups[0].hashrate, 1e14);
        assert_eq!(scenario.chaos.unwrap().quiet_tail, Some(Duration::from_secs(15)));
    }

    #[rstest]
    #[case("blocks = 1", "block = 1", "at[0].block: is not known; did you mean \"blocks\"?")]
    #[case("share_join", "share_joint", "did you mean \"share_join\"?")]
    #[case("\"mine\"", "\"mime\"", "at[0].do: \"mime\" is not known; did you mean \"mine\"?")]
    #[case("\"cut\", \"rst\"", "\"rst\", \"cot\"", "did you mean \"cut\"?")]
    #[case("gateway<->verifier", "gateway<->verifer", "did you mean \"verifier\"?")]
    #[case(
        "min_total_fees = 0 }",
        "min_total_fees = 0 }, gatway = {}",
        "did you mean \"gateway\"?"
    )]
    #[case("\"60s\"", "60", "sim.duration: is integer, must be text")]
    #[case("\"60s\"", "\"6s\"", "at[0]: may begin or end after the run's end")]
    #[case("schema = 1", "schema = 2", "schema: 2 is not known; write 1")]
    #[case("name = \"prevhash-dark\"", "name = \"other\"", "but the file is prevhash-dark.toml")]
    #[case("verifiers = 1", "verifiers = 3", "topology.verifiers: must be 1 or 2")]
    #[case("chunk = \"1..1460\"", "chunk = 0", "must be at least 1")]
    #[case("\"honest\"", "\"honnest\"", "is none of honest")]
    #[case("max = \"5.06s\"", "max = \"4s\"", "within.max: is below min")]
    #[case("p50 = \"50ms\", p99 = \"300ms\"", "", "has no bound")]
    #[case("times = 3", "times = 0", "at[0].times: must be from 1 to 10000")]
    #[case("times = 3", "", "at[0].times: is missing")]
    #[case("every = \"9s\"", "", "at[0].every: is missing")]
    #[case("times = 3", "times = 7", "at[0]: may begin or end after the run's end")]
    #[case("swarm = true", "swarms = true", "did you mean \"swarm\"?")]
    fn a_problem_names_its_key_and_the_fix(
        #[case] from: &str,
        #[case] to: &str,
        #[case] expected: &str,
    ) {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from} is not in the example");
        let problems = problems(&text);
        assert!(problems.contains(expected), "{problems}");
    }

    #[test]
    fn all_problems_come_at_once() {
        let text = WHOLE.replace("share_join", "x").replace("\"60s\"", "\"60\"");
        assert!(problems(&text).lines().count() >= 2);
    }

    #[test]
    fn a_scenario_must_expect_something() {
        let text = GOOD.replace("[sim]       duration = \"60s\"", "[sim]\nduration = \"60s\"");
        assert!(problems(&text).contains("proves nothing"));
    }

    #[test]
    fn text_that_is_no_toml_is_a_problem() {
        assert!(problems("schema = ").contains("is not TOML"));
    }
}
