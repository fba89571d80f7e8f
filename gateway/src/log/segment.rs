//! A segment's name and its lines.
//!
//! A line is 8 hex digits of the CRC-32C of what follows the next space, a space, the record's
//! kind (one letter), a space, the record as a JSON object, and a newline.

use std::fmt::Write as _;

use super::Event;

/// Version of the event schema, on every event.
pub const EVENT_SCHEMA: u32 = 1;

const SUFFIX: &str = ".log";
/// CRC, space, kind, space.
const HEAD_BYTES: usize = 8 + 1 + 1 + 1;
/// At most what numbering an event adds to it.
const HEAD_MEMBERS_BYTES: usize = 96;

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
    debug_assert!(!json.contains('\n'), "a record is one line");
    let letter = [kind.letter(), b' '];
    let crc = crc32c::crc32c_append(crc32c::crc32c(&letter), json.as_bytes());
    let mut digits = const_hex::Buffer::<4>::new();
    buffer.extend_from_slice(digits.format(&crc.to_be_bytes()).as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(&letter);
    buffer.extend_from_slice(json.as_bytes());
    buffer.push(b'\n');
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

/// The event as it stands in the log and on the stream, numbered `seq`.
pub fn event_json(event: &Event, seq: u64) -> String {
    let members = event.fields.strip_prefix('{').expect("an event's fields are a JSON object");
    let mut json = String::with_capacity(HEAD_MEMBERS_BYTES + members.len());
    write!(json, r#"{{"event":"{}","schema":{EVENT_SCHEMA},"seq":{seq},"#, event.name)
        .expect("writing to a string cannot fail");
    json.push_str(members);
    json
}

#[cfg(test)]
mod tests {
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
        let event = Event { name: "block_found", fields: r#"{"height":7}"#.into() };
        assert_eq!(
            event_json(&event, 9),
            r#"{"event":"block_found","schema":1,"seq":9,"height":7}"#
        );
    }
}
