//! Where the two implementations read the same payload differently on purpose, and where the
//! specification leaves room and they agree; the tables are in the package's documentation.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // helpers of tests are not marked as tests

use framing_sv2::header::Header;
use parsers_sv2::AnyMessage;
use rstest::rstest;
use sv2_wire::common::SetupConnection;
use sv2_wire::mining::{NewExtendedMiningJob, NewMiningJob, SetTarget, SubmitSharesStandard};
use sv2_wire::{
    B064K, DecodeError, FrameHeader, Message, MiningClientMessage, MiningServerMessage, Seq0255,
    Str0255, Tlv, TlvError, U24, U256, WorkerIdentity,
};

fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    frame
}

/// The frame with `tail` behind its payload, and the length to match.
fn with_tail(mut frame: Vec<u8>, tail: &[u8]) -> Vec<u8> {
    frame.extend_from_slice(tail);
    let length = U24::from_len(frame.len() - FrameHeader::LEN).unwrap().to_le_bytes();
    frame[3..FrameHeader::LEN].copy_from_slice(&length);
    frame
}

fn split(frame: &[u8]) -> (FrameHeader, &[u8]) {
    let (header, payload) = frame.split_first_chunk().unwrap();
    (FrameHeader::decode(*header), payload)
}

/// Whether their parser takes the frame.
fn they_take(frame: &[u8]) -> bool {
    let header = Header::from_bytes(&frame[..FrameHeader::LEN]).unwrap();
    let mut payload = frame[FrameHeader::LEN..].to_vec();
    let message = AnyMessage::try_from((header, payload.as_mut_slice()));
    message.is_ok()
}

const SHARE: SubmitSharesStandard = SubmitSharesStandard {
    channel_id: 1,
    sequence_number: 2,
    job_id: 3,
    nonce: 4,
    ntime: 5,
    version: 6,
};

#[test]
fn only_they_take_trailing_garbage() {
    let frame = with_tail(encode(&SHARE), &[0xaa]);
    assert!(they_take(&frame));
    let (header, payload) = split(&frame);
    let message = "SubmitSharesStandard";
    let expected = DecodeError::Tail { message, cause: TlvError::Malformed(1) };
    assert_eq!(MiningClientMessage::decode(header, payload), Err(expected));
}

/// The specification prints its example in big-endian order and orders little-endian everywhere.
#[test]
fn both_write_tlvs_in_little_endian_order() {
    let worker = WorkerIdentity::new("rig-1").unwrap();
    let mut frame = Vec::new();
    SHARE.encode_frame_with_tlvs(&[worker.to_tlv()], &mut frame);
    let header = Header::from_bytes(&frame[..FrameHeader::LEN]).unwrap();
    let mut payload = frame[FrameHeader::LEN..].to_vec();
    let (_, tlvs) =
        parsers_sv2::parse_message_frame_with_tlvs(header, &mut payload, &[0x0002]).unwrap();
    let tlvs = tlvs.expect("they find the TLV");
    assert_eq!(tlvs[0].value, b"rig-1");
    let theirs = tlvs[0].encode().unwrap();
    let mut ours = Vec::new();
    worker.to_tlv().encode(&mut ours);
    assert_eq!(ours, theirs);
    let other = Tlv { extension_type: 2, field_type: 1, value: B064K::new(b"rig-1").unwrap() };
    assert_eq!(worker.to_tlv(), other);
}

#[rstest]
#[case::changed_in_2026(encode(&NewMiningJob {
    channel_id: 1, job_id: 2, min_ntime: None, version: 3, merkle_root: U256::MAX }), true)]
#[case::never_changed(encode(&SetTarget { channel_id: 1, maximum_target: U256::MAX }), false)]
fn only_we_look_at_the_channel_bit(#[case] mut frame: Vec<u8>, #[case] tolerated: bool) {
    frame[1] ^= 0x80;
    assert!(they_take(&frame));
    let (header, payload) = split(&frame);
    let ours = MiningServerMessage::decode(header, payload);
    assert_eq!(ours.is_ok_and(|decoded| decoded.wrong_channel_bit), tolerated);
}

#[test]
fn only_we_decode_an_unknown_protocol() {
    let text = Str0255::default();
    let frame = encode(&SetupConnection {
        protocol: 9,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text,
        endpoint_port: 3333,
        vendor: text,
        hardware_version: text,
        firmware: text,
        device_id: text,
    });
    assert!(!they_take(&frame));
    let (header, payload) = split(&frame);
    let decoded = MiningClientMessage::decode(header, payload).unwrap();
    assert!(matches!(decoded.message, MiningClientMessage::SetupConnection(m) if m.protocol == 9));
}

#[test]
fn both_ignore_the_upper_bits_of_a_bool() {
    let mut frame = encode(&NewExtendedMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: None,
        version: 3,
        version_rolling_allowed: false,
        merkle_path: Seq0255::default(),
        coinbase_tx_prefix: B064K::default(),
        coinbase_tx_suffix: B064K::default(),
    });
    for (byte, expected) in [(0xfe, false), (0x81, true)] {
        frame[FrameHeader::LEN + 13] = byte;
        let (ours, _) = NewExtendedMiningJob::decode(&frame[FrameHeader::LEN..]).unwrap();
        assert_eq!(ours.version_rolling_allowed, expected);
        let mut payload = frame[FrameHeader::LEN..].to_vec();
        let theirs: mining_sv2::NewExtendedMiningJob<'_> =
            binary_sv2::from_bytes(&mut payload).unwrap();
        assert_eq!(theirs.version_rolling_allowed, expected);
    }
}

#[test]
fn both_refuse_an_option_of_two() {
    let job = NewMiningJob {
        channel_id: 1,
        job_id: 2,
        min_ntime: Some(7),
        version: 3,
        merkle_root: U256::MAX,
    };
    let mut frame = encode(&job);
    frame[FrameHeader::LEN + 8] = 2;
    let (header, payload) = split(&frame);
    assert!(MiningServerMessage::decode(header, payload).is_err());
    assert!(!they_take(&frame));
}
