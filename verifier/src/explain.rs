//! Judges a saved template by a policy and shows how it came about.

use std::fmt;

use policy::{Policy, RuleReport, TemplateFacts};
use serde::Serialize;
use verifier_protocol::{
    BodyAssembler, BodyError, DecodeError, LineDecoder, LineTooLarge, Message, PROTOCOL_VERSION,
    TemplatePropose, Verdict, decode,
};

use crate::judge::{self, Surroundings};
use crate::proposed::ProposedBlock;

/// What a saved template does not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Assume {
    /// How old the template is taken to be, in milliseconds.
    pub age_ms: u64,
    /// How many transactions the mempool is taken to hold; `None`: nobody measured it.
    pub mempool_tx: Option<u64>,
}

/// A judgement with each rule that led to it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Content hash of the policy.
    pub policy_hash: String,
    /// Each rule of the policy, in order; the first that failed is the verdict's.
    pub rules: Vec<RuleReport>,
    /// The judgement; mempool and node are not asked.
    pub verdict: Verdict,
}

/// Why a file holds no template.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// A line is too long.
    #[error("line {line}: {error}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        error: LineTooLarge,
    },
    /// A line is no message.
    #[error("line {line}: {error}; save a template with /api/v1/template")]
    Decode {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The body's lines do not fit the announcement.
    #[error("line {line}: {error}")]
    Body {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        error: BodyError,
    },
    /// The lines end before the template does.
    #[error("the file ends before the template; it needs template_propose and its template_body")]
    Incomplete,
}

/// Judges the template in `lines`, which are those of the wire: one `template_propose` and its
/// `template_body` lines, as `/api/v1/template` serves them.
///
/// # Errors
/// The lines hold no whole template.
pub fn explain(lines: &[u8], policy: &Policy, assume: Assume) -> Result<Explanation, ExplainError> {
    let (propose, block) = read(lines)?;
    let around = Surroundings {
        now_ms: propose.observed_at_ms.saturating_add(assume.age_ms),
        mempool_tx: assume.mempool_tx,
        mempool: None,
    };
    let (now_ms, mempool_tx) = (around.now_ms, around.mempool_tx);
    let facts = TemplateFacts::of(&propose, PROTOCOL_VERSION, now_ms, mempool_tx);
    Ok(Explanation {
        policy_hash: policy.content_hash(),
        rules: policy::explain(policy, &facts),
        verdict: judge::judge(policy, &propose, &block, &around),
    })
}

fn read(lines: &[u8]) -> Result<(TemplatePropose, ProposedBlock), ExplainError> {
    let mut decoder = LineDecoder::new();
    decoder.feed(lines);
    if !lines.ends_with(b"\n") {
        decoder.feed(b"\n");
    }
    let mut assembling: Option<(TemplatePropose, BodyAssembler)> = None;
    for line in 1.. {
        let next = decoder.next_line().map_err(|error| ExplainError::Line { line, error })?;
        let Some(text) = next else { break };
        let body_error = |error| ExplainError::Body { line, error };
        match decode(text).map_err(|error| ExplainError::Decode { line, error })? {
            Message::TemplatePropose(propose) => {
                let assembler = BodyAssembler::new(&propose.body).map_err(body_error)?;
                assembling = Some((propose, assembler));
            }
            Message::TemplateBody(piece) => {
                let Some((propose, assembler)) = &mut assembling else { break };
                if let Some(body) = assembler.push(&piece).map_err(body_error)? {
                    return Ok((propose.clone(), ProposedBlock::decode(body.bytes)));
                }
            }
            _ => {}
        }
    }
    Err(ExplainError::Incomplete)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&RuleReport) -> usize| self.rules.iter().map(of).max().unwrap_or(0);
        let (rule, input) = (width(|report| report.rule.len()), width(|report| report.input.len()));
        let limit = width(|report| report.limit.len());
        writeln!(f, "policy {}", self.policy_hash)?;
        for report in &self.rules {
            let RuleReport { rule: name, input: given, limit: held, result } = report;
            let result = result.as_str();
            writeln!(f, "{name:rule$}  {given:input$}  {held:limit$}  {result}")?;
        }
        let checks = self.verdict.checks;
        for (check, outcome) in [
            ("policy", checks.policy),
            ("consensus", checks.consensus),
            ("mempool", checks.mempool),
            ("node", checks.node),
        ] {
            writeln!(f, "check {check}: {}", outcome.as_str())?;
        }
        let code = self.verdict.reason_code.as_str();
        match &self.verdict.reason_detail {
            None => writeln!(f, "accepted: {code}"),
            Some(detail) => writeln!(f, "rejected: {code}: {detail}"),
        }
    }
}
