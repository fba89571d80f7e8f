//! Found blocks on their way to the nodes.

use std::sync::Arc;

use gateway_core::event::{BlockFound, Event};
use gateway_core::session::FoundBlock;
use platform::http_client::HttpClient;
use platform::{Env, Shutdown};
use templates::client::{BlockSubmission, NodeResult, TemplateClient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::Config;
use crate::limits::{BLOCK_RETRY, BLOCKS_IN_SUBMISSION};
use crate::live::Live;
use crate::log::Record;
use crate::recorder::Recorder;

/// Submits blocks, each as a task of its own, until the nodes answer.
pub(crate) struct BlockSubmitter {
    pub(crate) env: Env,
    /// Where the connections to the template source are tasks.
    client_env: Env,
    live: Live,
    pub(crate) clock: Clock,
    pub(crate) recorder: Arc<Recorder>,
    places: Arc<Semaphore>,
    /// Cancelled when a drain has no time left.
    give_up: Shutdown,
}

impl BlockSubmitter {
    pub(crate) fn new(
        env: Env,
        client_env: Env,
        live: Live,
        clock: Clock,
        recorder: Arc<Recorder>,
        give_up: Shutdown,
    ) -> Self {
        let places = Arc::new(Semaphore::new(BLOCKS_IN_SUBMISSION));
        Self { env, client_env, live, clock, recorder, places, give_up }
    }

    /// Starts a submission; waits only where very many are under way.
    pub(crate) async fn submit(self: &Arc<Self>, block: FoundBlock) {
        let place =
            Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
        let submitter = Arc::clone(self);
        drop(self.env.tasks.spawn("block_submission", submitter.see_through(block, place)));
    }

    /// Submissions under way.
    pub(crate) fn under_way(&self) -> usize {
        BLOCKS_IN_SUBMISSION - self.places.available_permits()
    }

    /// Waits until no submission is under way.
    pub(crate) async fn finished(&self) {
        let all = u32::try_from(BLOCKS_IN_SUBMISSION).expect("a small number");
        drop(self.places.acquire_many(all).await);
    }

    async fn see_through(self: Arc<Self>, block: FoundBlock, place: OwnedSemaphorePermit) {
        let FoundBlock { hash, height, share_id, worker_id, bytes, .. } = block;
        let block = const_hex::encode(bytes);
        let submission = BlockSubmission { block, hash: hash.to_string(), height };
        tracing::info!(%hash, height, "block found");
        let answer = tokio::select! {
            biased;
            answer = self.until_answered(&submission) => Some(answer),
            () = self.give_up.cancelled() => None,
        };
        let (accepted, results) = match answer {
            Some((accepted, results)) => (Some(accepted), results),
            None => (None, Vec::new()),
        };
        match accepted {
            Some(true) => tracing::info!(%hash, height, ?results, "block accepted"),
            _ => tracing::error!(%hash, height, ?results, "block not accepted"),
        }
        let timestamp_ms = self.clock.now().unix_ms;
        let event =
            BlockFound { hash, height, share_id, worker_id, accepted, results, timestamp_ms };
        let event = self.recorder.counted(Event::BlockFound(event));
        // Without an answer it stays in the log, and the next life submits it again.
        let record = match accepted {
            Some(_) => Record::Submitted { hash: hash.to_string().into(), event },
            None => Record::Event(event),
        };
        if let Some(commit) = self.recorder.record(vec![record]).await {
            commit.await;
        }
        drop(place);
    }

    /// Whether a node took the block, and each node's answer in words. Asks again until some node
    /// gives an answer that will not change: then asking on would only hide what is wrong.
    async fn until_answered(&self, submission: &BlockSubmission) -> (bool, Vec<String>) {
        let mut backoff = Backoff::new(BLOCK_RETRY, Arc::clone(&self.env.rng));
        loop {
            match template_client(&self.live.now(), &self.client_env).submit_block(submission).await
            {
                // A node that could not be asked may still be the one that takes it.
                Ok(answer) if answer.accepted || answer.results.iter().any(answered) => {
                    return (answer.accepted, answer.results.iter().map(in_words).collect());
                }
                Ok(_) => tracing::error!(hash = submission.hash, "no node answers for the block"),
                Err(error) if error.is_final() => return (false, vec![error.to_string()]),
                Err(error) => {
                    tracing::error!(hash = submission.hash, %error, "block not submitted yet");
                }
            }
            mutant::bug!(BlockNotRetried, return (false, Vec::new()));
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }
}

/// A client of the template source that is configured.
pub(crate) fn template_client(config: &Config, env: &Env) -> TemplateClient {
    let (gateway, timeout) = (&config.gateway, config.timing.upstream_health_timeout);
    let http = HttpClient::trusting(env, gateway.https_trust.clone());
    let (cpu, key) = (Arc::clone(&env.cpu), gateway.upstream_api_key.clone());
    TemplateClient::new(http, cpu, &gateway.upstream_url, key, timeout)
}

fn answered(result: &NodeResult) -> bool {
    result.error.is_none() || result.is_final
}

fn in_words(result: &NodeResult) -> String {
    let said = match (&result.error, &result.result) {
        (Some(error), _) => error.as_str(),
        (None, Some(reason)) => reason.as_str(),
        (None, None) => "accepted",
    };
    format!("{}: {said}", result.node)
}
