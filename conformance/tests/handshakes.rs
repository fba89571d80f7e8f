//! Whole handshakes with fixed keys: one side ours, the other the reference implementation's.
//!
//! `vectors/handshakes.json` holds what went over the wire. Both sides are run again and have to
//! write the same bytes, so the file is what either implementation does, not what one of them once
//! did. Act 2 is encrypted over the running hash of all before it, and frames by the keys that come
//! of the whole, so that who reads them has both right.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // helpers of tests are not marked as tests

use std::time::Duration;

use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use bitcoin::secp256k1::SecretKey;
use bitcoin::secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use noise_sv2::NoiseEngine;
use rand::{CryptoRng, RngCore};
use serde_json::{Value, json};
use sv2_noise::{
    AuthoritySecretKey, Certificate, CertificateError, FrameDecoder, Initiator, Responder,
    StaticKey, Transport, Validity,
};

const NOW: u32 = 1_790_000_000;
const VALIDITY_S: u32 = 3_600;
const AUTHORITY: [u8; 32] = [0x07; 32];
const INITIATOR_EPHEMERAL: [u8; 32] = [0x11; 32];
const RESPONDER_EPHEMERAL: [u8; 32] = [0x22; 32];
const RESPONDER_STATIC: [u8; 32] = [0x33; 32];
const AUXILIARY: [u8; 32] = [0x44; 32];
/// One frame without a payload, one with.
const FRAMES: [&[u8]; 2] = [&[0, 0, 1, 0, 0, 0], &[0, 0x80, 0x1c, 4, 0, 0, 0xde, 0xad, 0xbe, 0xef]];

/// Randomness that was decided beforehand, 32 bytes at a time.
struct Decided(Vec<[u8; 32]>);

