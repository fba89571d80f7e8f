//! The view of the node's mempool, and how a template is compared with it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Txid;
use policy::MempoolRules;
use tokio::time::Instant;
use verifier_protocol::VerdictCode;

/// How many unknown transactions an objection names.
const SAMPLE: usize = 5;
/// How many it names with `policy.mempool.per_tx_detail`.
const DETAILED_SAMPLE: usize = 100;

/// The node's mempool at one moment.
#[derive(Debug)]
pub(crate) struct View {
    /// Sorted.
    txids: Vec<Txid>,
    taken_at: Instant,
}

impl View {
    pub(crate) fn new(mut txids: Vec<Txid>, taken_at: Instant) -> Self {
        txids.sort_unstable();
        Self { txids, taken_at }
    }

    fn knows(&self, txid: &Txid) -> bool {
        self.txids.binary_search(txid).is_ok()
    }
}

/// How far the view can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewState {
    /// The latest poll brought it.
    Fresh,
    /// The latest poll failed; the view before it is still young enough.
    Degraded,
    /// It is older than `policy.mempool.max_stale_secs` and counts for nothing.
    Stale,
    /// There has been none yet.
    Unavailable,
}

impl ViewState {
    pub(crate) const ALL: [Self; 4] = [Self::Fresh, Self::Degraded, Self::Stale, Self::Unavailable];

    /// The state's name in answers and labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Degraded => "degraded",
            Self::Stale => "stale",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What is known of the mempool at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) state: ViewState,
    view: Option<Arc<View>>,
    pub(crate) age: Duration,
    /// Why the latest poll failed.
    pub(crate) failure: Option<String>,
}

impl Sight {
    pub(crate) fn of(
        view: Option<Arc<View>>,
        failure: Option<String>,
        now: Instant,
        max_stale: Duration,
    ) -> Self {
        let age = view.as_ref().map_or(Duration::ZERO, |view| now - view.taken_at);
        let state = match (&view, &failure) {
            (None, _) => ViewState::Unavailable,
            (Some(_), _) if age >= max_stale => ViewState::Stale,
            (Some(_), Some(_)) => ViewState::Degraded,
            (Some(_), None) => ViewState::Fresh,
        };
        Self { state, view, age, failure }
    }

    /// Whether something may be concluded from it.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.state, ViewState::Fresh | ViewState::Degraded)
    }

    /// Whether there has been a view at all, whatever its age.
    pub(crate) fn has_view(&self) -> bool {
        self.view.is_some()
    }

    /// How many transactions the mempool holds, where that is known.
    pub(crate) fn measured_tx(&self) -> Option<u64> {
        let view = self.view.as_ref().filter(|_| self.is_usable())?;
        Some(view.txids.len() as u64)
    }

    /// The state with its figures, for people.
    pub(crate) fn state_detail(&self) -> String {
        let mut text = self.state.as_str().to_owned();
        if self.view.is_some() {
            write!(text, ", view_age_ms={}", self.age.as_millis())
                .expect("a String takes any text");
        }
        if let Some(failure) = &self.failure {
            write!(text, ", node: {failure}").expect("a String takes any text");
        }
        text
    }
}

/// Why the mempool check does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objection {
    pub(crate) code: VerdictCode,
    pub(crate) detail: String,
    /// `false`: there was no view to compare with, so the check did not run.
    pub(crate) ran: bool,
}

