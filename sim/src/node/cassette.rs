//! Recordings of a node's answers, so that a run needs no node.
//!
//! A cassette is a text file of one JSON object a line: first what node it was, then each call in
//! its order with the answer. Long parameters are kept as their SHA-256 (only equality matters),
//! and an answer equal to an earlier one as the index of that call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::hashes::{Hash, sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Answer, Node, RpcError};

/// The version of the format.
const FORMAT: u32 = 1;

/// Parameters longer than this many bytes are kept as their hash.
const PARAMS_BYTES_MAX: usize = 160;

/// Answers shorter than this many bytes are written again rather than referred to.
const SAME_BYTES_MIN: usize = 120;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    cassette: u32,
    node: String,
}

/// One call with its answer: exactly one of `result`, `same` and `error`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    method: String,
    params: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<(i64, String)>,
}

/// A node whose answers are recorded as they pass.
pub struct Recorder {
    node: Box<dyn Node>,
    tape: Arc<Mutex<Tape>>,
}

/// What a [`Recorder`] has recorded so far.
#[derive(Clone)]
pub struct Recording(Arc<Mutex<Tape>>);

struct Tape {
    text: String,
    calls: usize,
    /// Where each long answer was given first.
    answers: BTreeMap<sha256::Hash, usize>,
}

impl Recorder {
    /// Records `node`; the recording can be read while it goes on.
    pub fn new(node: Box<dyn Node>) -> (Self, Recording) {
        let header = Header { cassette: FORMAT, node: node.version().to_owned() };
        let mut tape = Tape { text: String::new(), calls: 0, answers: BTreeMap::new() };
        tape.push(&header);
        let tape = Arc::new(Mutex::new(tape));
        (Self { node, tape: Arc::clone(&tape) }, Recording(tape))
    }
}

impl Recording {
    /// The cassette as text.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}

impl Node for Recorder {
    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
        let outcome = self.node.call(method, params);
        let mut tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        tape.record(method, params, &outcome);
        outcome
    }

    fn version(&self) -> &str {
        self.node.version()
    }

    fn fault(&self) -> Option<String> {
        self.node.fault()
    }
}

impl Tape {
    fn record(&mut self, method: &str, params: &Value, outcome: &Result<Answer, RpcError>) {
        let mut line = Line {
            method: method.to_owned(),
            params: kept_params(params),
            result: None,
            same: None,
            error: None,
        };
        match outcome {
            Ok(answer) => match self.earlier(answer.get()) {
                Some(index) => line.same = Some(index),
                None => line.result = Some(answer.clone()),
            },
            Err(error) => line.error = Some((error.code, error.message.clone())),
        }
        self.push(&line);
        self.calls += 1;
    }

    /// The index of the call that got this answer before; remembers it where there is none.
    fn earlier(&mut self, answer: &str) -> Option<usize> {
        if answer.len() < SAME_BYTES_MIN {
            return None;
        }
        let index = *self.answers.entry(hash(answer)).or_insert(self.calls);
        (index < self.calls).then_some(index)
    }

    fn push(&mut self, line: &impl Serialize) {
        let json = serde_json::to_string(line).expect("a line has only plain fields");
        self.text.push_str(&json);
        self.text.push('\n');
    }
}

/// Why a file is not a cassette.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteError {
    /// The first line is missing or not a header.
    #[error("line 1 is not a cassette's header: {0}; record the scenario again")]
    Header(String),
    /// Another version of the format.
    #[error("the cassette has format {0}, this program reads {FORMAT}; record it again")]
    Format(u32),
    /// A line is damaged.
    #[error("line {line}: {reason}; record the scenario again")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// A node that only repeats what was recorded, in the order of the recording.
pub struct Replay {
    version: String,
    calls: Vec<Recorded>,
    next: usize,
    miss: Option<String>,
}

struct Recorded {
    method: String,
    params: Value,
    answer: Result<Arc<RawValue>, RpcError>,
}

impl Replay {
    /// Reads a cassette's text.
    pub fn parse(text: &str) -> Result<Self, CassetteError> {
        let mut lines = text.lines();
        let header: Header = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|error| CassetteError::Header(error.to_string()))?;
        if header.cassette != FORMAT {
            return Err(CassetteError::Format(header.cassette));
        }
        let mut calls: Vec<Recorded> = Vec::new();
        for (index, text) in lines.enumerate() {
            let damaged = |reason: String| CassetteError::Line { line: index + 2, reason };
            let line: Line = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
            let answer = match (line.result, line.same, line.error) {
                (Some(result), None, None) => Ok(Arc::from(result)),
                // A recorded null is an absent result.
                (None, None, None) => Ok(Arc::from(RawValue::NULL.to_owned())),
                (None, None, Some((code, message))) => Err(RpcError { code, message }),
                (None, Some(same), None) => calls
                    .get(same)
                    .map(|call| call.answer.clone())
                    .ok_or_else(|| damaged(format!("it refers to call {same}, which is later")))?,
                _ => return Err(damaged("it has more than one answer".into())),
            };
            calls.push(Recorded { method: line.method, params: line.params, answer });
        }
        Ok(Self { version: header.node, calls, next: 0, miss: None })
    }

    /// How many recorded calls were not asked yet.
    pub fn remaining(&self) -> usize {
        self.calls.len() - self.next
    }

    fn missed(&mut self, method: &str, params: &Value) -> RpcError {
        let recorded = match self.calls.get(self.next) {
            Some(call) => format!("the recording has {} {}", call.method, call.params),
            None => "the recording ends there".to_owned(),
        };
        let message = format!(
            "replay miss at call {}: asked {method} {}, {recorded}; record the scenario again \
             or run it with a node",
            self.next,
            kept_params(params)
        );
        self.miss.get_or_insert_with(|| message.clone());
        RpcError { code: RpcError::REPLAY_MISS, message }
    }
}

