//! Buffers of whole frames.

use sv2_wire::FrameHeader;

/// Divides the buffer of an [`Output::Send`](super::Output::Send) into its frames, header and
/// payload together, in order.
pub fn frames(buffer: &[u8]) -> impl Iterator<Item = (FrameHeader, &[u8])> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_first_chunk::<{ FrameHeader::LEN }>()?;
        let header = FrameHeader::decode(*header);
        let (frame, after) = rest.split_at(FrameHeader::LEN + header.msg_length.to_len());
        rest = after;
        Some((header, frame))
    })
}
