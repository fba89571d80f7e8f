//! What every walk begins with: a node with its chain, a folder, and the programs.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use gateway::log::recovery::{Recovered, recover};
use http::Request;
use http_body_util::Full;
use platform::Env;
use platform::http_client::HttpClient;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::WalkError;
use super::process::{Programs, Running};
use super::site::{self, Site};
use crate::node::{ChainScript, Node, RealNode};

/// The chain before the walk.
const BLOCKS: u32 = 101;
/// Transactions in the mempool.
const TRANSACTIONS: usize = 20;
/// The chain begins so long ago, so that no block of it is in the future: each is a second
/// younger than the one before.
const CHAIN_AGE_S: u64 = 3_600;

/// The real programs and what is around them. Fields are dropped from the top: programs end
/// before their node, and that before the folder.
pub(crate) struct Stage<'a> {
    pub(crate) running: Running,
    pub(crate) programs: &'a Programs,
    pub(crate) node: RealNode,
    pub(crate) chain: ChainScript,
    pub(crate) site: Site,
    pub(crate) env: Env,
    progress: &'a mut dyn FnMut(&str),
    /// What the gateway is started behind.
    wrapper: &'static [&'static str],
}

impl<'a> Stage<'a> {
    /// The node with its chain, and the folder.
    pub(crate) async fn begin(
        env: &Env,
        programs: &'a Programs,
        bitcoind: &Path,
        keep: bool,
        progress: &'a mut dyn FnMut(&str),
    ) -> Result<Self, WalkError> {
        let mut secret = [0; 16];
        env.rng.fill(&mut secret);
        let site = Site::new(env, keep, SecretString::from(const_hex::encode(secret))).await?;
        progress(&format!("starting {}", bitcoind.display()));
        let (node, chain) = young_chain(env, bitcoind)?;
        let (running, env) = (Running::default(), env.clone());
        Ok(Self { running, programs, node, chain, site, env, progress, wrapper: &[] })
    }

    /// Says what happens now.
    pub(crate) fn say(&mut self, step: &str) {
        (self.progress)(step);
    }

    /// Keys and configuration, `gateway` in place of keys of the gateway's, and everything but
    /// the gateway.
    pub(crate) async fn prepare(&mut self, gateway: &str) -> Result<(), WalkError> {
        let height = self.height()?;
        let (node, url) = (self.node.version().to_owned(), self.node.rpc_url());
        self.say(&format!("{node} at {url}, height {height}"));
        self.make_keys("keys", &[])?;
        self.site.configure(&self.node, gateway)?;
        let ports = &self.site.ports;
        let (judge, source) = (ports.verifier_http, ports.templates_http);
        for (program, port) in [("verifier", judge), ("template-manager", source)] {
            self.say(&format!("starting {program}"));
            self.launch(program)?;
            self.running.until_ready(&self.env, program, port).await?;
        }
        Ok(())
    }

    /// Has the gateway make keys in a folder of the site.
    pub(crate) fn make_keys(&self, out: &str, more: &[&str]) -> Result<(), WalkError> {
        let miners_at = site::loopback(self.site.ports.miners);
        let mut arguments = vec!["gen-keys", "--out", out, "--address", &miners_at];
        arguments.extend(more);
        self.programs.run("gateway", &arguments, self.site.folder()).map(drop)
    }

    /// The gateway meets its limit on the size of files as an error instead of being ended by it.
    pub(crate) fn survive_file_size(&mut self) {
        self.wrapper = &["/bin/sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    }

    /// The time until it was ready.
    pub(crate) async fn start_gateway(&mut self) -> Result<Duration, WalkError> {
        self.say("starting gateway");
        let begun = Instant::now();
        let arguments = ["--config", "gateway.toml"];
        let (wrapper, folder) = (self.wrapper, self.site.folder());
        self.running.add(self.programs.start_behind(wrapper, "gateway", &arguments, folder)?);
        let http = self.site.ports.gateway_http;
        self.running.until_ready(&self.env, "gateway", http).await?;
        Ok(begun.elapsed())
    }

    fn launch(&mut self, program: &'static str) -> Result<(), WalkError> {
        let config = format!("{program}.toml");
        let arguments = ["--config", &config];
        self.running.add(self.programs.start(program, &arguments, self.site.folder())?);
        Ok(())
    }

    /// What the gateway's log holds.
    pub(crate) fn recovered(&self) -> Result<Recovered, WalkError> {
        recover(self.env.storage.as_ref(), &self.site.log_directory(), 0)
            .map_err(|error| WalkError::Violated(error.to_string()))
    }

    /// The base of the gateway's HTTP interface.
    pub(crate) fn gateway_url(&self) -> String {
        format!("http://{}", site::loopback(self.site.ports.gateway_http))
    }

    pub(crate) fn height(&mut self) -> Result<u32, WalkError> {
        self.ask("getblockcount")
    }

    /// Asks the node something that takes no parameters.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, method: &str) -> Result<T, WalkError> {
        let node: &mut dyn Node = &mut self.node;
        Ok(node.ask(method, &json!([]))?)
    }

    /// Asks the gateway.
    pub(crate) fn http(&self) -> Http {
        Http { client: HttpClient::new(&self.env), base: self.gateway_url() }
    }
}

/// A node with a short chain and a filled mempool, which goes by the machine's clock.
pub(crate) fn young_chain(
    env: &Env,
    bitcoind: &Path,
) -> Result<(RealNode, ChainScript), WalkError> {
    let begins_s = env.wall.unix_ms() / 1000 - CHAIN_AGE_S;
    let mut node = RealNode::start(bitcoind, begins_s)?;
    let mut chain = ChainScript::new(1, begins_s);
    chain.premine(&mut node, BLOCKS, TRANSACTIONS)?;
    // From here on the node goes by the machine's clock, as the programs do.
    node.call("setmocktime", &json!([0]))?;
    chain.fill_mempool(&mut node, TRANSACTIONS)?;
    Ok((node, chain))
}

/// The gateway's HTTP interface.
pub(crate) struct Http {
    client: HttpClient,
    base: String,
}

impl Http {
    /// What it answers, whatever the status, as text.
    pub(crate) async fn get(&self, path: &str) -> Result<String, String> {
        let request = Request::get(format!("{}{path}", self.base))
            .body(Full::new(Bytes::new()))
            .expect("the request is well formed");
        let answer = self.client.send(request, ANSWER, MAX_ANSWER_BYTES).await;
        let answer = answer.map_err(|error| format!("{path}: {error}"))?;
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// The same as JSON.
    pub(crate) async fn get_json(&self, path: &str) -> Result<Value, String> {
        let text = self.get(path).await?;
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))
    }
}

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 << 20;
