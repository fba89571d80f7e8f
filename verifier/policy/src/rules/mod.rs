//! The rules, one module a family, and the order in which they are asked.

mod age;
mod coinbase;
mod content;
pub(crate) mod fees;
mod identity;
mod sigops;
mod weight;

use verifier_protocol::{PolicyContext, VerdictCode};

use crate::{TemplateFacts, TemplateRules};

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) rules: &'a TemplateRules,
    pub(crate) facts: &'a TemplateFacts,
    pub(crate) context: PolicyContext,
}

/// One rule, so that judging and explaining cannot differ.
pub(crate) struct Rule {
    /// What a template is refused (or, for an advice, marked) with.
    pub(crate) code: VerdictCode,
    /// The figures of an objection, `None` without one.
    pub(crate) objection: fn(&Question<'_>) -> Option<String>,
    /// The figure that is judged.
    pub(crate) input: fn(&Question<'_>) -> String,
    /// What it is held against.
    pub(crate) limit: fn(&Question<'_>) -> String,
}

/// The rules that refuse, in the order of the verdict codes' reference.
pub(crate) const RULES: [Rule; 12] = [
    identity::VERSION,
    identity::PREV_HASH_LENGTH,
    identity::PREV_HASH,
    coinbase::VALUE,
    content::EMPTY,
    content::COUNT,
    fees::TOTAL,
    fees::AVERAGE,
    weight::RATIO,
    age::AGE,
    sigops::BUDGET,
    sigops::COINBASE,
];

/// The rules that only advise.
pub(crate) const ADVICE: [Rule; 2] = [sigops::BUDGET_ADVICE, sigops::COINBASE_ADVICE];
