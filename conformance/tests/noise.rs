//! Handshakes and encrypted frames between our Noise and the reference implementation's, in both
//! roles.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // helpers of tests are not marked as tests

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codec_sv2::{
    Decrypted, Handshake, NoiseDecoder, NoiseEncoder, TransportDecryptState, TransportEncryptState,
};
use framing_sv2::framing::SerializedFrame;
use rstest::rstest;
use sv2_noise::{
    AuthorityPublicKey, AuthoritySecretKey, Certificate, CertificateError, FrameDecoder,
    FrameError, HandshakeError, Initiator, Opener, Responder, Sealer, StaticKey, Transport,
    Validity,
};
use sv2_wire::{FrameHeader, U24};

const NOW: u32 = 1_790_000_000;
const MAX_PAYLOAD: usize = 1_000_000;
const AUTHORITY_SECRET: [u8; 32] = [7; 32];

/// Bytes that differ from call to call.
fn entropy() -> impl FnMut(&mut [u8]) {
    let mut last = 0;
    move |out| {
        last += 1;
        out.fill(last);
    }
}

fn authority() -> AuthoritySecretKey {
    AuthoritySecretKey::parse(&"07".repeat(32)).unwrap()
}

fn frame(payload_len: usize) -> Vec<u8> {
    let msg_length = U24::from_len(payload_len).unwrap();
    let header = FrameHeader { extension_type: 0, channel_msg: true, msg_type: 0x1f, msg_length };
    let payload = (0..payload_len).map(|index| u8::try_from(index % 251).unwrap());
    header.encode().into_iter().chain(payload).collect()
}

/// Our responder with a certificate that was minted an hour ago.
fn our_responder() -> Responder {
    let entropy = &mut entropy();
    let static_key = StaticKey::generate(entropy);
    let validity = Validity { valid_from: NOW - 3600, not_valid_after: NOW + 3600 };
    let certificate = Certificate::mint(&authority(), &static_key.public(), validity, entropy);
    Responder::new(&static_key, &certificate, entropy).unwrap()
}

fn their_initiator(authority: AuthorityPublicKey) -> Handshake<noise_sv2::Initiator> {
    Handshake::initiator(noise_sv2::Initiator::from_raw_k(authority.0.serialize()).unwrap())
}

fn connect_to_our_responder() -> (codec_sv2::Transport, Transport) {
    let (act_1, initiator) = their_initiator(authority().public()).step_0().unwrap();
    let act_1 = act_1.payload().try_into().expect("act 1 has 64 bytes");
    let (act_2, ours) = our_responder().act_1(&act_1).unwrap();
    (initiator.step_2_with_now(act_2, NOW).unwrap(), ours)
}

/// Their responder stamps its certificate with the system's time.
#[allow(clippy::disallowed_methods)]
fn system_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs()
}

fn their_responder() -> Box<noise_sv2::Responder> {
    let public = authority().public().0.serialize();
    let validity = Duration::from_secs(3600);
    noise_sv2::Responder::from_authority_kp(&public, &AUTHORITY_SECRET, validity).unwrap()
}

fn connect_to_their_responder(
    expected: AuthorityPublicKey,
    seconds_off: u64,
) -> Result<(codec_sv2::Transport, Transport), HandshakeError> {
    let (initiator, act_1) = Initiator::new(Some(expected), &mut entropy()).unwrap();
    let (act_2, theirs) = Handshake::responder(their_responder()).step_1(act_1).unwrap();
    let act_2 = act_2.payload().try_into().expect("act 2 has 234 bytes");
    let (ours, _) = initiator.act_2(act_2, system_time() + seconds_off)?;
    Ok((theirs, ours))
}

/// Feeds `wire` to their decoder in the portions that it asks for, the very first of which is empty.
fn decode_theirs(
    decoder: &mut NoiseDecoder,
    mut state: TransportDecryptState,
    mut wire: &[u8],
) -> (Vec<u8>, TransportDecryptState) {
    loop {
        let writable = decoder.writable();
        let (portion, rest) = wire.split_at(writable.len().min(wire.len()));
        writable[..portion.len()].copy_from_slice(portion);
        wire = rest;
        match decoder.next_transport_frame(state).expect("our frame opens on their side") {
            Decrypted::Frame(frame, _) if !wire.is_empty() => {
                panic!("{} bytes are left after {:?}", wire.len(), frame.header());
            }
            Decrypted::Frame(frame, state) => return (frame.as_bytes().to_vec(), state),
            Decrypted::Incomplete(_, next) => state = next,
        }
    }
}

/// Sends every size of frame twice, ours to them.
fn check_ours_to_theirs(sealer: &mut Sealer, mut state: TransportDecryptState, sizes: &[usize]) {
    let mut decoder = NoiseDecoder::new();
    for size in sizes.iter().flat_map(|size| [*size; 2]) {
        let frame = frame(size);
        let mut wire = Vec::new();
        sealer.seal_frame(&frame, &mut wire);
        let (arrived, next) = decode_theirs(&mut decoder, state, &wire);
        assert!(arrived == frame, "a frame of {size} bytes came out changed on their side");
        state = next;
    }
}

