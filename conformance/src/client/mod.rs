//! The suite for clients: a scripted server, and what a miner or proxy does on it.

mod cases;
mod channel;
mod counter;
mod play;
mod visitor;
mod watch;
mod work;

use std::sync::Arc;

use platform::Env;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::case::{Body, Case, Stop, Verdict};
use crate::suite::{Outcome, SuiteError, limited};

pub use cases::client_catalogue;
use counter::Front;
pub use counter::{ClientWaits, Counter, Hosting};

/// Clients that wait for a case to take them; more are turned away.
const MAX_WAITING: usize = 16;

/// Listens, runs cases one after the other on the clients that come, and tells each outcome.
///
/// # Errors
/// [`SuiteError`] when nothing could be judged.
pub async fn serve(
    env: &Env,
    hosting: &Arc<Hosting>,
    cases: &[&'static Case],
    mut tell: impl FnMut(&Outcome),
) -> Result<Vec<Outcome>, SuiteError> {
    if cases.is_empty() {
        return Err(SuiteError::NothingSelected);
    }
    let mut listener = env.net.listen(&hosting.listen).await.map_err(|error| {
        SuiteError::Unavailable { address: hosting.listen.clone(), reason: error.to_string() }
    })?;
    let (arrivals, queue) = mpsc::channel(MAX_WAITING);
    let accepting = env.tasks.spawn("counter", async move {
        while let Ok(stream) = listener.accept().await {
            // Who finds the queue full is turned away by the drop.
            if let Err(mpsc::error::TrySendError::Closed(_)) = arrivals.try_send(stream) {
                return;
            }
        }
    });
    let front = Arc::new(Front::new(env.clone(), Arc::clone(hosting), queue));
    let mut outcomes = Vec::with_capacity(cases.len());
    for case in cases {
        let outcome = judge(&front, case).await;
        tell(&outcome);
        outcomes.push(outcome);
    }
    accepting.abort();
    Ok(outcomes)
}

async fn judge(front: &Arc<Front>, case: &'static Case) -> Outcome {
    front.turn_away().await;
    let counter = Counter::new(Arc::clone(front));
    let started = Instant::now();
    let judged = match case.run {
        Body::Client(run) => limited(run(&counter)).await,
        Body::Server(_) => Err(Stop::inapplicable("the rule is for servers")),
    };
    let verdict = Verdict::of(judged, case.level);
    Outcome { case, verdict, record: counter.record(), took: started.elapsed() }
}
