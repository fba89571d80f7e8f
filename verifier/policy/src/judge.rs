//! The rules in their order.

use verifier_protocol::{PolicyContext, VerdictCode};

use crate::rules::{age, coinbase, content, fees, identity, sigops, weight};
use crate::{Policy, TemplateFacts};

/// What the policy says of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyOutcome {
    /// The first rule that objects.
    pub rejection: Option<Rejection>,
    /// Advisories; empty with a rejection.
    pub warnings: Vec<VerdictCode>,
    /// What the fee rule goes by.
    pub context: PolicyContext,
}

/// An objection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The rule.
    pub code: VerdictCode,
    /// The figures, as `avg_fee=141 < min_avg_fee_used=200`.
    pub detail: String,
}

impl Rejection {
    pub(crate) fn new(code: VerdictCode, detail: String) -> Self {
        Self { code, detail }
    }
}

/// Judges a template. The rules are asked in the order of the verdict codes' reference.
///
/// `policy_load_error` and `template_stale` come from elsewhere: there is a policy here, and only
/// the gateway knows when it last renewed its template.
pub fn judge(policy: &Policy, facts: &TemplateFacts) -> PolicyOutcome {
    let rules = &policy.template;
    let context = fees::context(rules, facts.mempool_tx);
    let judged = identity::judge(rules, facts)
        .and_then(|()| coinbase::judge(rules, facts))
        .and_then(|()| content::judge(rules, facts))
        .and_then(|()| fees::judge(rules, facts, context))
        .and_then(|()| weight::judge(rules, facts))
        .and_then(|()| age::judge(rules, facts))
        .and_then(|()| sigops::judge(rules, facts));
    match judged {
        Ok(()) => {
            PolicyOutcome { rejection: None, warnings: sigops::warnings(rules, facts), context }
        }
        Err(rejection) => {
            PolicyOutcome { rejection: Some(rejection), warnings: Vec::new(), context }
        }
    }
}

#[cfg(test)]
mod tests;
