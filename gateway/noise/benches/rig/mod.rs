//! What the benches of the transport begin with.

use sv2_noise::{
    ACT_1_LEN, AuthoritySecretKey, Certificate, FrameDecoder, Initiator, Opener, Responder, Sealer,
    StaticKey, Validity,
};

const NOW: u64 = 1_795_000_000;

/// Shares in a burst of a proxy.
pub(crate) const BURST: usize = 40;

/// Different keys, the same on every run.
fn entropy() -> impl FnMut(&mut [u8]) {
    let mut last = 0;
    move |out: &mut [u8]| {
        last += 1;
        out.fill(last);
    }
}

pub(crate) fn responder() -> (Responder, [u8; ACT_1_LEN], Initiator) {
    let mut entropy = entropy();
    let authority = AuthoritySecretKey::generate(&mut entropy);
    let static_key = StaticKey::generate(&mut entropy);
    let validity = Validity { valid_from: 1_790_000_000, not_valid_after: 1_800_000_000 };
    let certificate = Certificate::mint(&authority, &static_key.public(), validity, &mut entropy);
    let (miner, act_1) =
        Initiator::new(Some(authority.public()), &mut entropy).expect("the library is sound");
    let server =
        Responder::new(&static_key, &certificate, &mut entropy).expect("the library is sound");
    (server, act_1, miner)
}

fn connected() -> (Sealer, Opener) {
    let (server, act_1, miner) = responder();
    let (act_2, server) = server.act_1(&act_1).expect("act 1 is sound");
    let (miner, _) = miner.act_2(&act_2, NOW).expect("act 2 is sound");
    (miner.split().0, server.split().1)
}

/// A share's frame in plaintext.
fn share() -> Vec<u8> {
    let mut frame = vec![0, 0x80, 0x1a, 24, 0, 0];
    frame.resize(6 + 24, 7);
    frame
}

pub(crate) fn to_seal() -> (Sealer, Vec<u8>, Vec<u8>) {
    (connected().0, share(), Vec::with_capacity(256))
}

pub(crate) fn to_open(shares: usize) -> (FrameDecoder, Vec<u8>) {
    let (mut sealer, opener) = connected();
    let mut sealed = Vec::new();
    sealer.seal_frames(&share().repeat(shares), &mut sealed);
    (FrameDecoder::new(opener, 65_536), sealed)
}

pub(crate) fn open_all(mut decoder: FrameDecoder, sealed: &[u8]) -> usize {
    decoder.push(sealed);
    let mut frames = 0;
    while let Ok(Some(_)) = decoder.next_frame() {
        frames += 1;
    }
    frames
}
