//! `mining_device`, a CPU miner, straight at the gateway.
//!
//! It hashes for real. On regtest half of all hashes are blocks and most are shares, so it is
//! slowed down to a few hashes a second, and finds blocks all the time. It ends when its server
//! does, so a new one is started after a restart of the gateway.

use super::accounts;
use super::table::{Row, Table};
use crate::walk::process::Programs;
use crate::walk::scene::Scene;
use crate::walk::{WalkError, site};

const PROGRAM: &str = "mining_device";
const TRIAL: &str = "mining_device";
/// Shares that must be accepted.
const SHARES: usize = 20;
/// Blocks that the node must have of it.
const BLOCKS: usize = 3;
/// Microseconds that it rests between two hashes.
const REST_US: &str = "200000";

/// Tries everything; the first thing that fails ends it.
pub(super) async fn tried(mut scene: Scene<'_>, theirs: &Programs, table: &mut Table) {
    scene.stage.say(TRIAL);
    let mut add = |check, outcome: Result<String, WalkError>| {
        let outcome = outcome.map_err(|error| error.to_string());
        let holds = outcome.is_ok();
        table.rows.push(Row { trial: TRIAL.to_owned(), check, outcome });
        holds
    };
    let _ = add("shares", shares(&mut scene, theirs).await)
        && add("blocks", blocks(&mut scene).await)
        && add("exactly once", exactly_once(&mut scene).await)
        && add("gateway restarts", restart(&mut scene, theirs).await);
}

fn start(scene: &mut Scene<'_>, theirs: &Programs) -> Result<(), WalkError> {
    let address = site::loopback(scene.stage.site.ports.miners);
    let authority = scene.stage.site.authority()?.to_string();
    let identity = format!("{}device", site::MINER_PREFIX);
    let arguments = [
        "--address-pool",
        &address,
        "--pubkey-pool",
        &authority,
        "--id-user",
        &identity,
        "--handicap",
        REST_US,
        "--nonces-per-call",
        "1",
        "--cores",
        "1",
    ];
    scene.stage.running.add(theirs.start(PROGRAM, &arguments, scene.stage.site.folder())?);
    Ok(())
}

/// It measures itself for five seconds, opens a channel, and its shares are accepted.
async fn shares(scene: &mut Scene<'_>, theirs: &Programs) -> Result<String, WalkError> {
    start(scene, theirs)?;
    let known = accounts::accepted(&scene.stream.observations()).len();
    let count = until_shares_come(scene, known + SHARES).await?;
    Ok(format!("{count} are accepted, as {:?}", accounts::workers(&scene.stream.observations())))
}

async fn until_shares_come(scene: &mut Scene<'_>, wanted: usize) -> Result<usize, WalkError> {
    let stream = scene.stream.clone();
    let enough = async || match accounts::accepted(&stream.observations()).len() {
        count if count >= wanted => Ok(count),
        count => Err(format!("{count} of {wanted} came")),
    };
    scene.stage.running.until("shares of the device", PROGRAM, enough).await
}

/// Blocks that it finds are the node's.
async fn blocks(scene: &mut Scene<'_>) -> Result<String, WalkError> {
    let stream = scene.stream.clone();
    let enough = async || match accounts::blocks(&stream.observations()).len() {
        count if count >= BLOCKS => Ok(()),
        count => Err(format!("{count} came")),
    };
    scene.stage.running.until("blocks of the device", "gateway", enough).await?;
    let (blocks, height) = (accounts::blocks(&scene.stream.observations()), scene.stage.height()?);
    Ok(format!("{} blocks, the node is at {height}", blocks.len()))
}

/// It stops, and every share has its one result.
async fn exactly_once(scene: &mut Scene<'_>) -> Result<String, WalkError> {
    scene.stage.running.kill(PROGRAM)?;
    let shares = accounts::settled(scene).await?;
    let refusals = accounts::refusals(&scene.stream.observations());
    let told = format!(
        "{} accepted, {} forwarded, {} credited once; refused {refusals:?}",
        shares.accepted, shares.forwarded, shares.credited
    );
    let only_stale = refusals.keys().all(|code| code == "stale_job_submission");
    if only_stale { Ok(told) } else { Err(WalkError::Violated(told)) }
}

/// The gateway is killed under a running device, and a new device has shares again.
async fn restart(scene: &mut Scene<'_>, theirs: &Programs) -> Result<String, WalkError> {
    shares(scene, theirs).await?;
    scene.stage.running.kill("gateway")?;
    scene.stage.running.kill(PROGRAM)?;
    scene.start_gateway().await?;
    shares(scene, theirs).await?;
    scene.stage.running.kill(PROGRAM)?;
    let shares = accounts::settled(scene).await?;
    Ok(format!(
        "{} accepted in all, {} forwarded, {} credited once",
        shares.accepted, shares.forwarded, shares.credited
    ))
}
