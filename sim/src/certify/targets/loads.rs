//! What takes miners on a gateway's sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Target, Targets};
use crate::certify::certificate::Certificate;
use crate::certify::{CertifyError, Options, limit, run};

/// Miners of the load that tips are measured under.
const MINERS: u32 = 1000;
/// Miners of the load that memory and answers are measured under.
const MANY_MINERS: u32 = 5000;
/// How many of them connect in a second: what a core can do shows where it has little rest.
const STORM: f64 = 1500.0;
/// Connections of a flood.
const FLOODERS: u32 = 16;
/// Between two loads, so that the first does not count as what else keeps the machine busy.
const REST: Duration = Duration::from_secs(15);
/// Shares in one write of a flood whose frames do not come alone.
const BURST: u32 = 40;

/// Loads a gateway in turn with tips, with many miners and with floods of shares.
pub(super) fn measure(
    programs: Option<&Path>,
    progress: &mut dyn FnMut(&str),
    table: &mut Targets,
) -> Result<(), CertifyError> {
    let mut load = |name: &str, options: &Options, table: &mut Targets| {
        progress(name);
        rest()?;
        let certificate =
            run(options, &mut |step| progress(&format!("{name}: {step}")))?.certificate;
        let doubts = certificate.doubts.iter().map(|doubt| format!("{name}: {doubt}"));
        table.doubts.extend(doubts);
        Ok::<_, CertifyError>(certificate)
    };
    let base = |miners| options(programs, miners);
    let certificate = load("tips", &base(MINERS), table)?;
    table.targets.extend(tips(&certificate));
    let many = Options {
        tip_interval: Duration::from_secs(3600),
        connects_per_second: STORM,
        ..base(MANY_MINERS)
    };
    let certificate = load("answers", &many, table)?;
    table.targets.extend(answers(&certificate, limit::round_trip()?));
    for (id, doc, burst, target, limit) in [
        ("P5a", "shares a core, each in a write of its own", 1, 60_000.0, 135_000.0),
        ("P5b", "shares a core, forty in a write", BURST, 200_000.0, 500_000.0),
    ] {
        let flood = Options {
            burst: Some(burst),
            tip_interval: Duration::from_secs(3600),
            duration: Duration::from_secs(10),
            ..base(FLOODERS)
        };
        let certificate = load(doc, &flood, table)?;
        let used = certificate.used.as_ref().map(|used| 1e6 / used.cpu_us_per_share);
        let target = Target::at_least(id, doc, "1/s", target).limit(limit);
        table.targets.push(target.measured(used));
    }
    Ok(())
}

/// Waits until the load before no longer counts.
fn rest() -> Result<(), CertifyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| CertifyError::Load(format!("no timer: {error}")))?;
    // The timer is made where the runtime is.
    runtime.block_on(async { tokio::time::sleep(REST).await });
    Ok(())
}

fn options(programs: Option<&Path>, miners: u32) -> Options {
    Options {
        gateway: None,
        programs: programs.map(PathBuf::from),
        miners,
        connects_per_second: 100.0,
        share_interval: Duration::from_secs(10),
        duration: Duration::from_secs(30),
        warm_up: Duration::from_secs(2),
        tip_interval: Duration::from_secs(1),
        transactions: 100,
        log_sync: "write".to_owned(),
        burst: None,
    }
}

/// What the load with tips shows, beside the least time in which they can be written.
fn tips(certificate: &Certificate) -> Vec<Target> {
    let limit = certificate.machine.fan_out_ms.expect("a load with tips has its limit");
    let tips = certificate.counts.tips as u64;
    let written = certificate.used.as_ref().map(|used| used.tips_written.as_slice());
    let written = written.unwrap_or_default();
    let all = written.iter().map(|bucket| bucket.count).max().unwrap_or_default();
    let within = |count: u64| {
        let bucket = written.iter().find(|bucket| bucket.count >= count.max(1))?;
        Some(bucket.at_most_ms)
    };
    let mean = |name: &str| {
        let latency = certificate.latencies.get(name)?;
        Some(latency.mean_us / 1e3)
    };
    let late = certificate.counts.failed_connects as f64;
    vec![
        Target::at_most("P1", "decision for a tip to the first miner's write", "ms", 0.5)
            .measured(within(tips)),
        Target::at_most(
            "P2",
            "decision for a tip to the last of 1000 writes, p99",
            "ms",
            2.0 * limit,
        )
        .limit(limit)
        .measured(within(all - all / 100)),
        Target::at_most(
            "P3",
            "block at the node to the last of 1000, verdict too, mean",
            "ms",
            15.0,
        )
        .limit(limit)
        .measured(mean("tip_to_last_miner")),
        Target::at_most("P7a", "connections of 1000 in 10 s that failed", "", 0.0)
            .measured(Some(late)),
    ]
}

/// What the load of many miners shows, beside the time that two sleeping threads take to answer.
fn answers(certificate: &Certificate, round_trip_ms: f64) -> Vec<Target> {
    let quantile = |name: &str| {
        let answers = certificate.latencies.get("share_ack_from_sending")?;
        Some(answers.quantiles.get(name)?.us as f64 / 1e3)
    };
    let memory = certificate.used.as_ref().map(|used| {
        used.working_bytes.saturating_sub(used.idle_bytes) as f64 / f64::from(MANY_MINERS) / 1024.0
    });
    let handshakes = certificate.used.as_ref().map(|used| 1e6 / used.cpu_us_per_connection);
    vec![
        Target::at_least("P7b", "connections with channel and job a core", "1/s", 4000.0)
            .limit(5200.0)
            .measured(handshakes),
        Target::at_most("P6a", "share to its answer at 5000 miners, p50", "ms", 0.1)
            .limit(round_trip_ms)
            .measured(quantile("p50")),
        Target::at_most("P6b", "share to its answer at 5000 miners, p99", "ms", 1.0)
            .measured(quantile("p99")),
        Target::at_most("P8", "memory a miner at 5000", "KiB", 16.0).measured(memory),
    ]
}
