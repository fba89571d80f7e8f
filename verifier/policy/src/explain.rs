//! Why the policy says what it says.

use serde::Serialize;

use crate::rules::{ADVICE, Question, RULES, Rule, fees};
use crate::{Policy, TemplateFacts};

/// One rule, held against one template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// The verdict code that the rule objects with.
    pub rule: &'static str,
    /// The figure that was judged, as `avg_fee=141`.
    pub input: String,
    /// What it was held against, as `min_avg_fee_used=200 (tier mid, per tx)`.
    pub limit: String,
    /// What came of it.
    pub result: RuleResult,
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleResult {
    /// It has nothing against the template.
    Passed,
    /// It refuses the template.
    Failed,
    /// It advises only.
    Warned,
}

impl RuleResult {
    /// The result's name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Warned => "warned",
        }
    }
}

/// Holds a template against every rule, in the order in which [`crate::judge`] asks them, and goes
/// on after the first objection: the first that failed is the verdict's.
pub fn explain(policy: &Policy, facts: &TemplateFacts) -> Vec<RuleReport> {
    let rules = &policy.template;
    let on = Question { rules, facts, context: fees::context(rules, facts.mempool_tx) };
    let refusing = RULES.iter().map(|rule| report(rule, &on, RuleResult::Failed));
    let advising = ADVICE.iter().map(|rule| report(rule, &on, RuleResult::Warned));
    refusing.chain(advising).collect()
}

fn report(rule: &Rule, on: &Question<'_>, objecting: RuleResult) -> RuleReport {
    RuleReport {
        rule: rule.code.as_str(),
        input: (rule.input)(on),
        limit: (rule.limit)(on),
        result: if (rule.objection)(on).is_some() { objecting } else { RuleResult::Passed },
    }
}
