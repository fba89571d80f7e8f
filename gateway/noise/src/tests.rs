//! Both sides against each other, and the ways in which a handshake or a frame can be wrong.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::FromHex;
use proptest::prelude::*;
use rstest::rstest;
use snow::types::{Dh, Random};
use sv2_wire::{FrameHeader, U24};

use crate::handshake::PROTOCOL_NAME;
use crate::keys::draw_ephemeral;
use crate::resolver::{EllSwiftDh, Resolver, Role, SHARED_SECRET_LEN};
use crate::*;

const NOW: u64 = 1_790_000_000;

/// Bytes that differ with each call and with the seed.
fn entropy(seed: u8) -> impl FnMut(&mut [u8]) {
    let mut calls = 0_u64;
    move |out| {
        calls += 1;
        for (block, chunk) in (0_u64..).zip(out.chunks_mut(32)) {
            let input = [u64::from(seed), calls, block].map(u64::to_le_bytes).concat();
            chunk.copy_from_slice(&sha256::Hash::hash(&input)[..chunk.len()]);
        }
    }
}

fn authority() -> AuthoritySecretKey {
    AuthoritySecretKey::generate(&mut entropy(1))
}

fn static_key() -> StaticKey {
    StaticKey::generate(&mut entropy(2))
}

fn certificate() -> Certificate {
    let now = u32::try_from(NOW).unwrap();
    let validity = Validity { valid_from: now - 3600, not_valid_after: now + 3600 };
    Certificate::mint(&authority(), &static_key().public(), validity, &mut entropy(3))
}

fn responder() -> Responder {
    Responder::new(&static_key(), &certificate(), &mut entropy(4)).unwrap()
}

fn initiator() -> (Initiator, [u8; ACT_1_LEN]) {
    Initiator::new(Some(authority().public()), &mut entropy(5)).unwrap()
}

/// The transports of client and server after a good handshake.
fn connect() -> (Transport, Transport) {
    let (initiator, act_1) = initiator();
    let (act_2, server) = responder().act_1(&act_1).unwrap();
    let (client, received) = initiator.act_2(&act_2, NOW).unwrap();
    assert_eq!(received, certificate());
    (client, server)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let msg_length = U24::from_len(payload.len()).unwrap();
    let header = FrameHeader { extension_type: 0, channel_msg: true, msg_type: 0x1a, msg_length };
    [&header.encode(), payload].concat()
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

#[test]
fn the_self_test_passes() {
    assert_eq!(self_test(), Ok(()));
}

/// The reading and the writing half of a connection are tasks of their own.
#[test]
fn everything_can_be_moved_to_another_task() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Responder>();
    check::<Initiator>();
    check::<Transport>();
    check::<Sealer>();
    check::<Opener>();
    check::<FrameDecoder>();
    check::<StaticKey>();
    check::<Certificate>();
}

#[test]
fn the_chaining_key_starts_as_the_specification_prints_it() {
    assert!(PROTOCOL_NAME.len() > 32, "a shorter name would be padded instead of hashed");
    let chaining_key = sha256::Hash::hash(PROTOCOL_NAME.as_bytes());
    let expected = "2eb47881208e9eee1f669f67c66ee70ea9ea88090d503fe830dc4bc83e29bf10";
    assert_eq!(chaining_key[..], <[u8; 32]>::from_hex(expected).unwrap());
}

#[test]
fn the_same_randomness_makes_the_same_bytes() {
    let acts = || {
        let (_, act_1) = initiator();
        let (act_2, server) = responder().act_1(&act_1).unwrap();
        let mut wire = Vec::new();
        server.split().0.seal_frame(&frame(b"job"), &mut wire);
        (act_1, act_2, wire)
    };
    assert_eq!(acts(), acts());
    let (_, other) = Initiator::new(None, &mut entropy(6)).unwrap();
    assert_ne!(acts().0, other);
}

