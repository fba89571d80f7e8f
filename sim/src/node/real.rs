//! A real regtest bitcoind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoind::BitcoinD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Answer, Node, RpcError, find};

/// How long one call may take: far longer than connecting a full block does.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// What makes a run repeatable: no peers, nothing kept, one script thread, a clock of our own.
const OPTIONS: &[&str] = &[
    "-regtest",
    "-connect=0",
    "-dnsseed=0",
    "-fixedseeds=0",
    "-persistmempool=0",
    "-par=1",
    "-rpcservertimeout=3600",
];

/// What makes Bitcoin Knots fill blocks as Bitcoin Core does; Core knows none of these.
const KNOTS_OPTIONS: &[&str] = &[
    "-corepolicy=1",
    "-blockmaxsize=4000000",
    "-blockmaxweight=4000000",
    "-blockprioritysize=0",
    "-softwareexpiry=0",
];

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[error("{exe} did not start: {reason}; `sim node status` tells which node is used and why")]
pub struct StartError {
    exe: String,
    reason: String,
}

/// A regtest bitcoind of our own, without a wallet; it ends when this is dropped.
pub struct RealNode {
    /// Keeps the process alive, and knows its files.
    process: BitcoinD,
    connection: Option<BufReader<TcpStream>>,
    address: SocketAddrV4,
    authorization: String,
    version: String,
}

impl RealNode {
    /// Starts `exe` on an empty chain with its clock at `unix_s`, seconds since the Unix epoch,
    /// and waits until it answers (about 200 ms).
    pub fn start(exe: &Path, unix_s: u64) -> Result<Self, StartError> {
        let failed = |reason: String| StartError { exe: exe.display().to_string(), reason };
        let version = find::version(exe).map_err(failed)?;
        let mock_time = format!("-mocktime={unix_s}");
        let mut conf = bitcoind::Conf::default();
        conf.args = OPTIONS.to_vec();
        conf.args.push(&mock_time);
        if version.contains("Knots") {
            conf.args.extend_from_slice(KNOTS_OPTIONS);
        }
        conf.wallet = None;
        let process =
            BitcoinD::with_conf(exe, &conf).map_err(|error| failed(format!("{error:#}")))?;
        let cookie = std::fs::read_to_string(&process.params.cookie_file)
            .map_err(|error| failed(format!("its cookie cannot be read: {error}")))?;
        Ok(Self {
            address: process.params.rpc_socket,
            authorization: format!("Basic {}", STANDARD.encode(cookie.trim())),
            connection: None,
            process,
            version,
        })
    }

    /// Where other programs reach its JSON-RPC.
    pub fn rpc_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The file with which other programs prove that they may; it goes with the node.
    pub fn cookie_file(&self) -> &Path {
        &self.process.params.cookie_file
    }

    /// Sends one request on the kept connection, or on a new one when the node closed it.
    fn exchange(&mut self, body: &str) -> std::io::Result<Vec<u8>> {
        if let Some(mut connection) = self.connection.take() {
            // An idle connection may have been closed; a request that got a byte back was not
            // lost and is never sent twice.
            self.send(connection.get_mut(), body)?;
            if !connection.fill_buf().unwrap_or_default().is_empty() {
                return self.receive(connection);
            }
        }
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CALL_TIMEOUT))?;
        let mut connection = BufReader::new(stream);
        self.send(connection.get_mut(), body)?;
        self.receive(connection)
    }

    fn send(&self, stream: &mut TcpStream, body: &str) -> std::io::Result<()> {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.authorization,
            body.len()
        );
        stream.write_all(request.as_bytes())
    }

    /// Reads one answer's body and keeps the connection for the next.
    fn receive(&mut self, mut connection: BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
        let mut length = None;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
        let length = length.ok_or_else(|| std::io::Error::other("an answer without a length"))?;
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        self.connection = Some(connection);
        Ok(body)
    }
}

impl Node for RealNode {
    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
        let request =
            serde_json::json!({ "jsonrpc": "1.0", "id": 0, "method": method, "params": params });
        let body = self.exchange(&request.to_string()).map_err(|error| {
            RpcError::new(
                RpcError::UNREACHABLE,
                format!("bitcoind did not answer {method}: {error}"),
            )
        })?;
        let reply: Reply = serde_json::from_slice(&body).map_err(|error| {
            RpcError::new(RpcError::UNREADABLE, format!("bitcoind's answer to {method}: {error}"))
        })?;
        match reply.error {
            Some(Failure { code, message }) => Err(RpcError { code, message }),
            None => Ok(reply.result.unwrap_or_else(|| RawValue::NULL.to_owned())),
        }
    }

    fn version(&self) -> &str {
        &self.version
    }
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Box<RawValue>>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: i64,
    message: String,
}
