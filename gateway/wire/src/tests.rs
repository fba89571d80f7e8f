//! Properties that hold for every message, and the tables of single types.

use proptest::prelude::*;
use rstest::rstest;

use crate::sample::{Items, Pool, Sample};
use crate::*;

/// Calls a macro with the path of every message struct.
macro_rules! for_each_message {
    ($check:ident) => {
        $check! {
            common: SetupConnection, SetupConnectionSuccess, SetupConnectionError,
                ChannelEndpointChanged, Reconnect;
            mining: OpenStandardMiningChannel, OpenStandardMiningChannelSuccess,
                OpenMiningChannelError, OpenExtendedMiningChannel,
                OpenExtendedMiningChannelSuccess, NewMiningJob, UpdateChannel, UpdateChannelError,
                CloseChannel, SetExtranoncePrefix, SubmitSharesStandard, SubmitSharesExtended,
                SubmitSharesSuccess, SubmitSharesError, NewExtendedMiningJob, SetNewPrevHash,
                SetTarget, SetCustomMiningJob, SetCustomMiningJobSuccess, SetCustomMiningJobError,
                SetGroupChannel;
            template_distribution: CoinbaseOutputConstraints, NewTemplate, SetNewPrevHash,
                RequestTransactionData, RequestTransactionDataSuccess,
                RequestTransactionDataError, SubmitSolution;
            extensions: RequestExtensions, RequestExtensionsSuccess, RequestExtensionsError;
        }
    };
}

/// Splits a frame into its header and payload.
fn split(frame: &[u8]) -> (FrameHeader, &[u8]) {
    let (header, payload) = frame.split_first_chunk().expect("a frame starts with a header");
    (FrameHeader::decode(*header), payload)
}

/// The message comes back whole from its own frame, every cut is noticed, and whatever follows it
/// is handed to the caller.
fn check_round_trip<'a, M>(pool: &mut Pool<'a>)
where
    M: Message<'a> + Sample<'a> + PartialEq + std::fmt::Debug,
{
    let message = M::sample(pool);
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    // Decoding borrows for as long as the sampled message does, hence the leak; it is a test.
    let frame: &'a [u8] = frame.leak();
    let (header, payload) = split(frame);
    assert_eq!(header.extension_type, M::EXTENSION_TYPE);
    assert_eq!((header.msg_type, header.channel_msg), (M::MSG_TYPE, M::CHANNEL_BIT));
    assert_eq!(header.msg_length.to_len(), payload.len());
    assert_eq!(header.encode(), frame[..FrameHeader::LEN]);

    let (decoded, tail) = M::decode(payload).expect("an encoded message decodes");
    assert_eq!(decoded, message);
    assert!(tail.is_empty());
    let mut again = Vec::new();
    decoded.encode_frame(&mut again);
    assert_eq!(again, frame, "{}", M::NAME);

    for cut in 0..payload.len() {
        assert!(M::decode(&payload[..cut]).is_err(), "{} cut to {cut} bytes", M::NAME);
    }
}

