//! The handlers behind `/api/v1`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use gateway_core::TemplateReport;
use gateway_core::ids::{ChannelId, ConnectionId, WorkerId};
use gateway_core::roster::ChannelKey;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Api;
use super::answer::{Parameters, encode, error, json, ok};
use crate::status::HashRate;

/// Entries of a page unless the reader wants another number.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

pub(super) async fn status(State(api): State<Arc<Api>>) -> Response {
    json(StatusCode::OK, api.status.report())
}

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

impl Page {
    /// How many entries, or what is wrong.
    fn limit(&self) -> Result<usize, Box<Response>> {
        let limit = self.limit.unwrap_or(PAGE);
        if (1..=LARGEST_PAGE).contains(&limit) {
            return Ok(limit);
        }
        let problem = format!("limit={limit} is not from 1 to {LARGEST_PAGE}");
        Err(Box::new(error(StatusCode::BAD_REQUEST, &problem)))
    }

    fn channel(&self) -> Result<Option<ChannelKey>, Box<Response>> {
        let Some(after) = &self.after else { return Ok(None) };
        let key = after.split_once('.').and_then(|(miner, channel)| {
            Some((ConnectionId(miner.parse().ok()?), ChannelId(channel.parse().ok()?)))
        });
        let problem = format!("after={after:?} is no `next` of a page before, such as 7.1");
        key.map(Some).ok_or_else(|| Box::new(error(StatusCode::BAD_REQUEST, &problem)))
    }
}

pub(super) async fn channels(
    State(api): State<Arc<Api>>,
    Parameters(page): Parameters<Page>,
) -> Response {
    #[derive(Serialize)]
    struct Channel {
        miner_id: u64,
        channel_id: u32,
        worker_id: String,
        is_extended: bool,
        difficulty: f64,
        hash_rate: HashRate,
        shares_accepted: u64,
        shares_refused: u64,
        last_share_age_ms: Option<u128>,
    }
    #[derive(Serialize)]
    struct Channels {
        channels: Vec<Channel>,
        next: Option<String>,
    }
    let (limit, after) = match page.limit().and_then(|limit| Ok((limit, page.channel()?))) {
        Ok(chosen) => chosen,
        Err(answer) => return *answer,
    };
    let reports = api.status.shared.channel_reports(after, limit, api.status.clock.now().mono);
    let is_full = reports.len() == limit;
    let last = reports.last().filter(|_| is_full).map(|report| report.key);
    let next = last.map(|(miner, channel)| format!("{}.{}", miner.0, channel.0));
    let channels = reports.into_iter().map(|report| Channel {
        miner_id: report.key.0.0,
        channel_id: report.key.1.0,
        worker_id: report.worker.as_str().to_owned(),
        is_extended: report.is_extended,
        difficulty: report.difficulty.as_f64(),
        hash_rate: report.rates.into(),
        shares_accepted: report.shares_accepted,
        shares_refused: report.shares_refused,
        last_share_age_ms: report.last_share_age.map(|age| age.as_millis()),
    });
    ok(&Channels { channels: channels.collect(), next })
}

pub(super) async fn workers(
    State(api): State<Arc<Api>>,
    Parameters(page): Parameters<Page>,
) -> Response {
    #[derive(Serialize)]
    struct Worker {
        worker_id: String,
        hash_rate: HashRate,
    }
    #[derive(Serialize)]
    struct Workers {
        workers: Vec<Worker>,
        next: Option<String>,
    }
    let limit = match page.limit() {
        Ok(limit) => limit,
        Err(answer) => return *answer,
    };
    let after = page.after.as_deref().map(WorkerId::new);
    let now = api.status.clock.now().mono;
    let reports = api.status.shared.worker_reports(after.as_ref(), limit, now);
    let is_full = reports.len() == limit;
    let workers: Vec<Worker> = reports
        .into_iter()
        .map(|report| Worker {
            worker_id: report.worker.as_str().to_owned(),
            hash_rate: report.rates.into(),
        })
        .collect();
    let next = workers.last().filter(|_| is_full).map(|worker| worker.worker_id.clone());
    ok(&Workers { workers, next })
}

/// The last changes of tip with their stage times, newest first.
pub(super) async fn prevhash(State(api): State<Arc<Api>>) -> Response {
    let switches = api.status.recorder.switches().join(",");
    json(StatusCode::OK, format!(r#"{{"switches":[{switches}]}}"#))
}

pub(super) async fn templates(State(api): State<Arc<Api>>) -> Response {
    #[derive(Serialize)]
    struct Templates {
        templates: Vec<TemplateShown>,
    }
    let reports = api.status.shared.template_reports();
    ok(&Templates { templates: reports.into_iter().map(TemplateShown::from).collect() })
}

#[derive(Serialize)]
struct TemplateShown {
    template_id: u64,
    source: String,
    height: u32,
    prev_hash: String,
    observed_at_ms: u64,
    tx_count: u64,
    total_fees: u64,
    coinbase_value: u64,
    weight: u64,
    state: &'static str,
    verdict: Option<VerdictShown>,
}

#[derive(Serialize)]
struct VerdictShown {
    accepted: bool,
    reason_code: String,
    reason_detail: Option<String>,
    policy_hash: Option<String>,
}

impl From<TemplateReport> for TemplateShown {
    fn from(report: TemplateReport) -> Self {
        let declared = report.declared;
        Self {
            template_id: report.template_id.0,
            source: report.source,
            height: report.height,
            prev_hash: report.prev_hash.to_string(),
            observed_at_ms: report.observed_at_ms,
            tx_count: declared.tx_count,
            total_fees: declared.total_fees,
            coinbase_value: declared.coinbase_value,
            weight: declared.weight,
            state: report.state.as_str(),
            verdict: report.verdict.map(|verdict| VerdictShown {
                accepted: verdict.accepted,
                reason_code: verdict.reason_code.clone(),
                reason_detail: verdict.reason_detail.clone(),
                policy_hash: verdict.policy_hash.clone(),
            }),
        }
    }
}

/// The configuration in force, secrets redacted.
pub(super) async fn config(State(api): State<Arc<Api>>) -> Response {
    #[derive(Serialize)]
    struct Shown<'a> {
        key: &'a str,
        value: &'a str,
        origin: &'static str,
        class: &'static str,
    }
    #[derive(Serialize)]
    struct Config<'a> {
        settings: Vec<Shown<'a>>,
    }
    let config = api.status.live.now();
    let shown = config.settings().iter().map(|setting| Shown {
        key: &setting.key,
        value: &setting.value,
        origin: setting.origin.as_str(),
        class: setting.table_key().class().as_str(),
    });
    ok(&Config { settings: shown.collect() })
}

/// Reads the configuration again: 200 with what changed, or 422 with every problem of it.
pub(super) async fn reload(State(api): State<Arc<Api>>) -> Response {
    let (request, outcome) = oneshot::channel();
    let ended = || error(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending");
    if api.reloads.send(request).await.is_err() {
        return ended();
    }
    let Ok(outcome) = outcome.await else { return ended() };
    let code = if outcome.applied { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    json(code, encode(&outcome))
}

/// Begins a drain; the answer comes before its end.
pub(super) async fn drain(State(api): State<Arc<Api>>) -> Response {
    tracing::warn!("drain asked for over HTTP");
    api.status.draining.store(true, Ordering::Relaxed);
    api.drain.cancel();
    json(StatusCode::ACCEPTED, r#"{"draining":true}"#.to_owned())
}