#[test]
fn unusable_ephemeral_bytes_are_drawn_again() {
    let mut draws = [[0; 32], [0xff; 32], [7; 32], [9; 32]].into_iter();
    let material = draw_ephemeral(&mut |out| out.copy_from_slice(&draws.next().unwrap()));
    assert_eq!(material[..32], [7; 32]);
    assert_eq!(material[32..], [9; 32]);
}

#[test]
fn a_handshake_has_randomness_for_one_key_and_no_more() {
    use snow::resolvers::CryptoResolver;
    let ephemeral = draw_ephemeral(&mut entropy(7));
    let mut random = Resolver { role: Role::Initiator, ephemeral }.resolve_rng().unwrap();
    let mut dh = EllSwiftDh::new(Role::Initiator);
    dh.generate(random.as_mut()).unwrap();
    assert_eq!(random.try_fill_bytes(&mut [0]), Err(snow::Error::Rng));
}

struct Fixed(u8);

impl Random for Fixed {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        out.fill(self.0);
        Ok(())
    }
}

/// The curve's result is half as long as its keys on the wire, and depends on the role.
#[test]
fn both_roles_derive_the_same_32_bytes() {
    let pair = |role, seed| {
        let mut dh = EllSwiftDh::new(role);
        dh.generate(&mut Fixed(seed)).unwrap();
        dh
    };
    let a = pair(Role::Initiator, 1);
    let b = pair(Role::Responder, 2);
    assert_eq!((a.pub_len(), a.dh_len()), (64, SHARED_SECRET_LEN));
    let shared = |own: &EllSwiftDh, theirs: &EllSwiftDh| {
        let mut out = [0; 65];
        own.dh(theirs.pubkey(), &mut out).unwrap();
        out
    };
    assert_eq!(shared(&a, &b), shared(&b, &a));
    assert_eq!(shared(&a, &b)[SHARED_SECRET_LEN..], [0; 33]);
    let same_role = pair(Role::Initiator, 2);
    assert_ne!(shared(&a, &b), shared(&same_role, &a));
}

/// Why [`Responder::act_1`] takes an array: the library alone takes whatever follows the key for a
/// payload.
#[test]
fn the_noise_library_takes_more_than_64_bytes_for_act_1() {
    use snow::params::*;
    let handshake = HandshakeChoice {
        pattern: HandshakePattern::NX,
        modifiers: HandshakeModifierList { list: Vec::new() },
    };
    let params = NoiseParams::new(
        PROTOCOL_NAME.to_owned(),
        BaseChoice::Noise,
        handshake,
        DHChoice::Curve25519,
        CipherChoice::ChaChaPoly,
        HashChoice::SHA256,
    );
    let resolver = Resolver { role: Role::Responder, ephemeral: draw_ephemeral(&mut entropy(8)) };
    let key = static_key().secret_and_encoding();
    let mut state = snow::Builder::with_resolver(params, Box::new(resolver))
        .local_private_key(key.as_ref())
        .unwrap()
        .build_responder()
        .unwrap();
    let mut swallowed = [0; 1000];
    assert_eq!(state.read_message(&[7; 1000], &mut swallowed), Ok(1000 - ACT_1_LEN));
}

#[test]
fn garbage_for_act_1_shows_at_the_first_frame() {
    let (act_2, server) = responder().act_1(&[0x5a; ACT_1_LEN]).unwrap();
    let (initiator, _) = initiator();
    assert_eq!(initiator.act_2(&act_2, NOW).unwrap_err(), HandshakeError::Authentication);
    let mut decoder = FrameDecoder::new(server.split().1, 1000);
    decoder.push(&[0x5a; HEADER_BLOCK_LEN]);
    assert_eq!(decoder.next_frame(), Err(FrameError::Authentication(AuthenticationFailed)));
}