/// Decoding arbitrary bytes gives an error, or a message that encodes to as many bytes as it took.
fn check_arbitrary<'a, M: Message<'a>>(payload: &'a [u8]) {
    if let Ok((message, tail)) = M::decode(payload) {
        let mut encoded = Vec::new();
        message.encode_payload(&mut encoded);
        assert_eq!(encoded.len() + tail.len(), payload.len(), "{}", M::NAME);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_message_comes_back_from_its_frame(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        item_bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let items = Items::new(&item_bytes);
        macro_rules! round_trip {
            ($($protocol:ident: $($message:ident),*;)*) => {$($(
                check_round_trip::<$protocol::$message>(&mut Pool::new(&bytes, &items));
            )*)*};
        }
        for_each_message!(round_trip);
    }

    #[test]
    fn arbitrary_payloads_never_panic(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        macro_rules! arbitrary {
            ($($protocol:ident: $($message:ident),*;)*) => {$($(
                check_arbitrary::<$protocol::$message>(&payload);
            )*)*};
        }
        for_each_message!(arbitrary);
    }

    #[test]
    fn arbitrary_frames_never_panic(
        header in any::<[u8; 6]>(),
        msg_type in prop::sample::select(
            MESSAGES.into_iter().flatten().map(|info| info.msg_type).collect::<Vec<_>>()
        ),
        known in any::<bool>(),
        payload in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut header = FrameHeader::decode(header);
        if known {
            header.msg_length = U24::from_len(payload.len()).unwrap();
            header.extension_type &= 1;
            header.msg_type = msg_type;
        }
        let _ = MiningClientMessage::decode(header, &payload);
        let _ = MiningServerMessage::decode(header, &payload);
        let _ = TemplateClientMessage::decode(header, &payload);
        let _ = TemplateServerMessage::decode(header, &payload);
    }

    #[test]
    fn tlvs_come_back_and_every_other_tail_is_refused(
        fields in prop::collection::vec(
            (any::<u16>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let tlvs: Vec<Tlv<'_>> = fields
            .iter()
            .map(|(extension_type, field_type, value)| Tlv {
                extension_type: *extension_type,
                field_type: *field_type,
                value: B064K::new(value).unwrap(),
            })
            .collect();
        let mut tail = Vec::new();
        let mut ends = vec![0];
        for tlv in &tlvs {
            tlv.encode(&mut tail);
            ends.push(tail.len());
        }
        prop_assert!(Tlvs::parse(&tail).unwrap().iter().eq(tlvs));
        let cut = cut.index(tail.len() + 1);
        prop_assert_eq!(Tlvs::parse(&tail[..cut]).is_ok(), ends.contains(&cut));
    }

    #[test]
    fn headers_come_back(bytes in any::<[u8; 6]>()) {
        prop_assert_eq!(FrameHeader::decode(bytes).encode(), bytes);
    }
}

#[test]
fn for_each_message_misses_none() {
    macro_rules! names {
        ($($protocol:ident: $($message:ident),*;)*) => {
            [$($(<$protocol::$message as Message>::NAME),*),*]
        };
    }
    let listed = for_each_message!(names);
    assert!(MESSAGES.into_iter().flatten().map(|info| info.name).eq(listed));
}

#[test]
fn message_ids_and_channel_bits_are_those_of_the_specification() {
    let mut table = String::from("extension type channel message\n");
    for info in MESSAGES.into_iter().flatten() {
        let channel_bit = u8::from(info.channel_bit);
        table += &format!(
            "{:#06x}    {:#04x} {channel_bit}       {}\n",
            info.extension_type, info.msg_type, info.name
        );
    }
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/wire"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!("message_types", table);
    });
}

const SHARE: mining::SubmitSharesStandard = mining::SubmitSharesStandard {
    channel_id: 1,
    sequence_number: 2,
    job_id: 3,
    nonce: 4,
    ntime: 5,
    version: 0x2000_0000,
};

/// A frame of [`SHARE`] with other bytes in place of its TLVs.
fn share_frame_with_tail(tail: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    SHARE.encode_frame(&mut frame);
    frame.extend_from_slice(tail);
    frame[3] = u8::try_from(frame.len() - FrameHeader::LEN).unwrap();
    frame
}

#[test]
fn a_share_has_the_bytes_the_specification_lays_out() {
    let frame = share_frame_with_tail(&[]);
    let expected = [
        0x00, 0x80, 0x1a, 24, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0,
        0, 0, 0x20,
    ];
    assert_eq!(frame, expected);
}

#[rstest]
#[case::nothing(&[], Ok(None))]
#[case::worker(&[2, 0, 1, 3, 0, b'r', b'i', b'g'], Ok(Some("rig")))]
#[case::empty_worker(&[2, 0, 1, 0, 0], Ok(Some("")))]
#[case::other_extension(&[9, 0, 1, 1, 0, 7], Ok(None))]
#[case::one_stray_byte(&[0], Err(TlvError::Malformed(1)))]
#[case::cut_value(&[2, 0, 1, 3, 0, b'r'], Err(TlvError::Malformed(6)))]
#[case::big_endian(&[0, 2, 1, 0, 3, b'r', b'i', b'g'], Err(TlvError::BigEndian(8)))]
fn a_tail_is_legal_only_as_tlvs(
    #[case] tail: &[u8],
    #[case] expected: Result<Option<&str>, TlvError>,
) {
    let frame = share_frame_with_tail(tail);
    let (header, payload) = split(&frame);
    let received = MiningClientMessage::decode(header, payload).map(|decoded| {
        assert_eq!(decoded.message, MiningClientMessage::SubmitSharesStandard(SHARE));
        WorkerIdentity::find(decoded.tlvs).unwrap().map(|worker| worker.as_str())
    });
    let expected =
        expected.map_err(|cause| DecodeError::Tail { message: "SubmitSharesStandard", cause });
    assert_eq!(received, expected);
}

#[test]
fn a_worker_identity_is_at_most_32_bytes_of_utf8() {
    let find = |value: &[u8]| {
        let mut tail = Vec::new();
        Tlv { extension_type: 2, field_type: 1, value: B064K::new(value).unwrap() }
            .encode(&mut tail);
        WorkerIdentity::find(Tlvs::parse(&tail).unwrap()).map(|found| found.is_some())
    };
    let (extension_type, field_type) = (2, 1);
    assert_eq!(find(&[b'a'; 32]), Ok(true));
    let too_long = TlvError::ValueTooLong { extension_type, field_type, len: 33, max: 32 };
    assert_eq!(find(&[b'a'; 33]), Err(too_long));
    assert_eq!(find(&[0xff]), Err(TlvError::NotUtf8 { extension_type, field_type }));
    assert!(WorkerIdentity::new(&"a".repeat(33)).is_none());
    let worker = WorkerIdentity::new("rig-1").unwrap();
    let mut frame = Vec::new();
    SHARE.encode_frame_with_tlvs(&[worker.to_tlv()], &mut frame);
    let (header, payload) = split(&frame);
    let decoded = MiningClientMessage::decode(header, payload).unwrap();
    assert_eq!(WorkerIdentity::find(decoded.tlvs), Ok(Some(worker)));
    assert!(decoded.tlvs.are_ordered());
}

/// Peers from before May 2026 send the four messages without their channel bit.
#[rstest]
#[case::new_mining_job(0x15, true)]
#[case::set_custom_mining_job_success(0x23, true)]
#[case::set_custom_mining_job_error(0x24, true)]
#[case::set_target(0x21, false)]
#[case::set_new_prev_hash(0x20, false)]
fn a_wrong_channel_bit_is_taken_only_where_it_changed(#[case] msg_type: u8, #[case] taken: bool) {
    let payload = match msg_type {
        0x15 => vec![0; 45],
        0x23 => vec![0; 12],
        0x24 => vec![0; 9],
        0x21 => vec![0; 36],
        _ => vec![0; 48],
    };
    let msg_length = U24::from_len(payload.len()).unwrap();
    let header = |channel_msg| FrameHeader { extension_type: 0, channel_msg, msg_type, msg_length };
    let right = MiningServerMessage::decode(header(true), &payload).unwrap();
    assert!(!right.wrong_channel_bit);
    match MiningServerMessage::decode(header(false), &payload) {
        Ok(decoded) => assert!(taken && decoded.wrong_channel_bit),
        Err(error) => {
            let message = right.message.name();
            assert!(!taken);
            assert_eq!(error, DecodeError::ChannelBit { message, received: false });
        }
    }
}

#[rstest]
#[case::other_extension(0x4000, 0x00, DecodeError::UnknownExtension {
    extension_type: 0x4000, msg_type: 0x00 })]
