//! The handshake from both sides, keys and certificates.

use sv2_noise::{
    ACT_1_LEN, ACT_2_LEN, AuthorityPublicKey, AuthoritySecretKey, Certificate, FrameDecoder,
    Initiator, Responder, StaticKey, Validity,
};

/// The time by which certificates are judged, in seconds.
pub(crate) const NOW: u32 = 1_790_000_000;
const MAX_PAYLOAD: usize = 4_096;

/// Bytes that are the same in every run.
pub(crate) fn entropy() -> impl FnMut(&mut [u8]) {
    let mut next = 0_u8;
    move |out| {
        for byte in out {
            next = next.wrapping_mul(5).wrapping_add(17);
            *byte = next;
        }
    }
}

/// A server's keys, the same in every run.
pub(crate) fn identity() -> (AuthorityPublicKey, StaticKey, Certificate) {
    let random = &mut entropy();
    let authority = AuthoritySecretKey::generate(random);
    let static_key = StaticKey::generate(random);
    let validity = Validity { valid_from: NOW - 3_600, not_valid_after: NOW + 3_600 };
    let certificate = Certificate::mint(&authority, &static_key.public(), validity, random);
    (authority.public(), static_key, certificate)
}

/// Any 64 bytes are a key, and are answered; nothing that follows opens.
pub(crate) fn act_1(input: &[u8]) {
    let Some((act, rest)) = input.split_first_chunk::<ACT_1_LEN>() else { return };
    let (_, static_key, certificate) = identity();
    let responder =
        Responder::new(&static_key, &certificate, &mut entropy()).expect("the keys are in order");
    let Ok((_, transport)) = responder.act_1(act) else { return };
    let (_, opener) = transport.split();
    let mut decoder = FrameDecoder::new(opener, MAX_PAYLOAD);
    decoder.push(rest);
    // Whoever made these bytes did not read act 2, so cannot know the key.
    assert!(!matches!(decoder.next_frame(), Ok(Some(_))), "a forged frame opens");
}

/// Only the act that the server wrote is taken.
pub(crate) fn act_2(input: &[u8]) {
    let Ok(act) = <&[u8; ACT_2_LEN]>::try_from(input) else { return };
    let (authority, ..) = identity();
    let (initiator, act_1) =
        Initiator::new(Some(authority), &mut entropy()).expect("the keys are in order");
    let is_taken = initiator.act_2(act, NOW.into()).is_ok();
    assert!(!is_taken || act[..] == answer(&act_1)[..], "a forged act 2 is taken");
}

/// What the server answers to `act_1`.
pub(crate) fn answer(act_1: &[u8; ACT_1_LEN]) -> Vec<u8> {
    let (_, static_key, certificate) = identity();
    let responder =
        Responder::new(&static_key, &certificate, &mut entropy()).expect("the keys are in order");
    responder.act_1(act_1).expect("the act is an initiator's").0.to_vec()
}

/// A text key that is taken reads back as it was written; a certificate is the server's own or is
/// refused.
pub(crate) fn keys(input: &[u8]) {
    if let Ok(bytes) = <&[u8; Certificate::LEN]>::try_from(input) {
        let (authority, static_key, genuine) = identity();
        let certificate = Certificate::from_bytes(bytes);
        assert_eq!(certificate.to_bytes(), *bytes);
        let is_taken = certificate.verify(&static_key.public(), &authority, NOW.into()).is_ok();
        assert!(!is_taken || genuine.to_bytes() == *bytes, "a forged certificate is taken");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(key) = text.parse::<AuthorityPublicKey>() {
        // Around a key that was copied, white space is no mistake.
        assert_eq!(key.to_string(), text.trim(), "two texts are one key");
    }
    let _ = AuthoritySecretKey::parse(text);
    let _ = StaticKey::parse(text);
}