#[rstest]
#[case::ephemeral_key(0)]
#[case::static_key(64)]
#[case::mac_of_static_key(143)]
#[case::certificate(144)]
#[case::mac_of_certificate(233)]
fn a_changed_act_2_does_not_authenticate(#[case] position: usize) {
    let (initiator, act_1) = initiator();
    let (mut act_2, _) = responder().act_1(&act_1).unwrap();
    act_2[position] ^= 1;
    assert_eq!(initiator.act_2(&act_2, NOW).unwrap_err(), HandshakeError::Authentication);
}

#[rstest]
#[case::another_authority(AuthoritySecretKey::generate(&mut entropy(9)).public(), NOW,
    Some(CertificateError::Signature))]
#[case::early_within_leeway(authority().public(), NOW - 3610, None)]
#[case::too_early(authority().public(), NOW - 3611, Some(CertificateError::NotYetValid {
    valid_from: 1_789_996_400, now: NOW - 3611 }))]
#[case::late_within_leeway(authority().public(), NOW + 3610, None)]
#[case::too_late(authority().public(), NOW + 3611, Some(CertificateError::Expired {
    not_valid_after: 1_790_003_600, now: NOW + 3611 }))]
fn a_certificate_is_judged_by_authority_and_time(
    #[case] expected: AuthorityPublicKey,
    #[case] now: u64,
    #[case] error: Option<CertificateError>,
) {
    let (initiator, act_1) = Initiator::new(Some(expected), &mut entropy(5)).unwrap();
    let (act_2, _) = responder().act_1(&act_1).unwrap();
    let result = initiator.act_2(&act_2, now).map(drop);
    assert_eq!(result, error.map_or(Ok(()), |error| Err(HandshakeError::Certificate(error))));
}

#[test]
fn a_certificate_vouches_for_one_key_and_one_validity() {
    let verify = |bytes: [u8; Certificate::LEN], server: &StaticKey| {
        Certificate::from_bytes(&bytes).verify(&server.public(), &authority().public(), NOW)
    };
    let good = certificate().to_bytes();
    assert_eq!(verify(good, &static_key()), Ok(()));
    let stranger = StaticKey::generate(&mut entropy(10));
    assert_eq!(verify(good, &stranger), Err(CertificateError::Signature));
    let mut longer = good;
    longer[9] += 1;
    assert_eq!(verify(longer, &static_key()), Err(CertificateError::Signature));
    let mut newer = good;
    newer[0] = 1;
    assert_eq!(verify(newer, &static_key()), Err(CertificateError::Version(1)));
}

#[test]
fn without_an_authority_any_certificate_will_do() {
    let (initiator, act_1) = Initiator::new(None, &mut entropy(5)).unwrap();
    let (act_2, _) = responder().act_1(&act_1).unwrap();
    assert!(initiator.act_2(&act_2, 0).is_ok());
}

/// Bytes that a payload of `len` takes on the wire, as the specification computes them.
fn sealed_len(len: usize) -> usize {
    let rest = len % 65_519;
    22 + len / 65_519 * 65_535 + if rest > 0 { rest + 16 } else { 0 }
}

#[rstest]
fn frames_of_every_size_pass_both_ways(
    #[values(0, 1, 17, 65_518, 65_519, 65_520, 131_038, 131_039, 1_000_000)] len: usize,
) {
    let (client, server) = connect();
    let (mut to_server, from_server) = client.split();
    let (mut to_client, from_client) = server.split();
    for (sealer, opener) in [(&mut to_server, from_client), (&mut to_client, from_server)] {
        let mut decoder = FrameDecoder::new(opener, 1_000_000);
        for _ in 0..2 {
            let mut wire = Vec::new();
            sealer.seal_frame(&frame(&payload(len)), &mut wire);
            assert_eq!(wire.len(), sealed_len(len));
            decoder.push(&wire[..wire.len() - 1]);
            assert_eq!(decoder.next_frame(), Ok(None));
            assert!(decoder.is_mid_frame());
            decoder.push(&wire[wire.len() - 1..]);
            let arrived = decoder.next_frame().unwrap().unwrap();
            assert_eq!(arrived.payload, payload(len));
            assert_eq!(decoder.next_frame(), Ok(None));
            assert!(!decoder.is_mid_frame());
        }
    }
}