#[case::reserved_type(0, 0x1e, DecodeError::UnknownMessageType {
    extension_type: 0, msg_type: 0x1e })]
#[case::for_the_other_side(0, 0x11, DecodeError::UnknownMessageType {
    extension_type: 0, msg_type: 0x11 })]
#[case::no_such_negotiation(1, 0x07, DecodeError::UnknownMessageType {
    extension_type: 1, msg_type: 0x07 })]
fn unknown_messages_have_an_error_of_their_own(
    #[case] extension_type: u16,
    #[case] msg_type: u8,
    #[case] expected: DecodeError,
) {
    for channel_msg in [false, true] {
        let msg_length = U24::default();
        let header = FrameHeader { extension_type, channel_msg, msg_type, msg_length };
        assert_eq!(MiningClientMessage::decode(header, &[]), Err(expected));
    }
}

#[test]
fn a_payload_of_another_length_than_announced_is_refused() {
    let frame = share_frame_with_tail(&[]);
    let (header, payload) = split(&frame);
    let expected = DecodeError::LengthMismatch { announced: 24, received: 23 };
    assert_eq!(MiningClientMessage::decode(header, &payload[1..]), Err(expected));
}

#[test]
fn errors_name_the_message_and_the_field() {
    // An extranonce of 33 bytes in a field that carries at most 32.
    let mut payload = [0; 24 + 1 + 33];
    payload[24] = 33;
    let error = mining::SubmitSharesExtended::decode(&payload).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SubmitSharesExtended.extranonce: length 33 exceeds the 32 that B0_32 allows"
    );
    let error = mining::NewMiningJob::decode(&[0, 0, 0, 0, 0, 0, 0, 0, 2]).unwrap_err();
    assert_eq!(error.to_string(), "NewMiningJob.min_ntime: option count 2 is neither 0 nor 1");
    let error = mining::SetTarget::decode(&[0; 35]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SetTarget.maximum_target: needs 32 bytes but the payload has 31 left"
    );
}

