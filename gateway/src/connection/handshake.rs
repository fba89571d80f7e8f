//! The start of a connection.

use std::io;
use std::sync::Arc;

use gateway_core::reason::ReasonCode;
use platform::{Entropy, Stream};
use sv2_noise::{ACT_1_LEN, HandshakeError, Responder, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{End, Serving};

/// Shakes hands within the time allowed; in plaintext there is nothing to do.
pub(super) async fn accept(
    serving: &Serving,
    rng: &Arc<dyn Entropy>,
    stream: &mut Stream,
) -> Result<Transport, End> {
    let Some(identity) = &serving.identity else { return Ok(Transport::plaintext()) };
    let mut entropy = |bytes: &mut [u8]| rng.fill(bytes);
    let responder = Responder::new(&identity.key, &identity.certificate, &mut entropy);
    let shaken = tokio::time::timeout(serving.handshake_timeout, acts(responder, stream));
    match shaken.await {
        Ok(shaken) => shaken,
        Err(_) => {
            let waited = serving.handshake_timeout.as_millis();
            let detail = format!("the handshake did not finish within {waited} ms");
            Err(End::closed(ReasonCode::NoiseHandshakeTimeout, detail))
        }
    }
}

async fn acts(
    responder: Result<Responder, HandshakeError>,
    stream: &mut Stream,
) -> Result<Transport, End> {
    let failed =
        |error: HandshakeError| End::closed(ReasonCode::NoiseHandshakeFailed, error.to_string());
    let mut act_1 = [0; ACT_1_LEN];
    read_act(stream, &mut act_1).await?;
    let (act_2, transport) =
        responder.and_then(|responder| responder.act_1(&act_1)).map_err(failed)?;
    stream.write.write_all(&act_2).await.map_err(|error| End::left(error.to_string()))?;
    Ok(transport)
}

async fn read_act(stream: &mut Stream, act: &mut [u8]) -> Result<(), End> {
    let mut filled = 0;
    while filled < act.len() {
        match stream.read.read(&mut act[filled..]).await {
            Ok(0) if filled == 0 => return Err(End::left("the miner left before the handshake")),
            Ok(0) => {
                let detail = format!("act 1 ends after {filled} of {} bytes", act.len());
                return Err(End::closed(ReasonCode::NoiseHandshakeFailed, detail));
            }
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(End::left(error.to_string())),
        }
    }
    Ok(())
}