impl RngCore for Decided {
    fn next_u32(&mut self) -> u32 {
        unreachable!("keys are drawn as bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("keys are drawn as bytes")
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0.remove(0));
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Decided {}

/// The same for our side.
fn decided(mut pieces: Vec<[u8; 32]>) -> impl FnMut(&mut [u8]) {
    move |out| out.copy_from_slice(&pieces.remove(0))
}

fn authority() -> AuthoritySecretKey {
    AuthoritySecretKey::parse(&const_hex::encode(AUTHORITY)).unwrap()
}

fn our_static() -> StaticKey {
    StaticKey::parse(&const_hex::encode(RESPONDER_STATIC)).unwrap()
}

fn our_certificate() -> Certificate {
    let validity = Validity { valid_from: NOW, not_valid_after: NOW + VALIDITY_S };
    let random = &mut decided(vec![AUXILIARY]);
    Certificate::mint(&authority(), &our_static().public(), validity, random)
}

/// What both sides send each other, once the handshake is done; each reads what the other wrote.
fn frames(ours: Transport, theirs: NoiseEngine) -> (Vec<String>, Vec<String>) {
    let (mut encrypt, mut decrypt) = theirs.into_split();
    let (mut sealer, opener) = ours.split();
    let mut decoder = FrameDecoder::new(opener, 1_000);
    let (mut from_us, mut from_them) = (Vec::new(), Vec::new());
    for frame in FRAMES {
        let (header, payload) = frame.split_at(6);
        let mut wire = Vec::new();
        sealer.seal_frame(frame, &mut wire);
        from_us.push(const_hex::encode(&wire));
        let mut block = wire.split_off(6 + 16);
        decrypt.decrypt(&mut wire).unwrap();
        assert_eq!(wire, header);
        if !payload.is_empty() {
            decrypt.decrypt(&mut block).unwrap();
        }
        assert_eq!(block, payload);
        let mut wire = header.to_vec();
        encrypt.encrypt(&mut wire).unwrap();
        if !payload.is_empty() {
            let mut block = payload.to_vec();
            encrypt.encrypt(&mut block).unwrap();
            wire.extend_from_slice(&block);
        }
        decoder.push(&wire);
        assert_eq!(decoder.next_frame().unwrap().unwrap().payload, payload);
        from_them.push(const_hex::encode(&wire));
    }
    (from_us, from_them)
}

fn our_initiator() -> Value {
    let mut random = decided(vec![INITIATOR_EPHEMERAL, AUXILIARY]);
    let (initiator, act_1) = Initiator::new(Some(authority().public()), &mut random).unwrap();
    let public = authority().public().0.serialize();
    let validity = Duration::from_secs(VALIDITY_S.into());
    let keys = &mut Decided(vec![RESPONDER_EPHEMERAL, RESPONDER_STATIC]);
    let mut responder =
        noise_sv2::Responder::from_authority_kp_with_rng(&public, &AUTHORITY, validity, keys)
            .unwrap();
    let mut auxiliary = Decided(vec![AUXILIARY]);
    let (act_2, theirs) = responder.step_1_with_now_rng(act_1, NOW, &mut auxiliary).unwrap();
    let (ours, certificate) = initiator.act_2(&act_2, NOW.into()).unwrap();
    let (from_initiator, from_responder) = frames(ours, theirs);
    json!({
        "initiator": "sv2-noise",
        "responder": "noise_sv2 2.0.0",
        "act_1": const_hex::encode(act_1),
        "act_2": const_hex::encode(act_2),
        "certificate": const_hex::encode(certificate.to_bytes()),
        "frames_of_initiator": from_initiator,
        "frames_of_responder": from_responder,
    })
}

fn our_responder() -> Value {
    let public = authority().public().0.serialize();
    let key = &mut Decided(vec![INITIATOR_EPHEMERAL]);
    let mut initiator = noise_sv2::Initiator::from_raw_k_with_rng(public, key).unwrap();
    let act_1 = initiator.step_0().unwrap();
    let random = &mut decided(vec![RESPONDER_EPHEMERAL, AUXILIARY]);
    let certificate = our_certificate();
    let responder = Responder::new(&our_static(), &certificate, random).unwrap();
    let (act_2, ours) = responder.act_1(&act_1).unwrap();
    let theirs = initiator.step_2_with_now(act_2, NOW).unwrap();
    let (from_responder, from_initiator) = frames(ours, theirs);
    json!({
        "initiator": "noise_sv2 2.0.0",
        "responder": "sv2-noise",
        "act_1": const_hex::encode(act_1),
        "act_2": const_hex::encode(act_2),
        "certificate": const_hex::encode(certificate.to_bytes()),
        "frames_of_initiator": from_initiator,
        "frames_of_responder": from_responder,
    })
}

#[test]
fn both_implementations_write_the_handshakes_of_the_vectors() {
    let made = json!({
        "now": NOW,
        "validity_s": VALIDITY_S,
        "authority_secret": const_hex::encode(AUTHORITY),
        "authority": authority().public().to_string(),
        "initiator_ephemeral_secret": const_hex::encode(INITIATOR_EPHEMERAL),
        "responder_ephemeral_secret": const_hex::encode(RESPONDER_EPHEMERAL),
        "responder_static_secret": const_hex::encode(RESPONDER_STATIC),
        "auxiliary": const_hex::encode(AUXILIARY),
        "frames": FRAMES.map(const_hex::encode),
        "handshakes": [our_initiator(), our_responder()],
    });
    let kept: Value = serde_json::from_str(include_str!("../vectors/handshakes.json")).unwrap();
    assert_eq!(kept, made, "{made:#}");
}

/// The running hash and the chaining key, step by step, from the secrets and what was sent.
#[test]
fn transcripts_lead_to_the_keys() {
    let kept: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/transcripts.json")).unwrap();
    let sent: Value = serde_json::from_str(include_str!("../vectors/handshakes.json")).unwrap();
    assert_eq!(kept.len(), 2);
    for (kept, sent) in kept.iter().zip(sent["handshakes"].as_array().unwrap()) {
        let part =
            |from: &Value, key: &str| const_hex::decode(from[key].as_str().unwrap()).unwrap();
        let (act_1, act_2) = (part(sent, "act_1"), part(sent, "act_2"));
        let made = transcript(&act_1, &act_2, &part(kept, "server_static"));
        let steps = kept["steps"].as_array().unwrap();
        assert_eq!(steps.len(), made.steps.len());
        for (step, (after, h, ck)) in steps.iter().zip(made.steps) {
            assert_eq!(step["after"], after);
            assert_eq!((part(step, "h"), part(step, "ck")), (h.to_vec(), ck.to_vec()), "{after}");
        }
        let keys = [part(kept, "key_of_initiator"), part(kept, "key_of_responder")];
        assert_eq!(made.keys.map(|key| key.to_vec()), keys);
    }
}

struct Transcript {
    steps: Vec<(&'static str, [u8; 32], [u8; 32])>,
    keys: [[u8; 32]; 2],
}

/// What the initiator computes; ciphertexts are taken as they came.
fn transcript(act_1: &[u8], act_2: &[u8], server_static: &[u8]) -> Transcript {
    let hash = |parts: &[&[u8]]| sha256::Hash::hash(&parts.concat()).to_byte_array();
    let mix_key = |ck: &[u8], theirs: &[u8]| hkdf(ck, &shared_secret(act_1, theirs))[0];
    let mut steps = Vec::new();
    let mut ck = hash(&[b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256"]);
    let mut h = hash(&[&ck]);
    steps.push(("prologue", h, ck));
    h = hash(&[&hash(&[&h, act_1])]);
    steps.push(("act 1", h, ck));
    let (ephemeral, sealed) = act_2.split_at(64);
    let (sealed_static, sealed_certificate) = sealed.split_at(80);
    h = hash(&[&h, ephemeral]);
    steps.push(("e", h, ck));
    ck = mix_key(&ck, ephemeral);
    steps.push(("ee", h, ck));
    h = hash(&[&h, sealed_static]);
    steps.push(("s", h, ck));
    ck = mix_key(&ck, server_static);
    steps.push(("es", h, ck));
    h = hash(&[&h, sealed_certificate]);
    steps.push(("certificate", h, ck));
    Transcript { steps, keys: hkdf(&ck, &[]) }
}

/// BIP 324's, of the initiator's ephemeral key and one of the responder's.
fn shared_secret(ours: &[u8], theirs: &[u8]) -> [u8; 32] {
    let [ours, theirs] =
        [ours, theirs].map(|key| ElligatorSwift::from_array(key.try_into().unwrap()));
    let secret = SecretKey::from_slice(&INITIATOR_EPHEMERAL).unwrap();
    let party = ElligatorSwiftParty::A;
    ElligatorSwift::shared_secret(ours, theirs, secret, party, None).to_secret_bytes()
}

/// RFC 5869 without info, two outputs.
fn hkdf(salt: &[u8], secret: &[u8]) -> [[u8; 32]; 2] {
    let hmac = |key: &[u8], parts: &[&[u8]]| {
        let mut engine = HmacEngine::<sha256::Hash>::new(key);
        engine.input(&parts.concat());
        Hmac::from_engine(engine).to_byte_array()
    };
    let key = hmac(salt, &[secret]);
    let first = hmac(&key, &[&[1]]);
    let second = hmac(&key, &[&first, &[2]]);
    [first, second]
}

/// The certificates of both are of one authority over one key for one time, and hold for that only.
#[test]
fn certificates_hold_for_their_key_their_time_and_their_authority() {
    let kept: Value = serde_json::from_str(include_str!("../vectors/handshakes.json")).unwrap();
    let server = our_static().public();
    let signer = authority().public();
    let handshakes = kept["handshakes"].as_array().unwrap();
    assert_eq!(handshakes.len(), 2);
    assert_eq!(handshakes[0]["certificate"], handshakes[1]["certificate"], "signed alike");
    for handshake in handshakes {
        let bytes = const_hex::decode(handshake["certificate"].as_str().unwrap()).unwrap();
        let certificate = Certificate::from_bytes(&bytes.try_into().unwrap());
        for now in [NOW - 10, NOW, NOW + VALIDITY_S + 10] {
            assert_eq!(certificate.verify(&server, &signer, now.into()), Ok(()));
        }
        let early = certificate.verify(&server, &signer, u64::from(NOW) - 11);
        assert!(matches!(early, Err(CertificateError::NotYetValid { .. })), "{early:?}");
        let late = certificate.verify(&server, &signer, u64::from(NOW + VALIDITY_S) + 11);
        assert!(matches!(late, Err(CertificateError::Expired { .. })), "{late:?}");
        let other = certificate.verify(&signer.0, &signer, NOW.into());
        assert_eq!(other, Err(CertificateError::Signature));
    }
}
