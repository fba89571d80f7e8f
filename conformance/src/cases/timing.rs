//! What a server waits for, and for how long.

use std::time::Duration;

use sv2_noise::{ACT_1_LEN, HEADER_BLOCK_LEN};

use super::security::act_1;
use super::{frame, raw_frame, ready, still_serves};
use crate::bench::Bench;
use crate::case::{Judged, cases};
use crate::mining::setup;

/// How long deployed miners take from the set-up to their first channel.
const DEPLOYED_PAUSE: Duration = Duration::from_secs(6);

cases! { Timing:
    "SE-18a" Should "hygiene" "A client that sends nothing is disconnected in time."
        |bench| stalls(bench, 0);
    "SE-18b" Should "hygiene" "A client that stops within act 1 is disconnected in time."
        |bench| stalls(bench, 30);
    "SE-18c" Should "hygiene" "A client that stops after the handshake is disconnected in time."
        no_setup;
    "SE-18d" Should "hygiene" "A header that announces 16 MiB ends the connection before they come."
        oversize;
    "SE-18e" Should "hygiene"
        "A client that stops within a frame before setup is disconnected in time."
        stalled_frame;
    "MP-33a" Should "field"
        "A connection may wait 6 seconds before it opens a channel, as deployed miners do."
        patient;
    "MP-33b" Should "5.2" "A connection that opens no channel is ended in time." no_channel;
}

async fn stalls(bench: &Bench, sent: usize) -> Judged {
    bench.needs_noise()?;
    let (_, act_1) = act_1(bench)?;
    debug_assert!(sent < ACT_1_LEN, "act 1 stays unfinished");
    let mut peer = bench.dial().await?;
    peer.send_raw(&act_1[..sent], "the start of act 1").await;
    peer.await_close(bench.waits().stall, "it stopped within the handshake").await
}

async fn no_setup(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    peer.await_close(bench.waits().stall, "it stopped before SetupConnection").await
}

async fn oversize(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let whole = peer.seal(&raw_frame(0, false, 0x10, &vec![0; 0x00ff_ffff]));
    let header = if bench.target.plaintext { 6 } else { HEADER_BLOCK_LEN };
    peer.send_raw(&whole[..header], "its header alone").await;
    peer.await_close(bench.waits().answer, "a header that announces 16 MiB").await
}

async fn stalled_frame(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let sealed = peer.seal(&frame(&setup(0)));
    peer.send_raw(&sealed[..sealed.len() / 2], "half of it").await;
    peer.await_close(bench.waits().stall, "it stopped within SetupConnection").await
}

async fn patient(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    peer.hear(DEPLOYED_PAUSE).await?;
    still_serves(bench, &mut peer).await
}

async fn no_channel(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    peer.await_close(bench.waits().stall, "no channel was opened").await
}
