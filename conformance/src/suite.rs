//! A run of cases against one server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use platform::Env;
use tokio::time::{Instant, timeout};

use crate::bench::{Bench, Target};
use crate::case::{Body, Case, Judged, Section, Stop, Verdict};
use crate::cases::catalogue;
use crate::client::client_catalogue;

/// Longest a case may take, beyond which the server is stuck in a way no case foresees.
const CASE_LIMIT: Duration = Duration::from_secs(180);

/// What came of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub case: &'static Case,
    /// Its verdict.
    pub verdict: Verdict,
    /// What was sent and seen, a line each.
    pub record: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Which cases to run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Sections; none means all.
    pub sections: Vec<Section>,
    /// Ids, or beginnings of ids; none means all.
    pub ids: Vec<String>,
}

impl Selection {
    /// The selected cases for servers, in the order of the catalogue.
    pub fn cases(&self) -> Vec<&'static Case> {
        catalogue().filter(|case| self.takes(case)).collect()
    }

    /// The selected cases for clients.
    pub fn client_cases(&self) -> Vec<&'static Case> {
        client_catalogue().filter(|case| self.takes(case)).collect()
    }

    fn takes(&self, case: &Case) -> bool {
        let section = self.sections.is_empty() || self.sections.contains(&case.section);
        let id = self.ids.is_empty() || self.ids.iter().any(|id| case.id.starts_with(id.as_str()));
        section && id
    }
}

/// Why a server cannot be judged at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// No connection, or no handshake.
    #[error("{address} cannot be judged: {reason}; is it an SV2 server, and is Noise as expected?")]
    Unreachable {
        /// The server.
        address: String,
        /// What failed.
        reason: String,
    },
    /// The port cannot be opened.
    #[error("cannot listen on {address}: {reason}; is it in use?")]
    Unavailable {
        /// Where clients were to connect.
        address: String,
        /// What failed.
        reason: String,
    },
    /// The selection is empty.
    #[error("no case is selected; `conformance list` shows them all")]
    NothingSelected,
}

/// Runs cases, up to `at_once` of them side by side, and tells each outcome in the order of the
/// cases.
///
/// # Errors
/// [`SuiteError`] when nothing could be judged.
pub async fn run(
    env: &Env,
    target: &Arc<Target>,
    cases: &[&'static Case],
    at_once: usize,
    mut tell: impl FnMut(&Outcome),
) -> Result<Vec<Outcome>, SuiteError> {
    if cases.is_empty() {
        return Err(SuiteError::NothingSelected);
    }
    reach(env, target).await?;
    let judging = cases.iter().map(|case| judge(env, target, case));
    let mut judging = stream::iter(judging).buffered(at_once.max(1));
    let mut outcomes = Vec::with_capacity(cases.len());
    while let Some(outcome) = judging.next().await {
        tell(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Runs one case.
pub async fn judge(env: &Env, target: &Arc<Target>, case: &'static Case) -> Outcome {
    let bench = Bench::new(env.clone(), Arc::clone(target));
    let started = Instant::now();
    let judged = match case.run {
        Body::Server(run) => limited(run(&bench)).await,
        Body::Client(_) => Err(Stop::inapplicable("the rule is for clients")),
    };
    let verdict = Verdict::of(judged, case.level);
    Outcome { case, verdict, record: bench.record(), took: started.elapsed() }
}

/// A body's end, or that it has none.
pub(crate) async fn limited(body: impl Future<Output = Judged>) -> Judged {
    timeout(CASE_LIMIT, body).await.unwrap_or_else(|_| {
        let limit = CASE_LIMIT.as_secs();
        Err(Stop::Breach(format!("the case did not come to its end within {limit} s")))
    })
}

/// One connection up to the handshake, so that a wrong address is not a hundred failed cases.
async fn reach(env: &Env, target: &Arc<Target>) -> Result<(), SuiteError> {
    let bench = Bench::new(env.clone(), Arc::clone(target));
    match bench.connect().await {
        Ok(_) => Ok(()),
        Err(Stop::Breach(reason) | Stop::Inapplicable(reason)) => {
            Err(SuiteError::Unreachable { address: target.address.clone(), reason })
        }
    }
}
