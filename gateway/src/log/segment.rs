//! A segment's name and its lines.
//!
//! A line is 8 hex digits of the CRC-32C of what follows the next space, a space, the record's
//! kind (one letter), a space, the record as a JSON object, and a newline.

use std::ops::Range;

use gateway_core::event::Event;

use crate::encoding::write_event;

const SUFFIX: &str = ".log";
const CRC_DIGITS: usize = 8;
/// CRC, space, kind, space.
const HEAD_BYTES: usize = CRC_DIGITS + 1 + 1 + 1;

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A public event, with its `seq`.
    Event,
    /// What sends an accepted share again; private.
    Share,
    /// A job that shares refer to; private.
    Job,
    /// What submits a found block again; private.
    Block,
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Self::Event => b'E',
            Self::Share => b'S',
            Self::Job => b'J',
            Self::Block => b'B',
        }
    }

    fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'E' => Some(Self::Event),
            b'S' => Some(Self::Share),
            b'J' => Some(Self::Job),
            b'B' => Some(Self::Block),
            _ => None,
        }
    }
}

/// A decoded line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What it holds.
    pub kind: Kind,
    /// The JSON object.
    pub json: &'a str,
}

/// The name of the segment that begins with event `first_seq`. Names sort as their numbers do.
pub fn name(first_seq: u64) -> String {
    format!("{first_seq:020}{SUFFIX}")
}

/// The number of the first event of the segment called `name`; `None` for other files.
pub fn first_seq(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

/// Appends a line to `buffer`. `json` has no newline in it (JSON text escapes them).
pub fn encode(kind: Kind, json: &str, buffer: &mut Vec<u8>) {
    encode_with(kind, buffer, |buffer| buffer.extend_from_slice(json.as_bytes()));
}

/// Appends the line of an event that has the number `seq`. Returns where in `buffer` the event
/// stands as the stream tells it, with its newline.
pub fn encode_event(event: &Event, seq: u64, buffer: &mut Vec<u8>) -> Range<usize> {
    encode_with(Kind::Event, buffer, |buffer| write_event(event, seq, buffer))
}

/// Appends a line whose JSON `write_json` appends; returns where in `buffer` that stands, with the
/// newline.
pub(super) fn encode_with(
    kind: Kind,
    buffer: &mut Vec<u8>,
    write_json: impl FnOnce(&mut Vec<u8>),
) -> Range<usize> {
    let start = buffer.len();
    buffer.extend_from_slice(&[b'0'; CRC_DIGITS]);
    buffer.extend_from_slice(&[b' ', kind.letter(), b' ']);
    write_json(buffer);
    debug_assert!(!buffer[start..].contains(&b'\n'), "a record is one line");
    let crc = crc32c::crc32c(&buffer[start + CRC_DIGITS + 1..]);
    const_hex::encode_to_slice(crc.to_be_bytes(), &mut buffer[start..start + CRC_DIGITS])
        .expect("four bytes have eight digits");
    buffer.push(b'\n');
    start + HEAD_BYTES..buffer.len()
}

/// Decodes one line, given without its newline.
///
/// # Errors
/// What is wrong with the line.
pub fn decode(line: &[u8]) -> Result<Line<'_>, &'static str> {
    if line.len() < HEAD_BYTES || line[8] != b' ' || line[10] != b' ' {
        return Err("not a record");
    }
    let stated = std::str::from_utf8(&line[..8])
        .ok()
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or("the checksum is not a number")?;
    if crc32c::crc32c(&line[9..]) != stated {
        return Err("the checksum does not match");
    }
    let kind = Kind::from_letter(line[9]).ok_or("an unknown kind of record")?;
    let json = std::str::from_utf8(&line[HEAD_BYTES..]).map_err(|_| "the record is not UTF-8")?;
    Ok(Line { kind, json })
}

#[cfg(test)]
mod tests {
    use gateway_core::event::ModeChanged;
    use gateway_core::mode::Mode;
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_line_is_readable_and_decodes_to_what_it_was() {
        let mut buffer = Vec::new();
        encode(Kind::Share, r#"{"share_id":"00"}"#, &mut buffer);
        let text = std::str::from_utf8(&buffer).unwrap();
        assert_eq!(text, "f406021f S {\"share_id\":\"00\"}\n");
        let line = decode(&buffer[..buffer.len() - 1]).unwrap();
        assert_eq!(line, Line { kind: Kind::Share, json: r#"{"share_id":"00"}"# });
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let mut buffer = Vec::new();
        encode(Kind::Event, r#"{"event":"x","seq":1}"#, &mut buffer);
        buffer.pop();
        for index in 0..buffer.len() {
            let mut changed = buffer.clone();
            changed[index] ^= 1;
            assert!(decode(&changed).is_err(), "byte {index}");
        }
    }

    #[rstest]
    #[case(1, "00000000000000000001.log")]
    #[case(u64::MAX, "18446744073709551615.log")]
    fn a_name_says_the_first_event(#[case] seq: u64, #[case] expected: &str) {
        assert_eq!(name(seq), expected);
        assert_eq!(first_seq(expected), Some(seq));
    }

    #[rstest]
    #[case("notes.txt")]
    #[case("1.log")]
    #[case("+0000000000000000001.log")]
    #[case("99999999999999999999.log")]
    fn other_files_are_no_segments(#[case] name: &str) {
        assert_eq!(first_seq(name), None);
    }

    #[test]
    fn an_event_is_numbered() {
        let (from, to) = (Mode::Inline, Mode::Observe);
        let event = Event::ModeChanged(ModeChanged { from, to, timestamp_ms: 7 });
        let mut buffer = b"before".to_vec();
        let told = encode_event(&event, 9, &mut buffer);
        let json = r#"{"event":"mode_changed","schema":1,"seq":9,"from":"inline","to":"observe","timestamp_ms":7}"#;
        assert_eq!(&buffer[told], format!("{json}\n").as_bytes());
        let mut same = b"before".to_vec();
        encode(Kind::Event, json, &mut same);
        assert_eq!(buffer, same);
    }
}
