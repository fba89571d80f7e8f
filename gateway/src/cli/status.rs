//! `gateway status`: what a running gateway says of itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::Full;
use platform::Env;
use platform::http_client::HttpClient;
use platform::tls::Trust;
use serde_json::Value;

use super::view;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 4 << 20;

#[derive(Args)]
pub(crate) struct TargetArgs {
    /// The HTTP interface of the gateway.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with the key that it asks for.
    #[arg(long)]
    api_key_file: Option<PathBuf>,
    /// Certificates (PEM) that vouch for it beside the public authorities, or that it shows itself.
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the report once: 0 where the gateway is ready, 1 where it is not.
pub(crate) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let gateway = Target::new(&args.target)?;
    let report = gateway.get("/api/v1/status").await?;
    if args.json {
        println!("{report}");
    } else {
        print!("{}", view::status(&report));
    }
    let is_ready = report["ready"] == true;
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A running gateway that is asked over HTTP.
pub(super) struct Target {
    http: HttpClient,
    url: String,
    key: Option<zeroize::Zeroizing<String>>,
}

impl Target {
    pub(super) fn new(args: &TargetArgs) -> anyhow::Result<Self> {
        let env: Env = platform::real::env();
        let read =
            |path: &PathBuf| env.storage.read(path).with_context(|| path.display().to_string());
        let key = match &args.api_key_file {
            Some(path) => {
                let text = String::from_utf8(read(path)?);
                let text = text.with_context(|| path.display().to_string())?;
                Some(zeroize::Zeroizing::new(text.trim().to_owned()))
            }
            None => None,
        };
        let trust = match &args.ca_file {
            Some(path) => {
                Trust::public_and(&read(path)?).with_context(|| path.display().to_string())?
            }
            None => Trust::public(),
        };
        let url = args.url.trim_end_matches('/').to_owned();
        Ok(Self { http: HttpClient::trusting(&env, trust), url, key })
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let uri = format!("{}{path}", self.url);
        let mut request = Request::get(&uri);
        if let Some(key) = &self.key {
            request = request.header("x-api-key", key.as_str());
        }
        let request = request.body(Full::new(Bytes::new())).with_context(|| uri.clone())?;
        let answer = self.http.send(request, TIMEOUT, MAX_ANSWER_BYTES).await;
        let answer = answer.with_context(|| uri.clone())?;
        let body: Value = serde_json::from_slice(answer.body())
            .with_context(|| format!("{uri} answers what is no JSON"))?;
        let problem = body["error"].as_str().unwrap_or("no reason given");
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{uri} answers HTTP {status}: {problem}");
        Ok(body)
    }
}