#[rstest]
#[case::header_text(0, 3)]
#[case::header_mac(0, 21)]
#[case::first_chunk(0, 22)]
#[case::first_mac(0, 22 + 65_534)]
#[case::second_chunk(0, 22 + 65_535)]
#[case::last_mac(0, 22 + 65_535 + 16)]
#[case::second_frame(1, 3)]
fn a_changed_frame_ends_the_connection(#[case] index: usize, #[case] position: usize) {
    let (client, server) = connect();
    let mut sealer = client.split().0;
    let mut decoder = FrameDecoder::new(server.split().1, 100_000);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for _ in 0..3 {
        let mut wire = Vec::new();
        sealer.seal_frame(&frame(&payload(65_520)), &mut wire);
        frames.push(wire);
    }
    frames[index][position] ^= 0x80;
    decoder.push(&frames.concat());
    for _ in 0..index {
        assert!(decoder.next_frame().unwrap().is_some());
    }
    for _ in 0..2 {
        let error = decoder.next_frame().unwrap_err();
        assert_eq!(error, FrameError::Authentication(AuthenticationFailed));
    }
}

#[rstest]
#[case::repeated(&[0, 0])]
#[case::swapped(&[1])]
fn frames_out_of_order_do_not_authenticate(#[case] order: &[usize]) {
    let (client, server) = connect();
    let mut sealer = client.split().0;
    let frames = [b"first", b"other"].map(|text| {
        let mut wire = Vec::new();
        sealer.seal_frame(&frame(text), &mut wire);
        wire
    });
    let mut decoder = FrameDecoder::new(server.split().1, 1000);
    order.iter().for_each(|index| decoder.push(&frames[*index]));
    for _ in 1..order.len() {
        assert!(decoder.next_frame().unwrap().is_some());
    }
    assert!(decoder.next_frame().is_err());
}

#[rstest]
#[case::encrypted(connect())]
#[case::plaintext((Transport::plaintext(), Transport::plaintext()))]
fn a_frame_over_the_limit_is_refused_by_its_header(#[case] ends: (Transport, Transport)) {
    let (client, server) = ends;
    let mut sealer = client.split().0;
    let mut decoder = FrameDecoder::new(server.split().1, 100);
    let mut wire = Vec::new();
    sealer.seal_frame(&frame(&payload(100)), &mut wire);
    decoder.push(&wire);
    assert_eq!(decoder.next_frame().unwrap().unwrap().payload.len(), 100);

    wire.clear();
    sealer.seal_frame(&frame(&payload(20_000)), &mut wire);
    decoder.push(&wire[..HEADER_BLOCK_LEN]);
    let expected = Err(FrameError::TooLarge { announced: 20_000, max: 100 });
    assert_eq!(decoder.next_frame(), expected);
    decoder.push(&wire[HEADER_BLOCK_LEN..]);
    assert_eq!(decoder.next_frame(), expected);
}

#[test]
fn many_frames_are_sealed_as_each_alone() {
    let frames = [frame(b"one"), frame(b""), frame(&payload(70_000))];
    let (mut together, mut apart) = (Vec::new(), Vec::new());
    connect().0.split().0.seal_frames(&frames.concat(), &mut together);
    let mut sealer = connect().0.split().0;
    frames.iter().for_each(|frame| sealer.seal_frame(frame, &mut apart));
    assert_eq!(together, apart);
}

