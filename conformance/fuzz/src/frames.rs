//! Frames, messages and TLVs.

use sv2_noise::{FrameDecoder, Transport};
use sv2_wire::{
    FrameHeader, MiningClientMessage, MiningServerMessage, TemplateClientMessage,
    TemplateServerMessage, Tlvs, U24, WorkerIdentity,
};

/// Longest payload that the streams' decoder takes.
const MAX_PAYLOAD: usize = 4_096;

/// The first byte says in what pieces the rest comes: what comes out is the same for every size,
/// and is what went in.
pub(crate) fn stream(input: &[u8]) {
    let Some((size, bytes)) = input.split_first() else { return };
    let pieces = decode(bytes, usize::from(*size).max(1));
    assert_eq!(pieces, decode(bytes, usize::MAX), "pieces of {size} bytes change what is read");
    let again: Vec<u8> = pieces
        .iter()
        .flat_map(|(header, payload)| [header.encode().as_slice(), payload].concat())
        .collect();
    assert!(bytes.starts_with(&again), "what is read is not what was written");
}

fn decode(bytes: &[u8], size: usize) -> Vec<(FrameHeader, Vec<u8>)> {
    let (_, opener) = Transport::plaintext().split();
    let mut decoder = FrameDecoder::new(opener, MAX_PAYLOAD);
    let mut frames = Vec::new();
    for piece in bytes.chunks(size.min(bytes.len().max(1))) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.payload.len() <= MAX_PAYLOAD, "the bound does not hold");
                    frames.push((frame.header, frame.payload.to_vec()));
                }
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

/// For each family: what decodes encodes to what decodes to the same.
macro_rules! families {
    ($($run:ident: $($family:ident)+;)*) => {$(
        pub(crate) fn $run(input: &[u8]) {
            let Some((header, payload)) = frame(input) else { return };
            $(
                if let Ok(decoded) = $family::decode(header, payload) {
                    let mut whole = Vec::new();
                    decoded.message.encode_frame(&mut whole);
                    let (head, body) =
                        whole.split_first_chunk().expect("an encoded frame has a header");
                    let again = $family::decode(FrameHeader::decode(*head), body)
                        .expect("what was encoded decodes");
                    // A rate may be a NaN, which differs from itself.
                    assert_eq!(format!("{:?}", again.message), format!("{:?}", decoded.message));
                    assert!(body.len() <= payload.len(), "the message grew");
                }
            )+
        }
    )*};
}

families! {
    common: MiningClientMessage MiningServerMessage;
    extensions: MiningClientMessage MiningServerMessage;
    mining_client: MiningClientMessage;
    mining_server: MiningServerMessage;
    templates: TemplateClientMessage TemplateServerMessage;
}

/// A frame whose length is put right, so that mutations reach the fields.
fn frame(input: &[u8]) -> Option<(FrameHeader, &[u8])> {
    let (head, payload) = input.split_first_chunk::<{ FrameHeader::LEN }>()?;
    let msg_length = U24::from_len(payload.len())?;
    Some((FrameHeader { msg_length, ..FrameHeader::decode(*head) }, payload))
}

/// What parses encodes to what was parsed.
pub(crate) fn tlvs(input: &[u8]) {
    let Ok(tlvs) = Tlvs::parse(input) else { return };
    let mut again = Vec::new();
    for tlv in tlvs.iter() {
        assert!(tlvs.find(tlv.extension_type, tlv.field_type).is_some(), "{tlv:?} is not found");
        tlv.encode(&mut again);
    }
    assert_eq!(again, input);
    if let Ok(Some(worker)) = WorkerIdentity::find(tlvs) {
        assert!(worker.as_str().len() <= WorkerIdentity::MAX_LEN, "{worker:?} is too long");
    }
}
