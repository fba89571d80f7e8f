//! Messages to lines and back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{LinkFault, Message, PROTOCOL_VERSION, ProposalId, TemplateBody};

/// The message as a line, its newline included.
pub fn encode(message: &Message) -> Vec<u8> {
    let msg_type = message.msg_type();
    match message {
        Message::TemplatePropose(body) => line(msg_type, body),
        Message::TemplateBody(body) => line(msg_type, body),
        Message::TxKnown(body) => line(msg_type, body),
        Message::TxNeed(body) => line(msg_type, body),
        Message::TemplateVerdict(body) => line(msg_type, body),
        Message::Heartbeat(body) => line(msg_type, body),
        Message::HeartbeatAck(body) => line(msg_type, body),
    }
}

/// Reads one line, with or without its newline. Fields it does not know are passed over.
///
/// # Errors
/// See [`DecodeError`]; each variant asks for another answer.
pub fn decode(line: &[u8]) -> Result<Message, DecodeError> {
    if let Some(piece) = body_piece(line) {
        return Ok(Message::TemplateBody(piece));
    }
    let envelope: Envelope<'_> = parse(line)?;
    if envelope.version != u64::from(PROTOCOL_VERSION) {
        return Err(DecodeError::UnsupportedVersion {
            version: envelope.version,
            msg_type: shortened(&envelope.msg_type),
            proposal_id: envelope.proposal_id,
        });
    }
    Ok(match envelope.msg_type.as_ref() {
        "template_propose" => Message::TemplatePropose(parse(line)?),
        "template_body" => Message::TemplateBody(parse(line)?),
        "tx_known" => Message::TxKnown(parse(line)?),
        "tx_need" => Message::TxNeed(parse(line)?),
        "template_verdict" => Message::TemplateVerdict(parse(line)?),
        "heartbeat" => Message::Heartbeat(parse(line)?),
        "heartbeat_ack" => Message::HeartbeatAck(parse(line)?),
        other => return Err(DecodeError::UnknownMsgType { msg_type: shortened(other) }),
    })
}

/// The long lines, as [`encode`] writes them: read once, not once for the type and once for the
/// rest. Whatever is wrong with one is found on the other way.
fn body_piece(line: &[u8]) -> Option<TemplateBody> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        msg_type: Cow<'a, str>,
        version: u64,
        proposal_id: ProposalId,
        index: u32,
        #[serde(with = "crate::base64_bytes")]
        data: Vec<u8>,
    }
    if !line.starts_with(br#"{"msg_type":"template_body""#) {
        return None;
    }
    let Line { msg_type, version, proposal_id, index, data } = parse(line).ok()?;
    let is_ours = msg_type == "template_body" && version == u64::from(PROTOCOL_VERSION);
    is_ours.then_some(TemplateBody { proposal_id, index, data })
}

/// Why a line is no message for us.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or a field is missing or of the wrong type. Drop the line.
    #[error("line does not parse: {detail}")]
    Unparsable {
        /// What the parser says, cut to a printable length.
        detail: String,
    },
    /// A `version` we do not speak. Refuse the message.
    #[error("{msg_type} of version {version}, this end speaks {PROTOCOL_VERSION} only")]
    UnsupportedVersion {
        /// The line's version.
        version: u64,
        /// The line's `msg_type`, cut to a printable length.
        msg_type: String,
        /// The proposal it concerns, so that it can be refused by name.
        proposal_id: Option<ProposalId>,
    },
    /// A `msg_type` we do not know. Pass over it, and count.
    #[error("unknown msg_type \"{msg_type}\"")]
    UnknownMsgType {
        /// The line's `msg_type`, cut to a printable length.
        msg_type: String,
    },
}

impl DecodeError {
    /// The fault to count it under. A single unknown `msg_type` is no fault, many are
    /// ([`crate::LinkGuard`]).
    pub fn fault(&self) -> Option<LinkFault> {
        match self {
            Self::Unparsable { .. } => Some(LinkFault::Framing),
            Self::UnsupportedVersion { .. } => Some(LinkFault::VersionMismatch),
            Self::UnknownMsgType { .. } => None,
        }
    }
}

/// What every line has; the rest is read once the type is known.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    msg_type: Cow<'a, str>,
    version: u64,
    proposal_id: Option<ProposalId>,
}