impl Node for Replay {
    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
        match self.calls.get(self.next) {
            Some(call)
                if self.miss.is_none()
                    && call.method == method
                    && call.params == kept_params(params) =>
            {
                self.next += 1;
                call.answer.clone().map(|answer| answer.as_ref().to_owned())
            }
            _ => Err(self.missed(method, params)),
        }
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn fault(&self) -> Option<String> {
        self.miss.clone()
    }
}

/// The parameters as a cassette keeps them.
fn kept_params(params: &Value) -> Value {
    let text = params.to_string();
    if text.len() <= PARAMS_BYTES_MAX {
        return params.clone();
    }
    Value::String(format!("{} bytes, sha256 {}", text.len(), hash(&text)))
}

fn hash(text: &str) -> sha256::Hash {
    sha256::Hash::hash(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Answers every call with a text as long as its first parameter says.
    struct Lengths;

    impl Node for Lengths {
        fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
            match params[0].as_u64() {
                Some(0) => Ok(RawValue::NULL.to_owned()),
                Some(length) => {
                    let text = "x".repeat(length.try_into().unwrap());
                    Ok(RawValue::from_string(json!(text).to_string()).unwrap())
                }
                None => Err(RpcError::new(-8, format!("{method} wants a length"))),
            }
        }

        fn version(&self) -> &str {
            "lengths v1"
        }
    }

    fn texts(node: &mut dyn Node, calls: &[Value]) -> Vec<Result<String, RpcError>> {
        let answer = |params| node.call("text", params).map(|answer| answer.get().to_owned());
        calls.iter().map(answer).collect()
    }

    fn recorded(calls: &[Value]) -> (Vec<Result<String, RpcError>>, String) {
        let (mut recorder, recording) = Recorder::new(Box::new(Lengths));
        (texts(&mut recorder, calls), recording.text())
    }

    #[test]
    fn a_replay_answers_what_was_recorded() {
        let calls = [json!([3]), json!([500]), json!(["bad"]), json!([0]), json!([500])];
        let (answers, text) = recorded(&calls);
        let mut replay = Replay::parse(&text).unwrap();
        assert_eq!(replay.version(), "lengths v1");
        assert_eq!(texts(&mut replay, &calls), answers);
        assert_eq!((replay.remaining(), replay.fault()), (0, None));
    }

    #[test]
    fn equal_long_answers_are_kept_once() {
        let (_, text) = recorded(&[json!([500]), json!([3]), json!([500])]);
        assert!(text.lines().last().unwrap().contains("\"same\":0"), "{text}");
        assert!(text.len() < 900, "{}", text.len());
    }

    #[test]
    fn long_parameters_are_matched_by_their_hash() {
        let long = |end: &str| json!([3, "ab".repeat(200) + end]);
        let (answers, text) = recorded(&[long("1")]);
        assert!(!text.contains("abab"), "{text}");
        assert_eq!(texts(&mut Replay::parse(&text).unwrap(), &[long("1")]), answers);
        let miss = Replay::parse(&text).unwrap().call("text", &long("2")).unwrap_err();
        assert_eq!(miss.code, RpcError::REPLAY_MISS);
    }

    #[test]
    fn a_miss_names_the_call_and_stays() {
        let (_, text) = recorded(&[json!([3]), json!([4])]);
        let mut replay = Replay::parse(&text).unwrap();
        replay.call("text", &json!([3])).unwrap();
        let miss = replay.call("text", &json!([5])).unwrap_err();
        assert!(
            miss.message
                .starts_with("replay miss at call 1: asked text [5], the recording has text [4];"),
            "{miss}"
        );
        assert_eq!(replay.call("text", &json!([4])).unwrap_err().code, RpcError::REPLAY_MISS);
        assert_eq!(replay.fault(), Some(miss.message));
    }

    #[test]
    fn a_call_past_the_end_is_a_miss() {
        let (_, text) = recorded(&[]);
        let miss = Replay::parse(&text).unwrap().call("text", &json!([3])).unwrap_err();
        assert!(miss.message.contains("the recording ends there"), "{miss}");
    }

    #[test]
    fn damaged_cassettes_are_refused() {
        let (_, text) = recorded(&[json!([3])]);
        assert!(matches!(Replay::parse(""), Err(CassetteError::Header(_))));
        let other = text.replace("\"cassette\":1", "\"cassette\":9");
        assert!(matches!(Replay::parse(&other), Err(CassetteError::Format(9))));
        let cut = &text[..text.len() - 4];
        assert!(matches!(Replay::parse(cut), Err(CassetteError::Line { line: 2, .. })));
        let forward = text.replace("\"result\":\"xxx\"", "\"same\":7");
        assert!(matches!(Replay::parse(&forward), Err(CassetteError::Line { line: 2, .. })));
    }
}