#[test]
#[should_panic(expected = "a frame announces the payload it has")]
fn a_frame_that_announces_another_length_is_our_own_fault() {
    let mut wrong = frame(b"job");
    wrong.push(0);
    Transport::plaintext().split().0.seal_frame(&wrong, &mut Vec::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn frames_arrive_whatever_pieces_they_come_in(
        lens in prop::collection::vec(0_usize..70_000, 1..4),
        piece_len in 1_usize..30_000,
        encrypted in any::<bool>(),
    ) {
        let (client, server) = if encrypted {
            connect()
        } else {
            (Transport::plaintext(), Transport::plaintext())
        };
        let mut sealer = client.split().0;
        let mut wire = Vec::new();
        lens.iter().for_each(|len| sealer.seal_frame(&frame(&payload(*len)), &mut wire));
        let mut decoder = FrameDecoder::new(server.split().1, 70_000);
        let mut arrived = Vec::new();
        for piece in wire.chunks(piece_len) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                prop_assert_eq!(frame.payload, payload(frame.payload.len()));
                arrived.push(frame.payload.len());
            }
        }
        prop_assert_eq!(arrived, lens);
        prop_assert!(!decoder.is_mid_frame());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..10),
        encrypted in any::<bool>(),
    ) {
        let transport = if encrypted { connect().0 } else { Transport::plaintext() };
        let mut decoder = FrameDecoder::new(transport.split().1, 60);
        for piece in pieces {
            decoder.push(&piece);
            while let Ok(Some(frame)) = decoder.next_frame() {
                prop_assert!(frame.payload.len() <= 60);
            }
        }
    }
}

const AUTHORITY_TEXT: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

#[test]
fn the_specifications_authority_key_reads_and_prints() {
    let key: AuthorityPublicKey = format!(" {AUTHORITY_TEXT}\n").parse().unwrap();
    let raw = [
        118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233,
        185, 193, 30, 61, 174, 227, 90, 224, 176, 138, 116, 85,
    ];
    assert_eq!(key.0.serialize(), raw);
    assert_eq!(key.to_string(), AUTHORITY_TEXT);
}

#[rstest]
#[case::mistyped("9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXi", KeyError::PublicForm)]
#[case::empty("", KeyError::PublicForm)]
#[case::too_short(&bitcoin::base58::encode_check(&[1, 0, 7]), KeyError::PublicLength(3))]
#[case::other_version(&bitcoin::base58::encode_check(&[2; 34]), KeyError::PublicVersion(0x0202))]
#[case::no_point(&bitcoin::base58::encode_check(&[&[1, 0], &[0xff; 32][..]].concat()),
    KeyError::NotOnCurve)]
fn a_bad_authority_key_says_what_is_wrong(#[case] text: &str, #[case] expected: KeyError) {
    assert_eq!(text.parse::<AuthorityPublicKey>(), Err(expected));
}

#[test]
fn secret_keys_come_back_from_their_text_and_are_not_printed() {
    let key = static_key();
    let text = key.to_secret_text();
    assert_eq!(text.len(), 64);
    assert_eq!(StaticKey::parse(&format!("{}\n", *text)).unwrap().public(), key.public());
    assert!(!format!("{key:?}").contains(text.as_str()));

    let key = authority();
    let text = key.to_secret_text();
    assert_eq!(AuthoritySecretKey::parse(&text).unwrap().public(), key.public());
    assert!(!format!("{key:?}").contains(text.as_str()));
    let as_others_write_it = bitcoin::base58::encode_check(&<[u8; 32]>::from_hex(&text).unwrap());
    assert_eq!(AuthoritySecretKey::parse(&as_others_write_it).unwrap().public(), key.public());
}

#[rstest]
#[case::zero(&"00".repeat(32), KeyError::SecretRange)]
#[case::above_the_order(&"ff".repeat(32), KeyError::SecretRange)]
#[case::no_hex(&"zz".repeat(32), KeyError::SecretForm)]
#[case::cut("ab", KeyError::SecretForm)]
fn a_bad_secret_key_is_refused(#[case] text: &str, #[case] expected: KeyError) {
    assert_eq!(StaticKey::parse(text).unwrap_err(), expected);
}

#[test]
fn a_certificate_comes_back_from_its_text() {
    let text = format!("{}\n", certificate());
    assert_eq!(text.trim().len(), 148);
    assert_eq!(text.parse(), Ok(certificate()));
    assert_eq!("00".parse::<Certificate>(), Err(CertificateError::Form));
}