fn line<T: Serialize>(msg_type: &'static str, body: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        msg_type: &'static str,
        version: u32,
        #[serde(flatten)]
        body: &'a T,
    }
    let line = Line { msg_type, version: PROTOCOL_VERSION, body };
    let mut bytes = serde_json::to_vec(&line).expect("the messages hold plain JSON data only");
    bytes.push(b'\n');
    bytes
}

fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(line)
        .map_err(|error| DecodeError::Unparsable { detail: cut(&error.to_string(), 200) })
}

fn shortened(msg_type: &str) -> String {
    cut(msg_type, 64)
}

/// A peer's text is quoted in logs, so it has no say over their length.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::{
        BodyAnnouncement, CheckOutcome, Checks, FeeTier, Heartbeat, HeartbeatAck, KnownTransaction,
        MAX_GATEWAY_INSTANCE_ID_CHARS, MAX_PREV_HASH_CHARS, Mode, PolicyContext, TemplatePropose,
        TemplateVerdict, TxKnown, TxNeed, Verdict, VerdictCode,
    };

    fn proposal() -> TemplatePropose {
        TemplatePropose {
            proposal_id: ProposalId(7),
            mode: Mode::Inline,
            height: 101,
            prev_hash: "0f".repeat(32),
            block_version: 0x2000_0000,
            bits: 0x207f_ffff,
            curtime: 1_700_000_000,
            coinbase_value: 5_000_000_141,
            tx_count: 1,
            total_fees: 141,
            weight: 1200,
            sigops_cost: 4,
            coinbase_sigops: 0,
            observed_at_ms: 1_700_000_000_123,
            gateway_instance_id: "gw-1".to_owned(),
            body: BodyAnnouncement { bytes: 300, chunks: 1, sha256: "ab".repeat(32), known: 0 },
        }
    }

    fn verdict() -> TemplateVerdict {
        let checks = Checks { policy: CheckOutcome::Failed, ..Checks::default() };
        TemplateVerdict {
            proposal_id: ProposalId(7),
            verdict: Verdict {
                accepted: false,
                reason_code: VerdictCode::AvgFeeBelowMinimum,
                reason_detail: Some("avg_fee=141 < min_avg_fee_used=200".to_owned()),
                policy_context: Some(PolicyContext {
                    fee_tier: FeeTier::Mid,
                    min_avg_fee_used: 200,
                }),
                warnings: Vec::new(),
                checks,
            },
            policy_hash: "cd".repeat(32),
            judged_in_us: 87,
        }
    }

    #[test]
    fn a_verdict_line_reads_as_documented() {
        let line = encode(&Message::TemplateVerdict(verdict()));
        let expect = concat!(
            r#"{"msg_type":"template_verdict","version":2,"proposal_id":7,"accepted":false,"#,
            r#""reason_code":"avg_fee_below_minimum","#,
            r#""reason_detail":"avg_fee=141 < min_avg_fee_used=200","#,
            r#""policy_context":{"fee_tier":"mid","min_avg_fee_used":200},"warnings":[],"#,
            r#""checks":{"policy":"failed","consensus":"skipped","mempool":"skipped","#,
            r#""node":"skipped"},"policy_hash":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"#,
            r#"cdcdcdcdcdcdcdcd","judged_in_us":87}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(line).unwrap(), expect);
    }

    #[rstest]
    #[case(Message::TemplatePropose(proposal()))]
    #[case(Message::TemplateVerdict(verdict()))]
    #[case(Message::Heartbeat(Heartbeat { seq: 1 }))]
    #[case(Message::HeartbeatAck(HeartbeatAck { seq: u64::MAX, tx_known: true }))]
    #[case(Message::TxKnown(TxKnown {
        proposal_id: ProposalId(7),
        index: 1,
        transactions: vec![
            KnownTransaction { place: 1, wtxid: [2; 32] },
            KnownTransaction { place: u32::MAX, wtxid: [0xfe; 32] },
        ],
    }))]
    #[case(Message::TxNeed(TxNeed { proposal_id: ProposalId(7), places: vec![1, 9] }))]
    fn every_message_survives_the_wire(#[case] message: Message) {
        assert_eq!(decode(&encode(&message)), Ok(message));
    }

    #[test]
    fn a_field_from_the_future_is_passed_over() {
        let line = br#"{"msg_type":"heartbeat","version":2,"seq":3,"colour":{"of":"sky"}}"#;
        assert_eq!(decode(line), Ok(Message::Heartbeat(Heartbeat { seq: 3 })));
    }

    #[rstest]
    #[case("", LinkFault::Framing)]
    #[case("GET / HTTP/1.1", LinkFault::Framing)]
    #[case("[1,2]", LinkFault::Framing)]
    #[case(r#"{"msg_type":"heartbeat","version":2}"#, LinkFault::Framing)]
    #[case(r#"{"msg_type":"heartbeat","version":2,"seq":-1}"#, LinkFault::Framing)]
    #[case(r#"{"msg_type":"heartbeat","version":2,"seq":1}{}"#, LinkFault::Framing)]
    #[case(
        r#"{"msg_type":"template_body","version":2,"proposal_id":1,"index":0,"data":"=="}"#,
        LinkFault::Framing
    )]
    #[case(
        r#"{"msg_type":"tx_known","version":2,"proposal_id":1,"index":0,"transactions":"AAAA"}"#,
        LinkFault::Framing
    )]
    #[case(r#"{"msg_type":"heartbeat","version":1,"seq":1}"#, LinkFault::VersionMismatch)]
    #[case(
        r#"{"msg_type":"template_body","version":1,"proposal_id":1,"index":0,"data":"AAAA"}"#,
        LinkFault::VersionMismatch
    )]
    #[case(
        r#"{"msg_type":"template_body","version":2,"proposal_id":1,"index":0,"data":"AAAA"}{}"#,
        LinkFault::Framing
    )]
    fn a_bad_line_has_its_fault(#[case] line: &str, #[case] fault: LinkFault) {
        assert_eq!(decode(line.as_bytes()).unwrap_err().fault(), Some(fault));
    }

    #[test]
    fn a_proposal_of_another_version_can_be_refused_by_name() {
        let line = br#"{"msg_type":"template_propose","version":3,"proposal_id":9}"#;
        let expect = DecodeError::UnsupportedVersion {
            version: 3,
            msg_type: "template_propose".to_owned(),
            proposal_id: Some(ProposalId(9)),
        };
        assert_eq!(decode(line), Err(expect));
    }

    #[test]
    fn an_unknown_type_is_quoted_short() {
        let line = format!(r#"{{"msg_type":"{}","version":2}}"#, "x".repeat(1000));
        let Err(DecodeError::UnknownMsgType { msg_type }) = decode(line.as_bytes()) else {
            panic!("known?");
        };
        assert_eq!(msg_type.len(), 64);
    }

    #[test]
    fn what_is_kept_of_a_proposal_is_bounded() {
        let long = |chars: usize| {
            Message::TemplatePropose(TemplatePropose {
                prev_hash: "ä".repeat(chars),
                gateway_instance_id: "ä".repeat(chars),
                ..proposal()
            })
        };
        let Ok(Message::TemplatePropose(read)) = decode(&encode(&long(100_000))) else {
            panic!("no proposal?");
        };
        assert_eq!(read.prev_hash.chars().count(), MAX_PREV_HASH_CHARS);
        assert_eq!(read.gateway_instance_id.chars().count(), MAX_GATEWAY_INSTANCE_ID_CHARS);
        assert_eq!(decode(&encode(&long(64))), Ok(long(64)));
    }

    #[test]
    fn a_parsers_complaint_is_quoted_short() {
        let line = String::from_utf8(encode(&Message::TemplatePropose(proposal()))).unwrap();
        let line = line.replace("\"inline\"", &format!("\"{}\"", "x".repeat(100_000)));
        let Err(DecodeError::Unparsable { detail }) = decode(line.as_bytes()) else {
            panic!("parsed?");
        };
        assert!(detail.starts_with("unknown variant `xxx") && detail.len() == 200, "{detail}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_body_survives_the_wire(id: u64, index: u32, data: Vec<u8>) {
            let body = TemplateBody { proposal_id: ProposalId(id), index, data };
            let message = Message::TemplateBody(body);
            prop_assert_eq!(decode(&encode(&message)), Ok(message));
        }

        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let _ = decode(&line);
        }
    }
}
