//! The encrypted transport.

use sv2_noise::{CHUNK_LEN, HEADER_BLOCK_LEN};

use super::{frame, is_success, raw_frame, ready, still_serves, without};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Open, setup};

cases! { Security:
    "SE-09c" Must "4.6" "A first header that does not authenticate ends the connection."
        |bench| tampered(bench, 0);
    "SE-09d" Must "4.6" "A header's tag with one bit flipped ends the connection."
        |bench| tampered(bench, HEADER_BLOCK_LEN - 1);
    "SE-09e" Must "4.6" "A payload with one bit flipped ends the connection and is not acted on."
        |bench| tampered(bench, HEADER_BLOCK_LEN);
    "SE-09f" Must "4.6"
        "A payload's tag with one bit flipped ends the connection and is not acted on."
        tampered_tail;
    "SE-14a" Must "4.6" "A frame that is replayed ends the connection and is not acted on."
        replayed;
    "SE-14b" Must "4.6" "A frame that was left out ends the connection." left_out;
    "SE-14c" Must "4.6" "Frames in another order end the connection." reordered;
    "SE-14d" Must "4.6" "A payload that fills one chunk is read as one."
        |bench| long_payload(bench, CHUNK_LEN);
    "SE-14e" Must "4.6" "A payload of one chunk and a byte is read as two."
        |bench| long_payload(bench, CHUNK_LEN + 1);
    "SE-14f" Must "4.6" "A payload that fills two chunks is read as two."
        |bench| long_payload(bench, 2 * CHUNK_LEN);
    "SE-15a" Must "4.6" "A frame without payload is a header alone." |bench| long_payload(bench, 0);
    "SE-15b" Must "4.6" "A payload of one byte is read." |bench| long_payload(bench, 1);
    "SE-16a" Must "4.6" "A plaintext frame within a session ends the connection." plaintext_within;
    "SE-16b" Should "4.6" "A client that ends within a frame is let go." ends_within;
}

/// A SetupConnection of which one bit of the sealed byte `at` is flipped.
async fn tampered(bench: &Bench, at: usize) -> Judged {
    bench.needs_noise()?;
    let mut peer = bench.connect().await?;
    let mut sealed = peer.seal(&frame(&setup(0)));
    sealed[at] ^= 1;
    peer.send_raw(&sealed, "it, with one bit flipped").await;
    ends_unserved(bench, peer).await
}

async fn tampered_tail(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let mut peer = bench.connect().await?;
    let mut sealed = peer.seal(&frame(&setup(0)));
    *sealed.last_mut().expect("a sealed frame has bytes") ^= 0x80;
    peer.send_raw(&sealed, "it, with the last bit flipped").await;
    ends_unserved(bench, peer).await
}

/// The connection must end, and grant nothing before that.
async fn ends_unserved(bench: &Bench, mut peer: crate::peer::Peer) -> Judged {
    let heard = peer.hear(bench.waits().answer).await?;
    without(&heard, "what does not authenticate is acted on", is_success)?;
    demand(heard.closed, || "the server keeps the connection open".to_owned())
}

async fn replayed(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let mut peer = ready(bench).await?;
    let open = Open { request_id: 1, ..Open::standard_by(&bench.target.user_identity) };
    let sealed = peer.seal(&frame(&open.standard()));
    peer.send_raw(&sealed, "it").await;
    peer.send_raw(&sealed, "it again, the same bytes").await;
    let heard = peer.hear(bench.waits().answer).await?;
    let answers = heard.messages()?.iter().filter(|message| is_success(message)).count();
    demand(answers <= 1, || format!("the replayed frame opened {answers} channels"))?;
    demand(heard.closed, || "the server keeps the connection open".to_owned())
}

async fn left_out(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let mut peer = bench.connect().await?;
    drop(peer.seal(&raw_frame(0x4242, false, 1, &[])));
    peer.remark("the last frame was not sent");
    peer.send(&setup(0)).await;
    ends_unserved(bench, peer).await
}

async fn reordered(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let mut peer = ready(bench).await?;
    let open = Open::standard_by(&bench.target.user_identity);
    let first = peer.seal(&raw_frame(0x4242, false, 1, &[7]));
    let second = peer.seal(&frame(&open.standard()));
    peer.send_raw(&second, "the second").await;
    peer.send_raw(&first, "the first").await;
    ends_unserved(bench, peer).await
}

/// A message of an unknown extension with a payload of `len` bytes, and then a request.
async fn long_payload(bench: &Bench, len: usize) -> Judged {
    let mut peer = ready(bench).await?;
    peer.send_frame(&raw_frame(0x4242, false, 1, &vec![0xa5; len])).await;
    let heard = peer.hear_quietly().await?;
    if heard.closed && len >= CHUNK_LEN {
        return Err(Stop::Inapplicable(format!("the server takes no frame of {len} bytes")));
    }
    demand(!heard.closed, || format!("a payload of {len} bytes ends the connection"))?;
    still_serves(bench, &mut peer).await
}

async fn plaintext_within(bench: &Bench) -> Judged {
    bench.needs_noise()?;
    let mut peer = ready(bench).await?;
    let open = Open::standard_by(&bench.target.user_identity);
    peer.send_raw(&frame(&open.standard()), "a request in plaintext").await;
    ends_unserved(bench, peer).await
}

async fn ends_within(bench: &Bench) -> Judged {
    let mut peer = bench.connect().await?;
    let sealed = peer.seal(&frame(&setup(0)));
    peer.send_raw(&sealed[..sealed.len() - 1], "it, less its last byte").await;
    peer.finish().await;
    peer.await_close(bench.waits().answer, "the client's end within a frame").await
}
