//! The walk on a full disk: the gateway's log has no room left while miners work, twice. The first
//! time room comes back; the second time the gateway is killed before it does.
//!
//! The log lies on a small file system of its own where this user may mount one, and that is
//! filled to the last byte. Elsewhere the system forbids the gateway files larger than the one it
//! writes (RLIMIT_FSIZE), which it meets at the same place with another error.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::WalkError;
use super::crowd::Phase;
use super::findings::Findings;
use super::load::account;
use super::party::{Miners, Party};
use super::process::Running;
use super::stage::Stage;
use crate::actors::miner::Pace;

const MINERS: u32 = 10;
const SHARE_INTERVAL: Duration = Duration::from_millis(50);
/// How long all is well before and between.
const WELL: Duration = Duration::from_secs(5);
/// How long the disk stays full.
const FULL: Duration = Duration::from_secs(5);
/// What was on its way to a miner when the log failed is there after this.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// The size of the file system.
const SIZE: &str = "size=48m";

/// Does it.
pub(super) async fn full_disk(mut stage: Stage<'_>) -> Result<Findings, WalkError> {
    let party = Party::open(&stage, MINERS);
    stage.prepare("").await?;
    let disk = Disk::make(&stage.site.log_directory())?;
    stage.say(&disk.to_string());
    if matches!(disk, Disk::Limited) {
        stage.survive_file_size();
    }
    stage.start_gateway().await?;
    party.follow_events(&stage);
    let pace = |_| (1.0, Pace::Every(SHARE_INTERVAL));
    party.connect(&mut stage, &Miners { count: MINERS, a_second: 20.0, pace }).await?;
    tokio::time::sleep(WELL).await;

    let mut findings = Findings::default();
    findings.add("how the disk is full", true, disk.to_string());
    fill(&mut stage, &party, &disk, &mut findings).await?;
    stage.say("room again");
    disk.make_room(&stage.running)?;
    recovers(&mut stage, &party, &mut findings).await?;
    tokio::time::sleep(WELL).await;

    fill(&mut stage, &party, &disk, &mut findings).await?;
    stage.say("kill -9 on a full disk");
    stage.running.kill("gateway")?;
    disk.make_room(&stage.running)?;
    stage.start_gateway().await?;
    works_again(&mut stage, &party).await?;
    tokio::time::sleep(WELL).await;
    party.settle(&mut stage).await?;
    let left = party.drain(&mut stage).await?.1.unresolved.len();
    findings.add("nothing left by the drain", left == 0, format!("{left} shares"));
    account(&party, &mut findings);
    Ok(findings)
}

/// No room: the gateway says why, and acknowledges nothing.
async fn fill(
    stage: &mut Stage<'_>,
    party: &Party,
    disk: &Disk,
    findings: &mut Findings,
) -> Result<(), WalkError> {
    stage.say("the disk is full");
    disk.fill(&stage.running)?;
    let http = stage.http();
    let failing = async || {
        let status = http.get_json("/api/v1/status").await?;
        if status["log_stall"].is_null() { Err(status["log"].to_string()) } else { Ok(status) }
    };
    let wanted = "the gateway to say that its log takes nothing";
    let status = stage.running.until(wanted, "gateway", failing).await?;
    let ready = http.get("/ready").await.map_err(WalkError::Violated)?;
    let metrics = http.get("/metrics").await.map_err(WalkError::Violated)?;
    let says = says_why(&status, &ready, &metrics);
    let figures = format!("status {}; ready {}", status["log_stall"], ready.trim());
    findings.add("the gateway says why", says, figures);

    tokio::time::sleep(ON_ITS_WAY).await;
    let before = party.crowd.counts();
    tokio::time::sleep(FULL).await;
    let after = party.crowd.counts();
    let acknowledged = after.acknowledged - before.acknowledged;
    let sent = after.sent - before.sent;
    let figures = format!("{sent} sent and {acknowledged} acknowledged in {} s", FULL.as_secs());
    findings.add("nothing acknowledged on a full disk", acknowledged == 0 && sent > 0, figures);
    Ok(())
}