#[rstest]
#[case(0x00, false)]
#[case(0x01, true)]
#[case(0xfe, false)]
#[case(0xff, true)]
fn only_bit_0_of_a_bool_counts(#[case] byte: u8, #[case] expected: bool) {
    assert_eq!(bool::decode(&mut Reader::new(&[byte])), Ok(expected));
}

#[test]
fn odd_floats_keep_their_bits() {
    for bits in [0x7fc0_0001_u32, 0xffff_ffff, 0x7f80_0000, 0x8000_0000, 0x0000_0001] {
        let float = f32::decode(&mut Reader::new(&bits.to_le_bytes())).unwrap();
        let mut out = Vec::new();
        float.encode(&mut out);
        assert_eq!(out, bits.to_le_bytes());
    }
}

#[test]
fn values_too_long_for_their_type_cannot_be_made() {
    assert_eq!(
        B032::new(&[0; 33]).unwrap_err().to_string(),
        "bytes of 33 does not fit B0_32, which carries at most 32"
    );
    assert!(B064K::new(&[0; 65_536]).is_err());
    assert!(B016M::new(&vec![0; 16_777_216]).is_err());
    assert!(Seq0255::new(&[U256::MAX; 256]).is_err());
    assert!(Seq064K::new(&[0_u32; 65_536]).is_err());
    assert_eq!(U24::new(0x0100_0000), None);
}

#[test]
fn u256_orders_as_a_little_endian_integer() {
    let one_at = |index: usize| {
        let mut bytes = [0; 32];
        bytes[index] = 1;
        U256(bytes)
    };
    assert!(one_at(31) > one_at(0));
    assert!(U256::MAX > one_at(31));
    assert_eq!(format!("{:?}", one_at(0)), format!("{:0>64}", 1));
}

#[test]
fn peer_text_is_escaped_when_shown() {
    let text = Str0255::new(b"rig\x1b[2J\n\xff").unwrap();
    assert_eq!(text.to_string(), "rig\\x1b[2J\\n\\xff");
    assert!(text.to_str().is_err());
}
