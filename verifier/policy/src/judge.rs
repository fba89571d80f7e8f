//! The rules in their order.

use verifier_protocol::{PolicyContext, VerdictCode};

use crate::rules::{ADVICE, Question, RULES, fees};
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

/// Judges a template. The rules are asked in the order of the verdict codes' reference.
///
/// `policy_load_error` and `template_stale` come from elsewhere: there is a policy here, and only
/// the gateway knows when it last renewed its template.
pub fn judge(policy: &Policy, facts: &TemplateFacts) -> PolicyOutcome {
    let rules = &policy.template;
    let context = fees::context(rules, facts.mempool_tx);
    let on = Question { rules, facts, context };
    let mut objections = RULES.iter().filter_map(|rule| {
        (rule.objection)(&on).map(|detail| Rejection { code: rule.code, detail })
    });
    let rejection = objections.next();
    let mut warnings = Vec::new();
    if rejection.is_none() {
        let advising = ADVICE.iter().filter(|rule| (rule.objection)(&on).is_some());
        warnings.extend(advising.map(|rule| rule.code));
    }
    PolicyOutcome { rejection, warnings, context }
}

#[cfg(test)]
mod tests;
