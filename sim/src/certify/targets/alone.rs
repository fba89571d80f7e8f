//! What takes no miners: verdicts, a log after a crash, and the simulator itself.

use std::fmt::Display;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gateway::log;
use gateway::log::segment::{self, Kind};

use super::{Target, Targets};
use crate::certify::CertifyError;
use crate::report::progress::Clock;
use crate::scenario::{Catalogue, Scenario};
use crate::sweep::{Case, play};
use crate::verify_load::{Load, full};

/// Full templates that are judged, unseen and then seen.
const TEMPLATES: u32 = 1000;
/// Events in the log that is read.
const EVENTS: u64 = 1_000_000;
/// The scenario that the simulator's speed is told for: ten miners, the verifier, a pool, faults.
const STANDARD: &str = "standard";
/// Seeds of it that are played.
const SEEDS: u64 = 120;
/// Threads that play them, which is what the target is for.
const THREADS: u64 = 2;

/// Measures them one after another.
pub(super) fn measure(
    progress: &mut dyn FnMut(&str),
    table: &mut Targets,
) -> Result<(), CertifyError> {
    progress("verdicts on full templates");
    let (cold, warm) = verdicts()?;
    table.targets.extend([
        Target::at_most("P4a", "verdict on a full template never seen, p99", "ms", 20.0)
            .measured(Some(cold)),
        Target::at_most("P4b", "the same, its transactions seen before, p99", "ms", 5.0)
            .measured(Some(warm)),
    ]);
    progress("reading a log");
    let target = Target::at_most("P9", "a log of 1 M events read", "s", 2.0);
    table.targets.push(target.measured(Some(recovery()?.as_secs_f64())));
    progress("the simulator");
    let (simulated, seeds) = simulator()?;
    table.targets.extend([
        Target::at_least("P10a", "seconds simulated on two cores", "1/s", 1000.0)
            .measured(Some(simulated)),
        Target::at_least("P10b", "seeds of the standard scenario on two cores", "1/s", 30.0)
            .measured(Some(seeds)),
    ]);
    Ok(())
}

/// The 99th percentiles of full templates on the wire, in milliseconds: unseen, and seen.
fn verdicts() -> Result<(f64, f64), CertifyError> {
    let failed = |error: &dyn Display| CertifyError::Load(format!("the verifier: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| failed(&error))?.block_on(async {
        let env = platform::real::env();
        let (load, own) = Load::with_own_verifier(&env).await.map_err(|error| failed(&error))?;
        let report = full::run(&load, TEMPLATES).await.map_err(|error| failed(&error))?;
        own.stop().await.map_err(|error| failed(&error))?;
        let [cold, warm] = report.p99_us().map(|us| us as f64 / 1e3);
        Ok((cold, warm))
    })
}

/// Seconds simulated in a second, and seeds played in a second.
fn simulator() -> Result<(f64, f64), CertifyError> {
    let failed = |error: &dyn Display| CertifyError::Load(format!("the simulator: {error}"));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let catalogue = Catalogue::load(&directory).map_err(|error| failed(&error))?;
    let scenario = catalogue.select(STANDARD).map_err(|error| failed(&error))?[0];
    let begun = Instant::now();
    let simulated = thread::scope(|scope| {
        let players: Vec<_> =
            (0..THREADS).map(|first| scope.spawn(move || simulated(scenario, first))).collect();
        players.into_iter().map(|player| player.join().expect("a trial catches panics")).sum()
    });
    let (took, simulated): (f64, Result<f64, String>) = (begun.elapsed().as_secs_f64(), simulated);
    let simulated = simulated.map_err(|error| failed(&error))?;
    Ok((simulated / took, SEEDS as f64 / took))
}

/// Plays every [`THREADS`]th seed; the seconds that it simulates, or what failed.
fn simulated(scenario: &Scenario, first: u64) -> Result<f64, String> {
    let mut seconds = 0.0;
    for seed in (first..SEEDS).step_by(THREADS as usize) {
        let case = Case::of(scenario, seed);
        let trial = play(&case, &Clock::default());
        if let Some(failure) = trial.failure {
            return Err(format!("seed {seed}: {}: {}", failure.property, failure.detail));
        }
        seconds += case.plan.duration.as_secs_f64();
    }
    Ok(seconds)
}

/// How long a log takes to be read in which each share has its result.
fn recovery() -> Result<Duration, CertifyError> {
    let failed = |error: &dyn Display| CertifyError::Load(format!("the log: {error}"));
    let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    for number in 0..EVENTS / 2 {
        if number % 1000 == 0 {
            let job = format!(r#"{{"job_ref":"{:032x}"}}"#, number / 1000);
            segment::encode(Kind::Job, &job, &mut bytes);
        }
        let (share, id) = (format!("{number:064x}"), format!("{:064x}", number + EVENTS));
        let text = format!(
            r#"{{"share_id":"{share}","event_id":"{id}","job_ref":"{:032x}","channel_id":2,"worker_id":"account.rig","version":536870912,"ntime":1800000000,"nonce":{number},"extranonce":"{:048x}","difficulty":65536.0,"timestamp_ms":1800000000000}}"#,
            number / 1000,
            number
        );
        segment::encode(Kind::Share, &text, &mut bytes);
        let seq = 2 * number;
        let accepted = format!(
            r#"{{"event":"share_accepted","schema":1,"seq":{seq},"share_id":"{share}","event_id":"{id}","channel_id":2,"job_id":5,"worker_id":"account.rig","miner_id":7,"validation_level":"full","sv2_response":"success","fee_tier":"mid","difficulty_target":65536.0,"timestamp_ms":1800000000000,"gateway_instance_id":"gw-1"}}"#
        );
        segment::encode(Kind::Event, &accepted, &mut bytes);
        let seq = seq + 1;
        let result = format!(
            r#"{{"event":"share_forward_result","schema":1,"seq":{seq},"share_id":"{share}","event_id":"{id}","forwarded":true,"upstream_accepted":true,"upstream_http_status":200,"upstream_error":null,"error_detail":null,"reason_code":null,"timestamp_ms":1800000000001,"attempts":1}}"#
        );
        segment::encode(Kind::Event, &result, &mut bytes);
    }
    std::fs::write(folder.path().join(segment::name(0)), bytes).map_err(|error| failed(&error))?;
    let begun = Instant::now();
    let recovered = log::recover(&platform::real::Disk, folder.path(), 10_000)
        .map_err(|error| failed(&error))?;
    let took = begun.elapsed();
    if recovered.next_seq != EVENTS {
        return Err(failed(&format!("{} of {EVENTS} events were read", recovered.next_seq)));
    }
    Ok(took)
}