/// Whether the log's state is told where operators look.
fn says_why(status: &Value, ready: &str, metrics: &str) -> bool {
    let stall = &status["log_stall"];
    let is_told = stall["cause"] == "disk_full" && stall["error"].is_string();
    let is_counted = metrics
        .lines()
        .any(|line| line.starts_with("gateway_log_stalls_total{cause=\"disk_full\"} "));
    let is_down = metrics.lines().any(|line| line == "gateway_up{of=\"log\"} 0");
    is_told && ready.contains("log_disk_full") && is_counted && is_down
}

/// Room again: everyone is acknowledged again, and an event says what was.
async fn recovers(
    stage: &mut Stage<'_>,
    party: &Party,
    findings: &mut Findings,
) -> Result<(), WalkError> {
    let told = party.next_event(stage, "log_recovered", 0).await?;
    let fits = told["cause"] == "disk_full"
        && told["stalled_ms"].as_u64().is_some_and(|ms| ms >= FULL.as_millis() as u64);
    findings.add("the gateway says when it recovered", fits, told.to_string());
    works_again(stage, party).await
}

/// Waits until every miner has another share acknowledged.
async fn works_again(stage: &mut Stage<'_>, party: &Party) -> Result<(), WalkError> {
    let crowd = party.crowd.clone();
    let before = crowd.accepted(Phase::Before);
    let again = async || {
        let now = crowd.accepted(Phase::Before);
        let waiting = now.iter().zip(&before).filter(|(now, before)| now <= before).count();
        if waiting == 0 { Ok(()) } else { Err(format!("{waiting} wait")) }
    };
    stage.running.until("an acknowledged share for every miner", "gateway", again).await
}

/// A disk that can be full.
enum Disk {
    /// A file system of its own; unmounted when this is dropped.
    Mounted(PathBuf),
    /// The system's limit on the size of files.
    Limited,
}

impl Disk {
    fn make(directory: &Path) -> Result<Self, WalkError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| WalkError::machine(directory.display().to_string(), source))?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "assay-walk"])
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        Ok(if is_mounted { Self::Mounted(directory.to_owned()) } else { Self::Limited })
    }

    fn fill(&self, running: &Running) -> Result<(), WalkError> {
        match self {
            Self::Mounted(directory) => {
                let path = ballast(directory);
                let mut file = std::fs::File::create(&path)
                    .map_err(|source| WalkError::machine(path.display().to_string(), source))?;
                // Until there is no room even for a byte.
                for piece in [1 << 16, 1] {
                    while std::io::Write::write_all(&mut file, &vec![0; piece]).is_ok() {}
                }
                Ok(())
            }
            // Every file that the gateway writes is longer than this.
            Self::Limited => limit(running, "1:unlimited"),
        }
    }

    fn make_room(&self, running: &Running) -> Result<(), WalkError> {
        match self {
            Self::Mounted(directory) => std::fs::remove_file(ballast(directory))
                .map_err(|source| WalkError::machine("the disk cannot be emptied", source)),
            Self::Limited if running.pid("gateway").is_none() => Ok(()),
            Self::Limited => limit(running, "unlimited"),
        }
    }
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mounted(_) => "the log is on a tmpfs of 48 MiB, filled to the last byte",
            Self::Limited => "no file system can be mounted here: RLIMIT_FSIZE stands in for it",
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(directory) = self {
            // What still uses it is gone soon, and the mount with it.
            let _ = Command::new("umount").arg("--lazy").arg(directory).status();
        }
    }
}

fn ballast(directory: &Path) -> PathBuf {
    directory.join("ballast")
}

/// Sets the limit on the size of the gateway's files.
fn limit(running: &Running, size: &str) -> Result<(), WalkError> {
    let pid = running.pid("gateway").unwrap_or_default();
    let failed = |source| WalkError::machine("prlimit", source);
    let status = Command::new("prlimit")
        .args([format!("--pid={pid}"), format!("--fsize={size}")])
        .status()
        .map_err(failed)?;
    let refused = || WalkError::Violated(format!("prlimit --fsize={size} was refused"));
    if status.success() { Ok(()) } else { Err(refused()) }
}
