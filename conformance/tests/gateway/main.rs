//! The whole gateway in the simulated world, in virtual time: under the black-box suite for mining
//! servers, in each setting that miners can notice, and beside the reference implementation's
//! validation of shares.

#![allow(clippy::unwrap_used)] // Helpers of tests are not marked as tests.

mod shares;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::CompactTarget;
use conformance::report::{lines, table};
use conformance::{Outcome, Selection, Target, Verdict, Waits};
use rstest::rstest;
use sim::node::EmbeddedNode;
use sim::run::{Guest, NODE_START_UNIX_S, RunNode, with_guest};
use sim::scenario::Scenario;

/// Where the gateway does otherwise than the suite asks under one setting, and why.
const REPLAYS: (&str, &str) = (
    "MP-56d",
    "Shares of the observe mode are checked at the level `basic`, which has no replay detection; \
     the pool behind the gateway has its own.",
);
const NARROW_MASK: (&str, &str) =
    ("MP-57d", "The operator allows the bits of BIP 320 only, for firmware that rolls those.");
const NO_ROLLING: (&str, &str) = ("DF-06a", "The operator forbids version rolling.");
const STRICT_NTIME: (&str, &str) =
    ("DF-01a", "The operator allows no more ntime than has passed, as the specification does.");
const NO_EXTENDED: (&str, &str) = ("MP-10b", "The operator has switched extended channels off.");

/// Lets `visit` deal with a gateway that has further lines of configuration.
fn visited<T: Send>(config: &str, visit: impl AsyncFnOnce(Guest) -> T + Send) -> T {
    visited_on(EmbeddedNode::new(NODE_START_UNIX_S), config, visit)
}

/// The same, on a chain of its own.
fn visited_on<T: Send>(
    node: EmbeddedNode,
    config: &str,
    visit: impl AsyncFnOnce(Guest) -> T + Send,
) -> T {
    let text = format!(
        "schema = 1\nname = \"conformance\"\ndoc = \"The suite\"\nsim = {{ duration = \"1h\" }}\n\
         [[expect]]\nalways = \"share_join\"\n{config}"
    );
    let scenario = Scenario::parse("conformance", "conformance", &text)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let node = RunNode { node: Box::new(node), kind: "embedded" };
    with_guest(&scenario, &scenario.plan(1), node, visit).expect("the programs start")
}

/// The gateway as something to judge.
fn target(guest: &Guest) -> Arc<Target> {
    Arc::new(Target {
        address: guest.address.clone(),
        authority: Some(guest.authority),
        plaintext: false,
        user_identity: guest.identity.clone(),
        grind_budget: 1 << 12,
        // The gateway gives a connection a minute for its first channel.
        waits: Waits { stall: Duration::from_secs(90), ..Waits::default() },
    })
}

/// Runs the whole suite.
async fn judge(guest: Guest) -> Vec<Outcome> {
    let target = target(&guest);
    let cases = Selection::default().cases();
    let outcomes = conformance::run(&guest.env, &target, &cases, 1, |_| {}).await;
    outcomes.expect("the gateway can be judged")
}

/// Whether the gateway did otherwise than it should.
fn is_wrong(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Fail(_) | Verdict::Deviation(_))
}

/// The outcomes as the page that is kept.
fn page(outcomes: &[Outcome], meant: &[(&str, &str)]) -> String {
    let mut page = table(outcomes);
    for (id, why) in meant {
        writeln!(page, "\n{id}: {why}").expect("writing to a String cannot fail");
    }
    page
}

#[rstest]
#[case("as_it_comes", "", &[])]
#[case("observe_mode", "[config.gateway]\nmode = \"observe\"\n", &[REPLAYS])]
#[case("bip320_mask", "[config.gateway]\nversion_rolling_mask = 0x1fffe000\n", &[NARROW_MASK])]
#[case("fixed_version", "[config.gateway]\nversion_rolling_mask = 0\n", &[NO_ROLLING])]
#[case("no_extended", "[config.gateway]\nextended_channels = false\n", &[NO_EXTENDED])]
#[case("strict_ntime", "[config.share]\nntime_window = \"strict\"\n", &[STRICT_NTIME])]
#[case("group_addressing", "[config.gateway]\njob_addressing = \"group\"\n", &[])]
#[case("uneven_links", "[links.default]\nlatency = { uniform = [\"1ms\", \"9ms\"] }\n\
                        chunk = \"1..90\"\n", &[])]
fn the_gateway_breaks_no_rule(
    #[case] name: &str,
    #[case] config: &str,
    #[case] meant: &[(&str, &str)],
) {
    holds(name, &visited(config, judge), meant);
}

/// The documents tell as many settings as are judged, and each deviation that is meant.
#[test]
fn the_documents_name_the_settings() {
    // The rows of the table above, and one more below.
    let settings = include_str!("main.rs").matches("\n#[case(\"").count() + 1;
    assert_eq!(settings, 9, "the documents say nine");
    for text in [include_str!("../../README.md"), include_str!("../../../CHANGELOG.md")] {
        assert!(text.contains("under nine settings"), "{}", &text[..80]);
    }
    let differences = include_str!("../../DIFFERENCES.md");
    for (id, _) in [REPLAYS, NARROW_MASK, NO_ROLLING, STRICT_NTIME, NO_EXTENDED] {
        assert!(differences.contains(&format!("| {id} |")), "{id}");
    }
}

/// On regtest every other hash is a block, and no share may be harder than that.
#[test]
fn the_gateway_breaks_no_rule_where_targets_have_room() {
    let one_in_256 = CompactTarget::from_consensus(0x2000_ffff);
    let node = EmbeddedNode::with_bits(NODE_START_UNIX_S, one_in_256);
    // Ten hashes a share for what the suite says of its hash rate.
    let config = "[config.share]\ninitial_difficulty = 2e-9\n\
                  [config.vardiff]\ntarget_shares_per_minute = 6000.0\n\
                  min_difficulty = 1e-10\nmax_difficulty = 5e-8\n";
    holds("room_for_targets", &visited_on(node, config, judge), &[]);
}

/// Nothing but what is meant is wrong, and the page is as it is kept.
fn holds(name: &str, outcomes: &[Outcome], meant: &[(&str, &str)]) {
    let is_meant = |outcome: &Outcome| meant.iter().any(|(id, _)| *id == outcome.case.id);
    let (known, wrong): (Vec<_>, Vec<_>) =
        outcomes.iter().filter(|outcome| is_wrong(outcome)).partition(|o| is_meant(o));
    let wrong: String = wrong.into_iter().map(lines).collect();
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(known.len(), meant.len(), "each known deviation is one");
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/conformance"),
        prepend_module_to_snapshot => false,
        omit_expression => true
    }, {
        insta::assert_snapshot!(name, page(outcomes, meant));
    });
}