/// Sends every size of frame twice, theirs to us.
fn check_theirs_to_ours(mut state: TransportEncryptState, opener: Opener, sizes: &[usize]) {
    let mut encoder = NoiseEncoder::new();
    let mut decoder = FrameDecoder::new(opener, MAX_PAYLOAD);
    for size in sizes.iter().flat_map(|size| [*size; 2]) {
        let sent = frame(size);
        let serialized = SerializedFrame::from_bytes(sent.clone()).unwrap();
        let wire = encoder.encode_transport(serialized, &mut state).unwrap();
        decoder.push(wire.as_ref());
        let arrived = decoder.next_frame().unwrap().expect("the frame is all there");
        assert_eq!(arrived.header.encode(), sent[..FrameHeader::LEN]);
        let same = arrived.payload == &sent[FrameHeader::LEN..];
        assert!(same, "a frame of {size} bytes came out changed on our side");
        assert!(!decoder.is_mid_frame());
    }
}

fn check_both_ways((theirs, ours): (codec_sv2::Transport, Transport), sizes: &[usize]) {
    let (mut sealer, opener) = ours.split();
    let (encrypt, decrypt) = theirs.split();
    check_ours_to_theirs(&mut sealer, decrypt, sizes);
    check_theirs_to_ours(encrypt, opener, sizes);
}

const SIZES: [usize; 9] = [0, 1, 17, 65_518, 65_519, 65_520, 131_038, 131_039, 1_000_000];

#[rstest]
fn our_responder_serves_their_initiator(#[values(0, 1, 2, 3, 4, 5, 6, 7, 8)] size: usize) {
    check_both_ways(connect_to_our_responder(), &SIZES[size..=size]);
}

#[rstest]
fn their_responder_serves_our_initiator(#[values(0, 1, 2, 3, 4, 5, 6, 7, 8)] size: usize) {
    let connection = connect_to_their_responder(authority().public(), 0).unwrap();
    check_both_ways(connection, &SIZES[size..=size]);
}

#[test]
fn one_connection_carries_every_size_in_turn() {
    check_both_ways(connect_to_our_responder(), &SIZES);
    check_both_ways(connect_to_their_responder(authority().public(), 0).unwrap(), &SIZES);
}

#[test]
fn their_initiator_refuses_another_authority() {
    let stranger = AuthoritySecretKey::parse(&"08".repeat(32)).unwrap().public();
    let (act_1, initiator) = their_initiator(stranger).step_0().unwrap();
    let act_1 = act_1.payload().try_into().expect("act 1 has 64 bytes");
    let (act_2, _) = our_responder().act_1(&act_1).unwrap();
    assert!(initiator.step_2_with_now(act_2, NOW).is_err());
}

#[rstest]
#[case::early_within_leeway(NOW - 3610, true)]
#[case::too_early(NOW - 3611, false)]
#[case::late_within_leeway(NOW + 3610, true)]
#[case::too_late(NOW + 3611, false)]
fn their_initiator_judges_our_validity_as_we_do(#[case] now: u32, #[case] accepted: bool) {
    let (act_1, theirs) = their_initiator(authority().public()).step_0().unwrap();
    let act_1 = act_1.payload().try_into().expect("act 1 has 64 bytes");
    let (act_2, _) = our_responder().act_1(&act_1).unwrap();
    assert_eq!(theirs.step_2_with_now(act_2, now).is_ok(), accepted);

    let (ours, act_1) = Initiator::new(Some(authority().public()), &mut entropy()).unwrap();
    let (act_2, _) = our_responder().act_1(&act_1).unwrap();
    assert_eq!(ours.act_2(&act_2, u64::from(now)).is_ok(), accepted);
}

#[test]
fn our_initiator_refuses_another_authority_and_an_expired_certificate() {
    let stranger = AuthoritySecretKey::parse(&"08".repeat(32)).unwrap().public();
    let error = connect_to_their_responder(stranger, 0).unwrap_err();
    assert_eq!(error, HandshakeError::Certificate(CertificateError::Signature));
    let error = connect_to_their_responder(authority().public(), 7200).unwrap_err();
    assert!(matches!(error, HandshakeError::Certificate(CertificateError::Expired { .. })));
}

/// Their decoder takes what the header can say; ours stops at its limit, with the header alone.
#[test]
fn only_we_refuse_a_frame_over_a_limit() {
    let (theirs, ours) = connect_to_our_responder();
    let (mut sealer, opener) = ours.split();
    let (mut encrypt, decrypt) = theirs.split();
    check_ours_to_theirs(&mut sealer, decrypt, &[MAX_PAYLOAD + 1]);

    let serialized = SerializedFrame::from_bytes(frame(MAX_PAYLOAD + 1)).unwrap();
    let wire = NoiseEncoder::new().encode_transport(serialized, &mut encrypt).unwrap();
    let mut decoder = FrameDecoder::new(opener, MAX_PAYLOAD);
    decoder.push(&wire[..sv2_noise::HEADER_BLOCK_LEN]);
    let expected = FrameError::TooLarge { announced: MAX_PAYLOAD + 1, max: MAX_PAYLOAD };
    assert_eq!(decoder.next_frame(), Err(expected));
}

/// A miner whose clock is slow is the most common complaint about certificates of that kind.
#[test]
fn their_certificate_starts_at_the_moment_of_the_handshake() {
    let before = system_time();
    let (initiator, act_1) = Initiator::new(None, &mut entropy()).unwrap();
    let act_2 = Handshake::responder(their_responder()).step_1(act_1).unwrap().0;
    let act_2 = act_2.payload().try_into().expect("act 2 has 234 bytes");
    let (_, certificate) = initiator.act_2(act_2, before).unwrap();
    assert!(u64::from(certificate.validity().valid_from) >= before);
}