/// Holds a template's transactions (the coinbase not among them) against the view.
pub(crate) fn compare(
    rules: &MempoolRules,
    sight: &Sight,
    txids: &[Txid],
) -> Result<(), Objection> {
    let did_not_run = |code| Objection { code, detail: sight.state_detail(), ran: false };
    let view = match (&sight.view, sight.state) {
        (None, _) | (_, ViewState::Unavailable) => {
            return Err(did_not_run(VerdictCode::MempoolBackendUnavailable));
        }
        (_, ViewState::Stale) => return Err(did_not_run(VerdictCode::MempoolViewStale)),
        (Some(view), ViewState::Fresh | ViewState::Degraded) => view,
    };
    let unknown: Vec<&Txid> = txids.iter().filter(|txid| !view.knows(txid)).collect();
    #[allow(clippy::cast_precision_loss)] // A block has less than 2^53 transactions.
    let unknown_pct = 100.0 * unknown.len() as f64 / txids.len().max(1) as f64;
    if unknown_pct <= rules.tolerance_pct {
        return Ok(());
    }
    let named = if rules.per_tx_detail { DETAILED_SAMPLE } else { SAMPLE };
    let mut detail = format!(
        "unknown_pct={unknown_pct:.2} > tolerance_pct={} ({} of {}); view_age_ms={}; unknown:",
        rules.tolerance_pct,
        unknown.len(),
        txids.len(),
        sight.age.as_millis()
    );
    for txid in unknown.iter().take(named) {
        write!(detail, " {txid}").expect("a String takes any text");
    }
    if unknown.len() > named {
        write!(detail, " and {} more", unknown.len() - named).expect("a String takes any text");
    }
    Err(Objection { code: VerdictCode::MempoolUnknownRatioExceeded, detail, ran: true })
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use rstest::rstest;

    use super::*;

    fn txids(seeds: std::ops::Range<u8>) -> Vec<Txid> {
        seeds.rev().map(|seed| Txid::from_byte_array([seed; 32])).collect()
    }

    fn sight(age_secs: u64, failure: Option<&str>) -> Sight {
        let taken_at = Instant::now();
        let view = Arc::new(View::new(txids(0..100), taken_at));
        let now = taken_at + Duration::from_secs(age_secs);
        Sight::of(Some(view), failure.map(str::to_owned), now, Duration::from_secs(60))
    }

    #[rstest]
    #[case(0, None, ViewState::Fresh, Some(100))]
    #[case(59, Some("gone"), ViewState::Degraded, Some(100))]
    #[case(60, None, ViewState::Stale, None)]
    #[case(60, Some("gone"), ViewState::Stale, None)]
    fn a_view_ages(
        #[case] age_secs: u64,
        #[case] failure: Option<&str>,
        #[case] state: ViewState,
        #[case] measured: Option<u64>,
    ) {
        let sight = sight(age_secs, failure);
        assert_eq!((sight.state, sight.measured_tx()), (state, measured));
    }

    #[rstest]
    #[case::all_known(0..100, None)]
    #[case::nothing_to_compare(0..0, None)]
    #[case::at_the_tolerance(4..104, None)]
    #[case::over_it(5..105, Some("unknown_pct=5.00 > tolerance_pct=4 (5 of 100); view_age_ms=0;"))]
    fn the_tolerance_is_a_share_of_the_template(
        #[case] template: std::ops::Range<u8>,
        #[case] detail: Option<&str>,
    ) {
        let judged = compare(&MempoolRules::default(), &sight(0, None), &txids(template));
        match (judged, detail) {
            (Ok(()), None) => {}
            (Err(objection), Some(detail)) => {
                assert_eq!(objection.code, VerdictCode::MempoolUnknownRatioExceeded);
                assert!(objection.ran && objection.detail.starts_with(detail), "{objection:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case(false, 5, " and 25 more")]
    #[case(true, 30, "")]
    fn a_sample_of_the_unknown_is_named(
        #[case] per_tx_detail: bool,
        #[case] named: usize,
        #[case] end: &str,
    ) {
        let rules = MempoolRules { per_tx_detail, ..MempoolRules::default() };
        let objection = compare(&rules, &sight(0, None), &txids(100..130)).unwrap_err();
        let (_, names) = objection.detail.split_once("unknown:").unwrap();
        assert_eq!(names.split(' ').filter(|name| name.len() == 64).count(), named);
        assert!(names.ends_with(end));
    }

    #[rstest]
    #[case(sight(60, None), VerdictCode::MempoolViewStale)]
    #[case(
        Sight::of(None, None, Instant::now(), Duration::ZERO),
        VerdictCode::MempoolBackendUnavailable
    )]
    fn without_a_usable_view_the_check_does_not_run(
        #[case] sight: Sight,
        #[case] code: VerdictCode,
    ) {
        let objection = compare(&MempoolRules::default(), &sight, &[]).unwrap_err();
        assert_eq!((objection.code, objection.ran), (code, false));
    }
}
